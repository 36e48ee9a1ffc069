"""python -m vinculum_projection [run|serve|consume|migrate|rebuild]."""

import asyncio

from vinculum_projection import database
from vinculum_projection.app import create_app
from vinculum_projection.consume import consume
from vinculum_projection.rebuild import rebuild
from vinculum_projection.settings import Settings
from vinculum_shared import lifecycle


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    await lifecycle.serve_http(create_app(settings), settings, stop)


if __name__ == "__main__":
    lifecycle.main(
        Settings, parts={"serve": serve, "consume": consume}, tasks={"migrate": database.create, "rebuild": rebuild}
    )
