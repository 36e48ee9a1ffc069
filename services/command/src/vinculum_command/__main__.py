"""python -m vinculum_command [run|serve|relay|migrate|verify]."""

import asyncio

from vinculum_command.app import create_app
from vinculum_command.relay import relay
from vinculum_command.settings import Settings
from vinculum_command.verify import verify
from vinculum_shared import lifecycle
from vinculum_shared.migrate import migrate
from vinculum_shared.telemetry import OperatorError


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    app = create_app(settings, stop)
    await lifecycle.serve_http(app, settings, stop)
    if app.state.failure:
        raise app.state.failure


async def create(settings: Settings) -> int:
    """Make what is missing: the login role, the database, the schema."""
    if settings.admin_url is None:
        raise OperatorError("Set VINCULUM_COMMAND_ADMIN_URL to a role that may create roles and databases.")
    await migrate(settings.admin_url, settings.database_url, "vinculum_command")
    return 0


if __name__ == "__main__":
    lifecycle.main(Settings, parts={"serve": serve, "relay": relay}, tasks={"migrate": create, "verify": verify})
