"""Links into the read models, beside an upsert of the same rows written by hand, and a consumer that only reads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final, LiteralString

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from firms import executing, linking, registered
from measuring import Bar, Result, Sample, Size, interleaved, profiled, ratios, timed
from relaying import by_partition, send_all
from servers import PARTITIONS, Servers
from vinculum_command import reading
from vinculum_command.database import log_pool
from vinculum_command.settings import Settings as CommandSettings
from vinculum_projection.consume import open_subscription
from vinculum_projection.database import SCHEMA
from vinculum_projection.settings import Settings
from vinculum_shared import kafka
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.consuming.partitions import BATCH_RECORDS, POLL_MS, Partitions, keep_offsets
from vinculum_shared.consuming.subscription import Subscription
from vinculum_shared.postgres import Connection, columns

TENANTS: Final = [f"twelve-{number}" for number in range(12)]
LINKS: Final = 24_000
SIDE: Final = 50
LINKED: Final = "ContactLinked"
ORDERS_AT_ONCE: Final = 3_000
ALL: Final = 1_000_000
JOIN_SECONDS_MAX: Final = 30

APPLIED: Final = "subscription: poll, decode, apply, move positions"
BY_HAND: Final = f"upsert written by hand, {BATCH_RECORDS:,} events a commit"
READ: Final = "getmany alone"
CONDITIONS: Final = (
    f"ContactLinked events of {len(TENANTS)} tenants, one process, the real path: polled from Kafka, decoded, applied "
    "to all read models that take them (a row of links and one of history for each), positions moved in the same "
    "transaction. The upsert by hand writes the same rows of both tables from memory."
)

BY_HAND_TABLES: LiteralString = """
    CREATE TABLE by_hand_links (LIKE links INCLUDING ALL);
    CREATE TABLE by_hand_history (LIKE history INCLUDING ALL)"""
FORGET: LiteralString = "TRUNCATE links; DELETE FROM history WHERE type = 'ContactLinked'"
SWEEP: LiteralString = "VACUUM history"  # what was deleted would slow every round, and nothing is deleted by hand
MOVE_BACK: LiteralString = """
    UPDATE subscription SET position = base FROM unnest($1::text[], $2::bigint[]) AS back (tenant, base)
    WHERE subscription.tenant = back.tenant"""
POSITIONS: LiteralString = "SELECT sum(position)::bigint FROM subscription"
LINK_ROWS: LiteralString = """
    SELECT tenant, account_id, contact_id, account_name, role, job_title, is_primary, since, features::text,
        topics::text, topics_by_email, version, linked_event_id, linked_position, linked_at FROM links
    ORDER BY tenant, linked_position"""
HISTORY_ROWS: LiteralString = "SELECT * FROM history WHERE type = 'ContactLinked' ORDER BY tenant, position"
LINKS_BY_HAND: LiteralString = """
    INSERT INTO by_hand_links
    SELECT tenant, account_id, contact_id, account_name, role, job_title, is_primary, since, features::text[],
        topics::text[], topics_by_email, version, event_id, position, linked_at
    FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::boolean[],
        $8::timestamptz[], $9::text[], $10::text[], $11::jsonb[], $12::bigint[], $13::uuid[], $14::bigint[],
        $15::timestamptz[]) AS new (tenant, account_id, contact_id, account_name, role, job_title, is_primary, since,
        features, topics, topics_by_email, version, event_id, position, linked_at)
    ON CONFLICT (tenant, account_id, contact_id) DO UPDATE
    SET version = excluded.version, role = excluded.role, job_title = excluded.job_title"""
HISTORY_BY_HAND: LiteralString = """
    INSERT INTO by_hand_history
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[],
        $7::text[], $8::text[], $9::text[], $10::uuid[], $11::uuid[], $12::jsonb[], $13::jsonb[])
    ON CONFLICT (tenant, position) DO NOTHING"""

Rows = list[asyncpg.Record]


async def measure(servers: Servers, size: Size) -> Result:
    log, settings = await servers.command("projected"), await servers.projection("projecting")
    links = int(LINKS * size.share)
    await write_log(log, links)
    async with (
        servers.admin("projecting") as admin,
        open_subscription(settings) as subscription,
        reading_only(settings) as reader,
    ):
        bases = await apply_the_rest(log, subscription)
        await admin.execute(f"SET search_path = {SCHEMA}")
        await admin.execute(BY_HAND_TABLES)
        await admin.execute("ANALYZE")  # as autovacuum does, but within a minute
        await keep_offsets(subscription.pool, settings.topic, dict.fromkeys(range(PARTITIONS), 0))
        await send_links(servers, settings)
        async with subscription.membership() as partitions:

            async def applied() -> Sample:
                await admin.execute(FORGET)
                await admin.execute(SWEEP)
                await admin.execute(MOVE_BACK, list(bases), list(bases.values()))
                await keep_offsets(subscription.pool, settings.topic, dict.fromkeys(range(PARTITIONS), 0))
                await partitions.claim()
                await polled(partitions)
                return await timed(links, lambda: apply_all(subscription, partitions, sum(bases.values()) + links))

            await joined(partitions)
            await applied()
            link_rows, history_rows = await admin.fetch(LINK_ROWS), await admin.fetch(HISTORY_ROWS)

            async def by_hand() -> Sample:
                await admin.execute("TRUNCATE by_hand_links, by_hand_history")
                return await timed(links, lambda: upsert_all(admin, link_rows, history_rows))

            async def read() -> Sample:
                await reader.seek_to_beginning()
                return await timed(links, lambda: read_all(reader, links))

            samples = await interleaved(size.rounds, {APPLIED: applied, BY_HAND: by_hand, READ: read})
            bars = [
                Bar("P9", "subscription / by hand", ratios(samples[APPLIED], samples[BY_HAND]), 0.45, at_least=True),
                Bar("P10", "subscription / getmany", ratios(samples[APPLIED], samples[READ]), 0.15, at_least=True),
            ]
            result = Result("The projection", "events/s", samples, bars, CONDITIONS)
            if result.missed("P9", "P10"):
                result.profiles[APPLIED] = await profiled(applied)
    return result


async def write_log(settings: CommandSettings, links: int) -> None:
    async with executing(settings) as executor:
        orders = linking(*[await registered(executor, tenant, SIDE) for tenant in TENANTS])
        for _ in range(0, links, ORDERS_AT_ONCE):
            await asyncio.gather(*(executor.execute(order) for order in islice(orders, ORDERS_AT_ONCE)))


async def apply_the_rest(log: CommandSettings, subscription: Subscription) -> dict[str, int]:
    """Apply what comes before the links; gives where each tenant is then."""
    async with await log_pool(log.database_url, size=1, unsafe_durability=False) as pool, pool.acquire() as db:
        rows = await reading.log_of_all(db, ("", 0), ALL, personal=True)
    lines = [line for line in (Line.read(row.event) for row in rows) if line.type != LINKED]
    await subscription.commit(dict.fromkeys(TENANTS, 0), lines, {})
    return {line.tenant: line.position for line in lines}


async def send_links(servers: Servers, settings: Settings) -> None:
    producer = kafka.producer(settings.kafka_bootstrap, "benchmark")
    await producer.start()
    try:
        async with servers.admin("projected") as admin:
            await send_all(producer, settings.topic, await by_partition(admin, TENANTS, LINKED))
    finally:
        await producer.stop()


async def joined(partitions: Partitions) -> None:
    async with asyncio.timeout(JOIN_SECONDS_MAX):
        while len(partitions.claims) < PARTITIONS:
            await partitions.poll()


async def polled(partitions: Partitions) -> None:
    """Wait for the first records: the fetch that was under way ends only when Kafka has nothing more to wait for."""
    while not any(claim.held for claim in partitions.claims.values()):
        await partitions.poll()


async def apply_all(subscription: Subscription, partitions: Partitions, until: int) -> None:
    """Do what the subscription's loop does, up to the sum of all positions."""
    await subscription.take(partitions)
    while await subscription.pool.fetchval(POSITIONS) < until:
        await partitions.poll()
        await subscription.take(partitions)


async def upsert_all(db: Connection, links: Rows, history: Rows) -> None:
    for at in range(0, len(links), BATCH_RECORDS):
        async with db.transaction():
            await db.execute(LINKS_BY_HAND, *columns(links[at : at + BATCH_RECORDS], 15))
            await db.execute(HISTORY_BY_HAND, *columns(history[at : at + BATCH_RECORDS], 13))


async def read_all(reader: AIOKafkaConsumer, count: int) -> None:
    while count > 0:
        polled = await reader.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
        count -= sum(map(len, polled.values()))


@asynccontextmanager
async def reading_only(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    reader = kafka.consumer(settings.kafka_bootstrap, client_id="benchmark", group="benchmark")
    await reader.start()
    try:
        reader.assign([TopicPartition(settings.topic, partition) for partition in range(PARTITIONS)])
        yield reader
    finally:
        await reader.stop()
