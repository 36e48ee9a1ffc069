"""The service's database: its schema, and the two roles it works under.

All read models are in one schema, which has one version: a change to any of their tables needs a new `SCHEMA`, which
`migrate` makes and the consumer fills from the log. The old answers are gone until it has caught up.
The consumer writes for all tenants. The reader sees the tenant that its transaction names, and nothing without one.
Neither owns a table.
"""

from importlib.resources import files
from typing import Any, Final, LiteralString
from urllib.parse import urlsplit

import asyncpg
import orjson

from vinculum_projection.read_models import READ_MODELS
from vinculum_projection.settings import Settings
from vinculum_shared import postgres
from vinculum_shared.migrate import migrate
from vinculum_shared.postgres import CUSTOM_PLANS, Connection, Pool

SCHEMA: Final = "projection_v3"
READER: Final = "vinculum_projection_reader"
CONSUMER: Final = "vinculum_projection_consumer"

READER_CONNECTIONS: Final = 16
CONSUMER_CONNECTIONS: Final = 4
QUERY_MS_MAX: Final = 2_000
APPLY_MS_MAX: Final = 30_000


async def reader_pool(settings: Settings) -> Pool:
    return await pool(settings, READER, READER_CONNECTIONS, QUERY_MS_MAX)


async def consumer_pool(settings: Settings) -> Pool:
    return await pool(settings, CONSUMER, CONSUMER_CONNECTIONS, APPLY_MS_MAX)


async def pool(settings: Settings, role: str, size: int, statement_timeout_ms: int) -> Pool:
    return await postgres.connect_pool(
        settings.database_url,
        application_name=settings.service,
        size=size,
        role=role,
        statement_timeout_ms=statement_timeout_ms,
        unsafe_durability=settings.unsafe_durability,
        init=with_json,
        server_settings={"search_path": SCHEMA, **CUSTOM_PLANS},
    )


async def with_json(connection: Any) -> None:
    """Write JSON in binary, as rows of a table's type are sent: a byte for the format's version, and the text."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda value: orjson.loads(value[1:]),
    )


async def create(settings: Settings) -> int:
    """Make what is missing: the login role and the database, the roles, and the schema with all its tables."""
    await migrate(settings.admin_url, settings.database_url, "vinculum_projection")
    assert settings.admin_url
    database = urlsplit(settings.database_url.get_secret_value()).path.lstrip("/")
    admin = await asyncpg.connect(settings.admin_url.get_secret_value(), database=database)
    try:
        async with admin.transaction():
            await admin.execute(LOCK)
            if not await admin.fetchval(IS_THERE, SCHEMA):
                await create_schema(admin)
    finally:
        await admin.close()
    return 0


async def create_schema(admin: Connection) -> None:
    await admin.execute(f"CREATE SCHEMA {SCHEMA}; SET LOCAL search_path = {SCHEMA}")
    await admin.execute(files("vinculum_shared.consuming").joinpath("subscription.sql").read_text("utf-8"))
    tables = files("vinculum_projection.read_models")
    for model in READ_MODELS:
        await admin.execute(tables.joinpath(f"{model.__name__.rpartition('.')[2]}.sql").read_text("utf-8"))
    for name in ("walls.sql", "forget.sql"):
        await admin.execute(files("vinculum_projection").joinpath(name).read_text("utf-8"))


LOCK: LiteralString = "SELECT pg_advisory_xact_lock(hashtext('vinculum_projection'))"
IS_THERE: LiteralString = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
