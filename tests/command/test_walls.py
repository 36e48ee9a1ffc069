"""The second wall between tenants: what the database shows to the roles that the service works under."""

from collections.abc import AsyncIterator
from typing import LiteralString

import asyncpg
import pytest

from support.commands import Store, event_store
from support.databases import as_admin
from vinculum_command.database import log_pool, reader_pool
from vinculum_command.domain.accounts import CreateAccount
from vinculum_shared.http.snapshots import of_tenant
from vinculum_shared.postgres import Connection, Pool

pytestmark = pytest.mark.integration

TENANTS: LiteralString = "SELECT tenant FROM tenants UNION SELECT tenant FROM events UNION SELECT tenant FROM heads"
UNWALLED: LiteralString = """
    SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'tenant'
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND NOT (relrowsecurity AND relforcerowsecurity)"""
KEYED_WITHOUT_TENANT: LiteralString = """
    SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    JOIN pg_attribute ON attrelid = indrelid AND attname = 'tenant'
    WHERE relnamespace = 'public'::regnamespace AND indisunique AND NOT (attnum = ANY (indkey))"""
ROLES: LiteralString = """
    SELECT rolname FROM pg_roles WHERE rolname LIKE 'vinculum_command%'
        AND (rolsuper OR rolbypassrls OR oid IN (SELECT relowner FROM pg_class))"""


@pytest.fixture
async def store(postgres: str) -> AsyncIterator[Store]:
    async with event_store(postgres) as store:
        for tenant in ("a", "b", "c"):
            await store.register(tenant, "dynamics")
            await store.give(tenant, CreateAccount(name="x"))
        yield store


async def test_the_database_shows_each_role_its_tenants_and_no_others(store: Store) -> None:
    async with store.pool.acquire() as db, db.transaction():
        await db.execute("SELECT set_config('vinculum.tenants', '{a,b}', true)")
        assert await tenants(db) == {"a", "b"}
    async with await reader_pool(store.url, unsafe_durability=True) as reader:
        assert await tenants(reader) == set()
        async with of_tenant(reader, "c") as one:
            assert await tenants(one) == {"c"}
    async with await log_pool(store.url, unsafe_durability=True) as log:
        assert await tenants(log) == {"a", "b", "c"}


async def tenants(db: Pool | Connection) -> set[str]:
    return {row["tenant"] for row in await db.fetch(TENANTS)}


async def test_an_appender_writes_for_its_tenants_alone(store: Store) -> None:
    async with store.pool.acquire() as db, db.transaction():
        await db.execute("SELECT set_config('vinculum.tenants', '{a}', true)")
        assert await db.execute("UPDATE tenants SET last_position = 0") == "UPDATE 1"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute("INSERT INTO tenants (tenant) VALUES ('d')")


async def test_every_table_has_the_wall_and_every_key_the_tenant(store: Store, postgres: str) -> None:
    async with as_admin(postgres, store.url) as admin:
        assert await admin.fetch(UNWALLED) == []
        assert await admin.fetch(KEYED_WITHOUT_TENANT) == []
        assert await admin.fetch(ROLES) == []
