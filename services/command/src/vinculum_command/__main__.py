"""python -m vinculum_command [run|serve|relay|migrate|verify]."""

import asyncio

from vinculum_command import database
from vinculum_command.app import create_app
from vinculum_command.relay import relay
from vinculum_command.settings import Settings
from vinculum_command.verify import verify
from vinculum_shared import lifecycle


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    await lifecycle.serve_http(create_app(settings, stop), settings, stop)


if __name__ == "__main__":
    lifecycle.main(
        Settings, parts={"serve": serve, "relay": relay}, tasks={"migrate": database.create, "verify": verify}
    )
