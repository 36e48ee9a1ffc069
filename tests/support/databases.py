"""A database of its own for each test: a clone of one that is migrated once a session."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
from pydantic import SecretStr

from vinculum_shared.migrate import migrate

PASSWORD: Final = "throw-away"
_TEMPLATES: Final[dict[tuple[str, str], str]] = {}


def on(url: str, database: str, role: str | None = None) -> str:
    """Return the URL of another database of the same server, for another role."""
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}"
    owner = f"{role}:{PASSWORD}" if role else f"{parts.username}:{parts.password}"
    return urlunsplit((parts.scheme, f"{owner}@{host}", f"/{database}", "", ""))


@asynccontextmanager
async def database(admin_url: str, package: str) -> AsyncIterator[SecretStr]:
    """Make a migrated database of a service; gives its login role's URL."""
    template = await _template(admin_url, package)
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log')
        await admin.execute(f'GRANT CONNECT, TEMPORARY ON DATABASE "{name}" TO {package}')
        try:
            yield SecretStr(on(admin_url, name, role=package))
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


def name_of(url: SecretStr) -> str:
    return urlsplit(url.get_secret_value()).path.removeprefix("/")


@asynccontextmanager
async def as_admin(admin_url: str, url: SecretStr) -> AsyncIterator[asyncpg.Connection]:
    """Be the admin, in the database that a service's URL is of."""
    admin = await asyncpg.connect(admin_url, database=name_of(url))
    try:
        yield admin
    finally:
        await admin.close()


async def _template(admin_url: str, package: str) -> str:
    known = _TEMPLATES.get((admin_url, package))
    if known is None:
        known = f"template_{package}_{uuid4().hex}"
        await migrate(SecretStr(admin_url), SecretStr(on(admin_url, known, role=package)), package)
        _TEMPLATES[admin_url, package] = known
    return known
