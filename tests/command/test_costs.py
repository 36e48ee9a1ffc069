"""What reading heads costs, by plans that were made before there was anything to read: a connection keeps its plans."""

from typing import LiteralString
from uuid import UUID, uuid4

import orjson
import pytest

from support.databases import as_admin, database
from vinculum_command.database import appender_pool
from vinculum_command.event_store import LINKS_OF_ACCOUNT, LINKS_OF_CONTACT, show
from vinculum_shared.postgres import Connection

pytestmark = pytest.mark.integration

OTHERS: LiteralString = """
    INSERT INTO heads (tenant, key, version, token, state, account_id, contact_id, pending)
    SELECT 'acme', 'link/' || account_id || '/' || contact_id, 1, gen_random_uuid(), '{}', account_id, contact_id, false
    FROM (
        SELECT gen_random_uuid() AS account_id, gen_random_uuid() AS contact_id FROM generate_series(1, 5000)
    ) AS pairs"""
BLOCKS_MAX = 10


@pytest.mark.parametrize("statement", [LINKS_OF_ACCOUNT, LINKS_OF_CONTACT])
async def test_the_links_of_one_are_found_without_going_through_those_of_others(
    postgres: str, statement: LiteralString
) -> None:
    async with (
        database(postgres, "vinculum_command") as url,
        await appender_pool(url, unsafe_durability=True) as pool,
        pool.acquire() as db,
    ):
        await show(db, ["acme"])
        await db.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE links AS {statement}")
        await blocks(db, uuid4())
        async with as_admin(postgres, url) as admin:
            await admin.execute(OTHERS)
        assert await blocks(db, uuid4()) < BLOCKS_MAX


async def blocks(db: Connection, side: UUID) -> int:
    explained = await db.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE links ('acme', '{side}', NULL, '', 1001)"
    )
    plan = orjson.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
