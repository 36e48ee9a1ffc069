"""What a contact on very many accounts costs those who ask for related accounts."""

import orjson
import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_projection.read_models.links import RELATED
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.paging import NIL

pytestmark = pytest.mark.integration

PAGE = 51
BLOCKS_MAX = 20 * PAGE  # index and table blocks of the links, accounts and contacts on a page
HUB = """
    WITH hub AS (
        INSERT INTO accounts (tenant, account_id, name, folded_name, letter, external_ids, archived, created_at,
            version)
        SELECT 'acme', gen_random_uuid(), n, n, '#', '{}', false, now(), 1
        FROM (SELECT md5(i::text) AS n FROM generate_series(1, 20000) AS i) AS names
        RETURNING *
    )
    INSERT INTO links (tenant, account_id, contact_id, account_name, is_primary, since, features, topics,
        topics_by_email, version, linked_event_id, linked_position, linked_at)
    SELECT tenant, account_id, $1, folded_name, false, now(), '{}', '{}', '{}', 1, gen_random_uuid(), 1, now()
    FROM hub"""


async def blocks(projection: Projection, account_id: AccountId, after: str) -> int:
    async with projection.reader.acquire() as db, db.transaction():
        await db.execute("SELECT set_config('vinculum.tenant', 'acme', true)")
        explained = await db.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {RELATED}", "acme", account_id, after, NIL, PAGE
        )
    plan = orjson.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


async def test_a_page_of_related_accounts_costs_a_page_however_many_accounts_a_contact_is_on(
    projection: Projection,
) -> None:
    firm = Firm.registered()
    account_id, hub, other = firm.account("Initech"), firm.contact("Hub", "Contact"), firm.contact("Ann", "Smith")
    firm.link(account_id, hub)
    firm.link(account_id, other)
    await projection.deliver(firm.log)
    await on_many_accounts(projection, hub)

    answer = await projection.get(f"/v1/accounts/{account_id}/related", projection.service("acme"), limit=50)

    assert len(answer.json()["items"]) == 50
    for after in ("", "8", "f"):
        assert await blocks(projection, account_id, after) < BLOCKS_MAX


async def on_many_accounts(projection: Projection, contact_id: ContactId) -> None:
    await projection.consumer.execute(HUB, contact_id)
