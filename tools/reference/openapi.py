"""The OpenAPI documents of the three services, of applications that are made and never started."""

import asyncio
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

import vinculum_command.app
import vinculum_command.settings
import vinculum_notifier.app
import vinculum_notifier.settings
import vinculum_projection.app
import vinculum_projection.settings

NOTHING: Final = SecretStr("")
NOWHERE: Final = "http://127.0.0.1"
EVERY: Final[dict[str, Any]] = {"database_url": NOTHING, "kafka_bootstrap": "", "jwks": ""}
READER: Final[dict[str, Any]] = {**EVERY, "command_url": NOWHERE, "service_token_file": Path(), "cursor_key": NOTHING}


def documents() -> dict[str, dict[str, Any]]:
    """Return each service's document by its short name."""
    command = vinculum_command.settings.Settings(**EVERY, address_key=NOTHING, invitation_key=NOTHING)
    projection = vinculum_projection.settings.Settings(**READER)
    notifier = vinculum_notifier.settings.Settings(
        **READER,
        smtp_url=NOTHING,
        mail_from="vinculum@example.com",
        public_url=NOWHERE,
        address_key=NOTHING,
        invitation_key=NOTHING,
        unsubscribe_key=NOTHING,
        message_id_key=NOTHING,
    )
    return {
        "command": vinculum_command.app.create_app(command, asyncio.Event()).openapi(),
        "projection": vinculum_projection.app.create_app(projection).openapi(),
        "notifier": vinculum_notifier.app.create_app(notifier).openapi(),
    }
