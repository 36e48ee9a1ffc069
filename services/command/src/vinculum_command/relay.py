"""The relay: one more reader of the log, which puts what it reads on the topic.

It sends what comes after its position in each tenant, waits for every acknowledgement, and moves its positions. A
failed send ends the producer and everything it had under way; the next one starts from the positions, so what was not
acknowledged is sent again and nothing is ever sent past a failure. Readers drop what they have seen.
"""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, LiteralString

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from vinculum_command import doorbell
from vinculum_command.doorbell import set_within
from vinculum_command.reading import WIRE, open_log
from vinculum_command.settings import Settings
from vinculum_shared import failpoints, kafka, metrics
from vinculum_shared.contracts.envelope import CONTENT_TYPE
from vinculum_shared.postgres import Connection, columns

log = structlog.get_logger()

LOCK: Final = 0x7E1A  # one relay is active; the others wait for its connection to end
STANDBY_SECONDS: Final = 2.0
FULL_LOOK_SECONDS: Final = 30.0  # for a doorbell that nobody heard
EVENTS_AT_ONCE: Final = 4_000
EVENTS_OF_ONE_TENANT_MIN: Final = 50  # however many tenants have news
SEND_DEADLINE_SECONDS: Final = 30.0
BACKOFF_SECONDS: Final = 1.0
WITH_PERSONAL: Final = True
HEADERS: Final = [("content-type", CONTENT_TYPE.encode())]

UNSENT: LiteralString = f"""
    SELECT e.tenant, e.position, e.at, e.event
    FROM unnest($2::text[]) AS news (tenant)
    LEFT JOIN relayed USING (tenant)
    CROSS JOIN LATERAL (
        SELECT tenant, position, (extract(epoch FROM recorded_at) * 1000)::bigint AS at, {WIRE} AS event
        FROM events WHERE events.tenant = news.tenant AND events.position > coalesce(relayed.position, 0)
        ORDER BY events.tenant, events.position LIMIT $3
    ) AS e
    ORDER BY e.tenant, e.position"""  # noqa: S608  WIRE is a constant
BEHIND: LiteralString = """
    SELECT tenant, tenants.last_position - coalesce(relayed.position, 0) AS lag
    FROM tenants LEFT JOIN relayed USING (tenant)
    WHERE tenants.last_position > coalesce(relayed.position, 0)"""
MOVE: LiteralString = """
    INSERT INTO relayed (tenant, position) SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (tenant) DO UPDATE SET position = greatest(relayed.position, EXCLUDED.position)"""


async def relay(settings: Settings, stop: asyncio.Event) -> None:
    """Relay until `stop`, starting afresh after every failure."""
    news: set[str] = set()
    woken = asyncio.Event()

    def ring(tenants: frozenset[str]) -> None:
        news.update(tenants or {EVERYTHING})
        woken.set()

    async def run() -> None:
        await kafka.ensure_topic(
            settings.kafka_bootstrap,
            settings.topic,
            partitions=settings.topic_partitions,
            replicas=settings.topic_replicas,
        )
        while not stop.is_set():
            try:
                await _while_active(settings, stop, news, woken)
            except (KafkaError, TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                metrics.RELAY_RESTARTS.inc()
                log.warning("relay_restarts", error=type(error).__name__)
                ring(frozenset())
                await set_within(stop, BACKOFF_SECONDS)

    async with asyncio.TaskGroup() as group:
        group.create_task(doorbell.listen(settings.database_url, ring, stop))
        group.create_task(run())
        await stop.wait()
        woken.set()


EVERYTHING: Final = "*"  # no tenant id: stands for a full look


async def _while_active(settings: Settings, stop: asyncio.Event, news: set[str], woken: asyncio.Event) -> None:
    """Wait to be the one relay, then send what there is. The positions move on the connection that has the lock."""
    pool = await open_log(settings.database_url, size=1, unsafe_durability=settings.unsafe_durability)
    async with pool, pool.acquire() as db:
        while not await db.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            if await set_within(stop, STANDBY_SECONDS):
                return
        producer = kafka.producer(settings.kafka_bootstrap, "vinculum-relay")
        await producer.start()
        try:
            news.add(EVERYTHING)
            await _send_all(db, producer, settings.topic, stop, news, woken)
        finally:
            await asyncio.wait_for(producer.stop(), SEND_DEADLINE_SECONDS)


async def _send_all(
    db: Connection,
    producer: AIOKafkaProducer,
    topic: str,
    stop: asyncio.Event,
    news: set[str],
    woken: asyncio.Event,
) -> None:
    looked = asyncio.get_running_loop().time()
    while not stop.is_set():
        if EVERYTHING in news or asyncio.get_running_loop().time() > looked + FULL_LOOK_SECONDS:
            behind = {row["tenant"]: row["lag"] for row in await db.fetch(BEHIND)}
            metrics.RELAY_LAG.set(sum(behind.values()))
            news.clear()
            news.update(behind)
            looked = asyncio.get_running_loop().time()
        tenants = sorted(news)
        news.clear()
        if tenants:
            news.update(await relay_once(db, producer, topic, tenants))
        elif not await set_within(woken, FULL_LOOK_SECONDS):
            news.add(EVERYTHING)
        if not news:
            woken.clear()


async def relay_once(db: Connection, producer: AIOKafkaProducer, topic: str, tenants: Sequence[str]) -> list[str]:
    """Send a batch of the tenants' events, and move their positions once Kafka has them all.

    Gives the tenants that may have more.
    """
    each = max(EVENTS_OF_ONE_TENANT_MIN, EVENTS_AT_ONCE // len(tenants))
    rows = await db.fetch(UNSENT, WITH_PERSONAL, tenants, each)
    if not rows:
        return []
    async with asyncio.timeout(SEND_DEADLINE_SECONDS):
        await _send(producer, topic, rows)
    failpoints.reach("relay.acknowledged")
    reached = {row["tenant"]: row["position"] for row in rows}
    await db.execute(MOVE, *columns(reached.items(), 2))
    metrics.RELAYED.inc(len(rows))
    failpoints.reach("relay.moved")
    counts = {tenant: sum(1 for _ in own) for tenant, own in groupby(rows, key=itemgetter("tenant"))}
    return [tenant for tenant, count in counts.items() if count == each]


async def _send(producer: AIOKafkaProducer, topic: str, rows: Sequence[Any]) -> None:
    """Send rows in their order, in batches per partition, and see every one acknowledged."""
    partitions = sorted(await producer.partitions_for(topic))
    choose = DefaultPartitioner()
    by_partition: dict[int, list[Any]] = {}
    for tenant, own in groupby(rows, key=itemgetter("tenant")):
        by_partition.setdefault(choose(tenant.encode(), partitions, partitions), []).extend(own)
    under_way: list[asyncio.Future[Any]] = []
    for partition, records in by_partition.items():
        batch = producer.create_batch()
        for tenant, _, at, event in records:
            record = {"key": tenant.encode(), "value": event.encode(), "timestamp": at, "headers": HEADERS}
            if batch.append(**record) is None:
                under_way.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(**record)
        under_way.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*under_way)
