"""A database with its role and its tables, made and kept up to date."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from vinculum_shared import migrate as module
from vinculum_shared.migrate import ChangedMigrationError, migrate
from vinculum_shared.postgres import Connection

pytestmark = pytest.mark.integration

FIRST = "CREATE TABLE things (id int); GRANT SELECT ON things TO PUBLIC;"


@pytest.fixture
def admin_url(postgres: str) -> SecretStr:
    return SecretStr(postgres)


@pytest.fixture
async def url(postgres: str) -> AsyncIterator[SecretStr]:
    """Of a role and a database that are not there yet."""
    server, name = urlsplit(postgres), f"tiny_{uuid4().hex}"
    yield SecretStr(server._replace(netloc=f"{name}:p%40ss@{server.hostname}:{server.port}", path=f"/{name}").geturl())
    admin = await asyncpg.connect(postgres)
    for made in (name, name.replace("tiny", "other")):
        await admin.execute(f'DROP DATABASE IF EXISTS "{made}" WITH (FORCE)')
        await admin.execute(f'DROP ROLE IF EXISTS "{made}"')
    await admin.close()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with one migration."""
    name = f"package_{uuid4().hex}"
    folder = tmp_path / name / "migrations"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "0001_things.sql").write_text(FIRST)
    (folder / "append.sql").write_text("not a migration")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def write(tmp_path: Path, package: str, name: str, sql: str) -> None:
    (tmp_path / package / "migrations" / name).write_text(sql)


async def connected(url: SecretStr) -> Connection:
    return await asyncpg.connect(url.get_secret_value())


async def test_role_database_and_schema_are_made_and_a_second_time_changes_nothing(
    admin_url: SecretStr, url: SecretStr, package: str
) -> None:
    for _ in range(2):
        await migrate(admin_url, url, package)
    connection = await connected(url)
    assert await connection.fetch("TABLE things") == []
    role = await connection.fetchrow("SELECT * FROM pg_roles WHERE rolname = current_user")
    assert role is not None
    rights = ("rolsuper", "rolbypassrls", "rolinherit", "rolcreatedb", "rolcreaterole")
    assert [role[right] for right in rights] == [False] * 5
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TABLE mine ()")
    await connection.close()


async def test_a_role_of_another_service_cannot_connect(admin_url: SecretStr, url: SecretStr, package: str) -> None:
    await migrate(admin_url, url, package)
    other = url.get_secret_value().replace("tiny_", "other_", 1)
    await migrate(admin_url, SecretStr(other.replace("/tiny_", "/other_")), package)
    stranger = urlsplit(other)._replace(path=urlsplit(url.get_secret_value()).path).geturl()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(stranger)


async def test_a_new_password_is_set(admin_url: SecretStr, url: SecretStr, package: str) -> None:
    await migrate(admin_url, url, package)
    changed = SecretStr(url.get_secret_value().replace("p%40ss", "n'ew"))
    await migrate(admin_url, changed, package)
    await (await connected(changed)).close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connected(url)


async def test_two_at_once_apply_each_file_once(admin_url: SecretStr, url: SecretStr, package: str) -> None:
    await asyncio.gather(*(migrate(admin_url, url, package) for _ in range(4)))
    connection = await connected(url)
    await connection.close()


async def test_new_files_are_applied_in_the_order_of_their_numbers(
    admin_url: SecretStr, url: SecretStr, package: str, tmp_path: Path
) -> None:
    await migrate(admin_url, url, package)
    write(tmp_path, package, "0010_name.sql", "ALTER TABLE items ADD name text")
    write(tmp_path, package, "0002_items.sql", "ALTER TABLE things RENAME TO items")
    await migrate(admin_url, url, package)
    connection = await connected(url)
    assert await connection.fetch("SELECT id, name FROM items") == []
    await connection.close()


async def test_a_file_that_fails_leaves_nothing_and_says_so_again_the_next_time(
    admin_url: SecretStr, url: SecretStr, package: str, tmp_path: Path
) -> None:
    write(tmp_path, package, "0002_broken.sql", "CREATE TABLE half (); SELECT 1 / 0")
    for _ in range(2):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(admin_url, url, package)
    admin = await asyncpg.connect(admin_url.get_secret_value(), database=urlsplit(url.get_secret_value()).path[1:])
    assert await admin.fetchval("SELECT to_regclass('half')") is None
    assert [each.name for each in await module.pending(admin, package)] == ["0002_broken.sql"]
    await admin.close()


async def test_a_file_that_changed_after_it_was_applied_is_refused_by_name(
    admin_url: SecretStr, url: SecretStr, package: str, tmp_path: Path
) -> None:
    await migrate(admin_url, url, package)
    write(tmp_path, package, "0001_things.sql", FIRST + "--")
    with pytest.raises(ChangedMigrationError, match=r"0001_things\.sql"):
        await migrate(admin_url, url, package)
