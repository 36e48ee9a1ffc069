"""The second wall between tenants: what a statement sees that has forgotten whom it is for."""

import asyncpg
import pytest

from support.firms import Firm
from support.projection import Projection

pytestmark = pytest.mark.integration

TENANT_TABLES = """
    SELECT table_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND column_name = 'tenant' ORDER BY 1"""


async def two_tenants(projection: Projection) -> None:
    for tenant in ("acme", "other"):
        firm = Firm.registered(tenant)
        account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
        firm.link(account_id, ann)
        firm.access(account_id, ann, "active")
        firm.account("Can't be read")
        await projection.deliver(firm.log, damaged={len(firm.log.lines)})


async def test_a_reader_sees_nothing_until_its_transaction_names_a_tenant_and_then_that_one(
    projection: Projection,
) -> None:
    await two_tenants(projection)
    tables = [row["table_name"] for row in await projection.consumer.fetch(TENANT_TABLES)]
    assert {"accounts", "contacts", "links", "access", "history", "staff", "tenants", "parked"} < set(tables)

    async with projection.reader.acquire() as db:
        for table in tables:
            everything = f"SELECT tenant FROM {table}"  # noqa: S608  names from the catalogue
            assert await db.fetch(everything) == []
            async with db.transaction():
                await db.execute("SELECT set_config('vinculum.tenant', 'acme', true)")
                assert {row["tenant"] for row in await db.fetch(everything)} == {"acme"}, table
            assert await db.fetch(everything) == []


async def test_a_reader_writes_nothing(projection: Projection) -> None:
    for statement in ("DELETE FROM links", "INSERT INTO tenants VALUES ('x', '{}')", "TRUNCATE accounts"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await projection.reader.execute(statement)


async def test_no_role_that_the_service_works_under_owns_a_table_or_passes_the_wall(projection: Projection) -> None:
    row = await projection.consumer.fetchrow("""
        SELECT
            (SELECT count(*) FROM pg_tables
                WHERE schemaname = current_schema() AND tableowner LIKE 'vinculum%') AS owned,
            (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND NOT rowsecurity) AS open,
            (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'vinculum%' AND (rolsuper OR rolbypassrls)) AS above""")

    assert tuple(row or ()) == (0, 0, 0)
