"""The relay: one more reader of the log, which puts what it reads on the topic.

It sends what comes after its position in each tenant, waits for every acknowledgement, and moves its positions. A
failed send ends the producer and everything it had under way; the next one starts from the positions, so what was not
acknowledged is sent again and nothing is ever sent past a failure. Readers drop what they have seen.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, LiteralString

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from vinculum_command import doorbell
from vinculum_command.doorbell import set_within
from vinculum_command.event_store import BY_INDEX
from vinculum_command.reading import WIRE, open_log
from vinculum_command.settings import Settings
from vinculum_shared import failpoints, kafka, metrics
from vinculum_shared.contracts.envelope import CONTENT_TYPE
from vinculum_shared.postgres import OUTAGE, Connection, columns

log = structlog.get_logger()

LOCK: Final = 0x7E1A  # one relay is active; the others wait for its connection to end
STANDBY_SECONDS: Final = 2.0
FULL_LOOK_SECONDS: Final = 30.0  # for a doorbell that nobody heard
EVENTS_AT_ONCE: Final = 4_000
TENANTS_AT_ONCE: Final = 80
SEND_DEADLINE_SECONDS: Final = 30.0
BACKOFF_SECONDS: Final = 1.0
WITH_PERSONAL: Final = True
HEADERS: Final = [("content-type", CONTENT_TYPE.encode())]

UNSENT: LiteralString = f"""
    SELECT e.tenant, e.position, e.at, e.event
    FROM unnest($2::text[]) AS news (tenant)
    LEFT JOIN relayed USING (tenant)
    CROSS JOIN LATERAL (
        SELECT tenant, position, floor(extract(epoch FROM recorded_at) * 1000)::bigint AS at, {WIRE} AS event
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
    """Relay until `stop`."""
    active = Relay(settings, stop)
    async with asyncio.TaskGroup() as group:
        group.create_task(doorbell.listen(settings.database_url, active.ring, stop))
        group.create_task(active.run())
        await stop.wait()
        active.woken.set()


class Relay:
    """Knows which tenants have news, or that all may have some."""

    def __init__(self, settings: Settings, stop: asyncio.Event) -> None:
        self.settings = settings
        self.stop = stop
        self.woken = asyncio.Event()
        self._news: set[str] = set()
        self._all_may_have_news = True

    def ring(self, tenants: frozenset[str]) -> None:
        self._news |= tenants
        self._all_may_have_news |= not tenants
        self.woken.set()

    async def run(self) -> None:
        """Start afresh after every failure."""
        while not self.stop.is_set():
            try:
                await self._while_active()
            except (KafkaError, *OUTAGE) as error:
                metrics.RELAY_RESTARTS.inc()
                log.warning("relay_restarts", reason=type(error).__name__)
                await set_within(self.stop, BACKOFF_SECONDS)

    async def _while_active(self) -> None:
        """Wait to be the one relay, then send what there is. Positions move on the connection that has the lock."""
        settings = self.settings
        pool = await open_log(
            settings.database_url, size=1, unsafe_durability=settings.unsafe_durability, server_settings=BY_INDEX
        )
        async with pool, pool.acquire() as db:
            while not await db.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                if await set_within(self.stop, STANDBY_SECONDS):
                    return
            await kafka.ensure_topic(
                settings.kafka_bootstrap,
                settings.topic,
                partitions=settings.topic_partitions,
                replicas=settings.topic_replicas,
            )
            producer = kafka.producer(settings.kafka_bootstrap, "vinculum-relay")
            await producer.start()
            try:
                await self._send_news(db, producer)
            finally:
                await asyncio.wait_for(producer.stop(), SEND_DEADLINE_SECONDS)

    async def _send_news(self, db: Connection, producer: AIOKafkaProducer) -> None:
        loop = asyncio.get_running_loop()
        self._all_may_have_news = True
        looked = loop.time()
        while not self.stop.is_set():
            self.woken.clear()
            if self._all_may_have_news or loop.time() > looked + FULL_LOOK_SECONDS:
                self._all_may_have_news = False
                behind = {row["tenant"]: row["lag"] for row in await db.fetch(BEHIND)}
                metrics.RELAY_LAG.set(sum(behind.values()))
                self._news |= behind.keys()
                looked = loop.time()
            tenants = sorted(self._news)[:TENANTS_AT_ONCE]
            self._news.difference_update(tenants)
            if tenants:
                self._news.update(await relay_once(db, producer, self.settings.topic, tenants))
            else:
                await set_within(self.woken, FULL_LOOK_SECONDS)


async def relay_once(db: Connection, producer: AIOKafkaProducer, topic: str, tenants: Sequence[str]) -> list[str]:
    """Send a batch of the tenants' events, and move their positions once Kafka has them all.

    Gives the tenants that may have more.
    """
    each = EVENTS_AT_ONCE // len(tenants)
    rows = await db.fetch(UNSENT, WITH_PERSONAL, tenants, each)
    if not rows:
        return []
    async with asyncio.timeout(SEND_DEADLINE_SECONDS):
        await _send(producer, topic, rows)
    failpoints.reach("relay.acknowledged")
    counts = Counter(row["tenant"] for row in rows)
    await db.execute(MOVE, *columns({row["tenant"]: row["position"] for row in rows}.items(), 2))
    failpoints.reach("relay.moved")
    metrics.RELAYED.inc(len(rows))
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
                fits = batch.append(**record)
                assert fits, "an event is smaller than a batch may be"
        under_way.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*under_way)
