"""The service's database, and the three roles it works under: see the first migration."""

from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr

from vinculum_command.settings import Settings
from vinculum_shared.migrate import migrate
from vinculum_shared.postgres import CUSTOM_PLANS, Pool, connect_pool

READ_MS_MAX: Final = 5_000
APPEND_MS_MAX: Final = 8_000
BY_INDEX: Final = dict.fromkeys(
    ("enable_seqscan", "enable_bitmapscan", "enable_material", "enable_hashjoin", "enable_mergejoin"), "off"
)
"""Find each row by its key, however small the tables are when the plan is made.

`OFFSET 0` in a LATERAL look-up is for the same: row level security gives the table an index path of its own, and the
plan would begin with all rows of the batch's tenants.
"""


async def appender_pool(url: SecretStr, *, unsafe_durability: bool) -> Pool:
    """Open the pool that loads heads and appends."""
    return await connect_pool(
        url,
        application_name="vinculum-command",
        role="vinculum_command_appender",
        size=6,
        statement_timeout_ms=APPEND_MS_MAX,
        unsafe_durability=unsafe_durability,
        server_settings=BY_INDEX,
    )


async def reader_pool(url: SecretStr, *, size: int = 8, unsafe_durability: bool) -> Pool:
    """Open the pool that answers queries: each of one tenant."""
    return await connect_pool(
        url,
        application_name="vinculum-command-read",
        role="vinculum_command_reader",
        size=size,
        statement_timeout_ms=READ_MS_MAX,
        unsafe_durability=unsafe_durability,
        server_settings=CUSTOM_PLANS,
    )


async def log_pool(
    url: SecretStr, *, size: int = 4, unsafe_durability: bool, server_settings: Mapping[str, str] | None = None
) -> Pool:
    """Open the pool that reads across tenants: the log in bulk, and what there is to send."""
    return await connect_pool(
        url,
        application_name="vinculum-command-log",
        role="vinculum_command_log",
        size=size,
        unsafe_durability=unsafe_durability,
        server_settings=server_settings,
    )


async def create(settings: Settings) -> int:
    """Make what is missing: the login role, the database, the roles and the tables."""
    await migrate(settings.admin_url, settings.database_url, "vinculum_command")
    return 0
