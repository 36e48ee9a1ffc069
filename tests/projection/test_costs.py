"""What answers cost that look at many links, on tables of which Postgres has no statistics, or old ones."""

from typing import Any, Final, LiteralString
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import orjson
import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_projection.read_models.access import ENTRIES
from vinculum_projection.read_models.links import ACCOUNTS_OF_CONTACT, CONTACTS_OF_ACCOUNT, RELATED
from vinculum_projection.recipients import MEMBERS
from vinculum_projection.settings import Settings
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.http.paging import NIL

pytestmark = pytest.mark.integration

PAGE: Final = 51
LINKS: Final = 2_500
BLOCKS_MAX: Final = 20  # index and table blocks of a link, its account, contact, addresses, access and parked events
HUB: LiteralString = """
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
CROWD: LiteralString = """
    WITH crowd AS (
        INSERT INTO contacts (tenant, contact_id, last_name, name, folded_name, letter, phones, external_ids, active,
            created_at, version)
        SELECT 'acme', gen_random_uuid(), n, n, n, '#', '[]', '{}', true, now(), 1
        FROM (SELECT md5(i::text) AS n FROM generate_series(1, $2::integer) AS i) AS names
        RETURNING *
    ), emails AS (
        INSERT INTO contact_emails (tenant, contact_id, email_id, address, folded_address, address_hash, is_primary)
        SELECT tenant, contact_id, gen_random_uuid(), address, address, encode(sha256(address::bytea), 'hex'), true
        FROM crowd, concat(folded_name, '@example.com') AS address
        RETURNING *
    ), opened AS (
        INSERT INTO access (tenant, account_id, contact_id, email_id, state, event_id, position, recorded_at)
        SELECT tenant, $1, contact_id, email_id, 'active', gen_random_uuid(), 1, now() FROM emails
    )
    INSERT INTO links (tenant, account_id, contact_id, account_name, is_primary, since, features, topics,
        topics_by_email, version, linked_event_id, linked_position, linked_at)
    SELECT tenant, $1, contact_id, 'initech', false, now(), '{}', '{invoice}', '{}', 1, gen_random_uuid(), 1, now()
    FROM crowd"""
PARKED: LiteralString = """
    INSERT INTO parked (tenant, stream, position, event_id, type, reason)
    SELECT 'acme', 'link/' || gen_random_uuid() || '/' || gen_random_uuid(), i, gen_random_uuid(), 'LinkChanged', ''
    FROM generate_series(1, $1::integer) AS i"""


async def blocks(projection: Projection, statement: LiteralString, *arguments: Any) -> int:
    async with projection.reader.acquire() as db, db.transaction():
        await db.execute("SELECT set_config('vinculum.tenant', 'acme', true)")
        explained = await db.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", "acme", *arguments)
    plan = orjson.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


async def test_a_page_about_a_contact_on_very_many_accounts_costs_a_page(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, hub, other = firm.account("Initech"), firm.contact("Hub", "Contact"), firm.contact("Ann", "Smith")
    firm.link(account_id, hub)
    firm.link(account_id, other)
    await projection.deliver(firm.log)
    await on_many_accounts(projection, hub)

    token = projection.service("acme")
    related = await projection.answered(f"/v1/accounts/{account_id}/related", token, limit=50)
    accounts = await projection.answered(f"/v1/contacts/{hub}/accounts", token, limit=50)

    assert len(related.json()["items"]) == len(accounts.json()["items"]) == 50
    for after in ("", "8", "f"):
        assert await blocks(projection, RELATED, account_id, after, NIL, PAGE) < BLOCKS_MAX * PAGE
        assert await blocks(projection, ACCOUNTS_OF_CONTACT, hub, after, NIL, PAGE) < BLOCKS_MAX * PAGE


async def on_many_accounts(projection: Projection, contact_id: ContactId) -> None:
    await projection.consumer.execute(HUB, contact_id)


@pytest.mark.parametrize("analysed", [False, True])
async def test_a_page_about_an_account_with_very_many_contacts_costs_its_links(
    projection: Projection, settings: Settings, *, analysed: bool
) -> None:
    """Analysed while there was one link, or never."""
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    firm.link(account_id, ann)
    firm.access(account_id, ann, "active")
    await projection.deliver(firm.log)
    if analysed:
        await analyse(settings)
    await with_many_contacts(projection, account_id)
    await with_many_contacts(projection, AccountId(uuid4()))
    await projection.consumer.execute(PARKED, LINKS)
    token = projection.service("acme")

    for path, query in (("access", {}), ("contacts", {}), ("recipients", {"topic": "invoice"})):
        answer = await projection.answered(f"/v1/accounts/{account_id}/{path}", token, limit=50, **query)
        assert len(answer.json()["items"]) == 50, path
    for after in ("", "8", "f"):
        assert await blocks(projection, ENTRIES, account_id, after, NIL, NIL, PAGE) < BLOCKS_MAX * LINKS
        assert await blocks(projection, CONTACTS_OF_ACCOUNT, account_id, after, NIL, PAGE) < BLOCKS_MAX * LINKS
    assert await blocks(projection, MEMBERS, account_id, "invoice") < BLOCKS_MAX * LINKS


async def analyse(settings: Settings) -> None:
    assert settings.admin_url is not None
    database = urlsplit(settings.database_url.get_secret_value()).path.lstrip("/")
    admin = await asyncpg.connect(settings.admin_url.get_secret_value(), database=database)
    await admin.execute("ANALYZE")
    await admin.close()


async def with_many_contacts(projection: Projection, account_id: AccountId) -> None:
    await projection.consumer.execute(CROWD, account_id, LINKS)
