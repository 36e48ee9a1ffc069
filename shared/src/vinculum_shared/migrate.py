"""Migrations: a package's `migrations/NNNN_name.sql`, applied in order, each in a transaction of its own.

A file that has been applied is frozen: a changed one is refused, by its checksum. Two that run at once wait for one
another.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, LiteralString
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog
from pydantic import SecretStr

from vinculum_shared.postgres import Connection, when_up
from vinculum_shared.telemetry import OperatorError

log = structlog.get_logger()

ADVISORY_LOCK: Final = 0x76696E63  # "vinc"

TABLE: LiteralString = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name text PRIMARY KEY,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )"""
APPLIED: LiteralString = "SELECT name, checksum FROM schema_migrations"
RECORD: LiteralString = "INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)"

ROLE_AND_DATABASE: LiteralString = """
    SELECT
        CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1)
            THEN format('ALTER ROLE %I LOGIN NOINHERIT PASSWORD %L', $1, $3)
            ELSE format('CREATE ROLE %I LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS PASSWORD %L', $1, $3)
        END AS role,
        CASE WHEN NOT EXISTS (SELECT FROM pg_database WHERE datname = $2)
            THEN format('CREATE DATABASE %I', $2)
        END AS database,
        format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $2) AS closed,
        format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', $2, $1) AS opened
    FROM (VALUES ($1::text, $2::text, $3::text)) AS given"""


class ChangedMigrationError(OperatorError):
    """A migration was changed after it had been applied."""


@dataclass(frozen=True)
class Migration:
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(package: str) -> list[Migration]:
    found = (file for file in files(package).joinpath("migrations").iterdir() if file.name[:4].isdigit())
    return [Migration(file.name, file.read_text("utf-8")) for file in sorted(found, key=lambda file: file.name)]


async def migrate(admin_url: SecretStr | None, database_url: SecretStr, package: str) -> None:
    """Bring the service's login role, its database and its schema to what `package` says.

    The admin's role owns the schema; what the service's role may do with it is granted by the migrations.
    """
    if admin_url is None:
        raise OperatorError(f"Set {package.upper()}_ADMIN_URL to a role that may create roles and databases.")
    admin = admin_url.get_secret_value()
    database = urlsplit(database_url.get_secret_value()).path.lstrip("/")
    server: Connection = await when_up(lambda: asyncpg.connect(admin))
    try:
        await server.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        await ensure_role_and_database(server, database_url)
        connection = await asyncpg.connect(admin, database=database)
        try:
            await apply_pending(connection, package)
        finally:
            await connection.close()
    finally:
        await server.close()


async def ensure_role_and_database(server: Connection, database_url: SecretStr) -> None:
    url = urlsplit(database_url.get_secret_value())
    role, password, database = unquote(url.username or ""), unquote(url.password or ""), url.path.lstrip("/")
    for statement in await server.fetchrow(ROLE_AND_DATABASE, role, database, password) or ():
        if statement is not None:
            await server.execute(statement)


async def apply_pending(connection: Connection, package: str) -> None:
    await connection.execute(TABLE)
    for migration in await pending(connection, package):
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '3s'")
            await connection.execute(migration.sql)
            await connection.execute(RECORD, migration.name, migration.checksum)
        log.info("migration_applied", migration=migration.name)


async def pending(connection: Connection, package: str) -> list[Migration]:
    """Return the migrations that are still to be applied, in order."""
    applied = {row["name"]: row["checksum"] for row in await connection.fetch(APPLIED)}
    wanted = migrations(package)
    changed = [each.name for each in wanted if applied.get(each.name, each.checksum) != each.checksum]
    if changed:
        raise ChangedMigrationError(f"{', '.join(changed)} of {package} changed after it was applied: write a new one.")
    return [each for each in wanted if each.name not in applied]
