"""A page of related accounts, where a contact on very many accounts is shared and where none is; what a link weighs."""

import random
from collections.abc import Sequence
from time import perf_counter
from typing import Final, LiteralString
from uuid import UUID

from measuring import Bar, Result, Sample, Size, Variant, interleaved, p50s, p99s
from servers import Servers
from vinculum_projection import database
from vinculum_projection.read_models.links import RELATED
from vinculum_shared.http.paging import NIL
from vinculum_shared.postgres import Connection

LINKS: Final = 1_000_000
ACCOUNTS: Final = 300_000
CONTACTS: Final = 400_000
HUB_ACCOUNTS: Final = 10_000
PAGE: Final = 50
PAGES: Final = 1_000  # a round
TENANT: Final = "large"

ORDINARY: Final = "an account whose contacts are on few others"
HUB: Final = f"an account with a contact on {HUB_ACCOUNTS:,} accounts"
CONDITIONS: Final = (
    f"{LINKS:,} links of {ACCOUNTS:,} accounts and {CONTACTS:,} contacts of one tenant; first pages of {PAGE}, each of "
    "another account, the second time that they are asked for. Time is that of the statement, with its planning and "
    "the way to the driver and back. Weight is of the table with its indexes; a link carries six features and a role."
)

# Ids and names follow from numbers. Contact 0 is the one on very many accounts.
FILL_ACCOUNTS: LiteralString = """
    INSERT INTO accounts (tenant, account_id, name, folded_name, letter, external_ids, archived, created_at, version)
    SELECT $1, md5('account' || n)::uuid, left(md5(n::text), 16), left(md5(n::text), 16), '#', '{}', false, now(), 1
    FROM generate_series(0, $2::int - 1) AS n"""
FILL_CONTACTS: LiteralString = """
    INSERT INTO contacts (tenant, contact_id, last_name, name, folded_name, letter, phones, external_ids, active,
        created_at, version)
    SELECT $1, md5('contact' || n)::uuid, name, name, name, '#', '[]', '{}', true, now(), 1
    FROM generate_series(0, $2::int - 1) AS n, substr(md5(n::text), 1, 16) AS name"""
FILL_LINKS: LiteralString = """
    INSERT INTO links (tenant, account_id, contact_id, account_name, role, is_primary, since, features, topics,
        topics_by_email, version, linked_event_id, linked_position, linked_at)
    SELECT $1, md5('account' || account)::uuid, md5('contact' || contact)::uuid, left(md5(account::text), 16),
        'Director', false, now(), '{invoices,estimates,contracts,proposals,support,projects}', '{}', '{}', 1,
        gen_random_uuid(), n, now()
    FROM (
        SELECT n, n % $3::int AS account,
            CASE WHEN n < $5::int THEN 0 ELSE 1 + floor(random() * ($4::int - 1))::int END AS contact
        FROM generate_series(0, $2::int - 1) AS n
    ) AS numbered
    ON CONFLICT DO NOTHING"""
WEIGHT: LiteralString = "SELECT pg_total_relation_size('links')::float / count(*) FROM links"
BY_NUMBER: LiteralString = "SELECT md5('account' || n)::uuid AS id FROM unnest($1::int[]) AS n"


async def measure(servers: Servers, size: Size) -> Result:
    settings = await servers.projection("related")
    accounts, contacts, hub_accounts, pages = (
        int(number * size.share) for number in (ACCOUNTS, CONTACTS, HUB_ACCOUNTS, PAGES)
    )
    async with servers.admin("related") as admin:
        await admin.execute(f"SET search_path = {database.SCHEMA}")
        await admin.execute(FILL_ACCOUNTS, TENANT, accounts)
        await admin.execute(FILL_CONTACTS, TENANT, contacts)
        await admin.execute(FILL_LINKS, TENANT, int(LINKS * size.share), accounts, contacts, hub_accounts)
        await admin.execute("VACUUM (ANALYZE) accounts, contacts, links")
        weight = await admin.fetchval(WEIGHT)
        pick = random.Random(1)  # noqa: S311  the same accounts in every run
        with_hub = await ids(admin, pick.sample(range(hub_accounts), pages))
        without = await ids(admin, pick.sample(range(hub_accounts, accounts), pages))
    async with (
        await database.reader_pool(settings) as pool,
        pool.acquire() as db,
        db.transaction(isolation="repeatable_read", readonly=True),
    ):
        await db.execute("SELECT set_config('vinculum.tenant', $1, true)", TENANT)
        variants = {ORDINARY: asking(db, without), HUB: asking(db, with_hub)}
        await interleaved(1, variants)
        samples = await interleaved(size.rounds, variants)
    ordinary, hub = samples[ORDINARY], samples[HUB]
    bars = [
        Bar("R1", f"{HUB}, p50 ms", p50s(hub), 1, at_least=False),
        Bar("R1", f"{HUB}, p99 ms", p99s(hub), 5, at_least=False),
        Bar(
            "R2", "p50 of these two", [b / a for a, b in zip(p50s(ordinary), p50s(hub), strict=True)], 3, at_least=False
        ),
        Bar("R4", "bytes a link", [weight], 220, at_least=False),
    ]
    return Result("Related accounts", "pages/s", samples, bars, CONDITIONS)


async def ids(admin: Connection, numbers: Sequence[int]) -> list[UUID]:
    return [row["id"] for row in await admin.fetch(BY_NUMBER, numbers)]


def asking(db: Connection, accounts: Sequence[UUID]) -> Variant:
    async def run() -> Sample:
        latencies = []
        for account_id in accounts:
            began = perf_counter()
            await db.fetch(RELATED, TENANT, account_id, "", NIL, PAGE + 1)
            latencies.append(perf_counter() - began)
        return Sample.of(latencies, sum(latencies))

    return run
