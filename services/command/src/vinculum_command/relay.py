"""The relay: one more reader of the log, which puts what it reads on the topic.

It sends what comes after its position in each tenant, waits for every acknowledgement, and moves its positions. What
comes next is read meanwhile, and sent only then. A failed send ends the producer and everything it had under way; the
next one starts from the positions, so what was not acknowledged is sent again and nothing is ever sent past a failure.
Readers drop what they have seen. One relay is active, the one with the lease; only its positions move.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Final, LiteralString
from uuid import uuid4

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from vinculum_command import doorbell, metrics
from vinculum_command.database import BY_INDEX, log_pool
from vinculum_command.lease import Lease, LeaseLostError
from vinculum_command.reading import WIRE
from vinculum_command.settings import Settings
from vinculum_shared import failpoints, kafka
from vinculum_shared.contracts.envelope import CONTENT_TYPE
from vinculum_shared.metrics import Lag, Left, showing
from vinculum_shared.postgres import OUTAGE, Connection, Pool, columns
from vinculum_shared.supervision import set_within, supervise, waiting_for, working

log = structlog.get_logger()

SENDER: Final = "relay_sender"
STANDBY_SECONDS: Final = 1.0
FULL_LOOK_SECONDS: Final = 30.0  # for a doorbell that nobody heard
EVENTS_AT_ONCE: Final = 4_000
BYTES_AT_ONCE: Final = 16 * 1024 * 1024  # and, for each tenant, one event more
TENANTS_AT_ONCE: Final = 80
SEND_DEADLINE_SECONDS: Final = 30.0
BACKOFF_SECONDS: Final = 1.0
WITH_PERSONAL: Final = True
HEADERS: Final = [("content-type", CONTENT_TYPE.encode())]

# Of each tenant that has news, the next events, with their times in milliseconds, up to a number and a size of them.
UNSENT: LiteralString = f"""
    SELECT tenant, slice.position, slice.position < last_position AS more, times, events
    FROM unnest($2::text[], $3::bigint[]) AS news (tenant, under_way)
    JOIN tenants USING (tenant) LEFT JOIN relayed USING (tenant)
    CROSS JOIN LATERAL (
        SELECT max(position) AS position,
            array_agg((date_part('epoch', recorded_at) * 1e6)::bigint / 1000 ORDER BY position) AS times,
            array_agg({WIRE} ORDER BY position) AS events
        FROM (
            SELECT *, sum(octet_length(data::text) + coalesce(octet_length(personal::text), 0))
                OVER (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM events
            WHERE events.tenant = news.tenant AND position > coalesce(news.under_way, relayed.position, 0)
            ORDER BY position LIMIT $4
        ) AS next
        WHERE bytes_before IS NULL OR bytes_before < $5
    ) AS slice
    WHERE slice.position IS NOT NULL"""  # noqa: S608  WIRE is a constant
BEHIND: LiteralString = """
    SELECT tenant FROM tenants LEFT JOIN relayed USING (tenant)
    WHERE tenants.last_position > coalesce(relayed.position, 0)"""
LEFT: LiteralString = """
    SELECT coalesce(sum(tenants.last_position - next.position + 1), 0)::bigint, min(events.recorded_at)
    FROM tenants LEFT JOIN relayed USING (tenant)
    CROSS JOIN LATERAL (SELECT coalesce(relayed.position, 0) + 1 AS position) AS next
    JOIN events ON events.tenant = tenants.tenant AND events.position = next.position
    WHERE tenants.last_position >= next.position"""
# Of a relay that has lost its lease it moves nothing; nobody else takes the lease before this commits.
MOVE: LiteralString = """
    WITH lease AS (SELECT FROM relay_lease WHERE holder = $3 FOR SHARE)
    INSERT INTO relayed (tenant, position) SELECT reached.* FROM lease, unnest($1::text[], $2::bigint[]) AS reached
    ON CONFLICT (tenant) DO UPDATE SET position = greatest(relayed.position, EXCLUDED.position)"""


async def relay(settings: Settings, stop: asyncio.Event) -> None:
    """Relay until `stop`."""
    url = settings.database_url
    active = Relay(settings, stop)
    listen = partial(doorbell.listen, url, active.ring)
    async with (
        await log_pool(url, size=1, unsafe_durability=settings.unsafe_durability) as pool,
        showing(Lag("vinculum_relay_lag", "events", "Events stored and not yet sent to Kafka", partial(left, pool))),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(supervise("relay_doorbell", listen, stop))
        group.create_task(supervise(SENDER, lambda _: active.run(), stop))
        await set_within(stop)
        active.woken.set()


async def left(pool: Pool) -> Left:
    """Return how many events are not sent, and when the oldest of them was recorded."""
    count, oldest = await pool.fetchrow(LEFT)  # type: ignore[misc]
    return count, oldest


class Relay:
    """Knows which tenants have news, or that all may have some."""

    def __init__(self, settings: Settings, stop: asyncio.Event) -> None:
        self.settings = settings
        self.stop = stop
        self.holder = uuid4()
        self.woken = asyncio.Event()
        self._news: dict[str, None] = {}  # the oldest first: none waits behind one that always has some
        self._all_may_have_news = True
        self._looked = -inf

    def ring(self, tenants: frozenset[str]) -> None:
        self._news |= dict.fromkeys(tenants)
        self._all_may_have_news |= not tenants
        self.woken.set()

    async def run(self) -> None:
        """Start afresh after every failure."""
        while not self.stop.is_set():
            try:
                with kafka.own_cancellations():
                    await self._while_active()
            except* (KafkaError, LeaseLostError, *OUTAGE) as failed:
                metrics.RELAY_RESTARTS.inc()
                log.info("relay_restarts", reason=type(failed.exceptions[0]).__name__)
                waiting_for(_whom(failed))
                await set_within(self.stop, BACKOFF_SECONDS)

    async def _while_active(self) -> None:
        """Wait for the lease, then send what there is for as long as it is kept."""
        settings = self.settings
        pool = await log_pool(
            settings.database_url, size=2, unsafe_durability=settings.unsafe_durability, server_settings=BY_INDEX
        )
        async with pool:
            lease = Lease(pool, self.holder)
            while not await lease.take():
                if await set_within(self.stop, STANDBY_SECONDS):
                    return
            log.info("relay_active")
            try:
                async with asyncio.TaskGroup() as group, pool.acquire() as db:
                    keeping = group.create_task(lease.keep())
                    await self._publish(db)
                    keeping.cancel()
            finally:
                await lease.release()

    async def _publish(self, db: Connection) -> None:
        settings = self.settings
        await kafka.ensure_topic(
            settings.kafka_bootstrap,
            settings.topic,
            partitions=settings.topic_partitions,
            replicas=settings.topic_replicas,
            security=settings.kafka_security,
        )
        producer = kafka.producer(settings.kafka_bootstrap, "vinculum-relay", settings.kafka_security)
        try:
            async with kafka.answering_within(SEND_DEADLINE_SECONDS):
                await producer.start()
            await self._relay(db, producer)
        finally:
            async with kafka.answering_within(SEND_DEADLINE_SECONDS):
                await producer.stop()

    async def _relay(self, db: Connection, producer: AIOKafkaProducer) -> None:
        self._all_may_have_news = True
        while not self.stop.is_set():
            self.woken.clear()
            await self.send_news(db, producer)
            working()
            if not self._news:
                await set_within(self.woken, FULL_LOOK_SECONDS)

    async def send_news(self, db: Connection, producer: AIOKafkaProducer) -> None:
        """Send until there is no more, a slice at a time; positions move once Kafka has all of it."""
        rows = await self._unsent(db, {})
        while rows and not self.stop.is_set():
            reached = {row["tenant"]: row["position"] for row in rows}
            sending = asyncio.create_task(_send(producer, self.settings.topic, rows))
            try:
                following = await self._unsent(db, reached)
            finally:
                await sending
            failpoints.reach("relay.acknowledged")
            if await db.execute(MOVE, *columns(reached.items(), 2), self.holder) == "INSERT 0 0":
                raise LeaseLostError
            failpoints.reach("relay.moved")
            working()
            metrics.RELAYED.inc(sum(len(row["events"]) for row in rows))
            rows = following

    async def _unsent(self, db: Connection, under_way: Mapping[str, int]) -> list[Any]:
        """Read a slice, of tenants that have news, after the positions that are under way."""
        now = asyncio.get_running_loop().time()
        if self._all_may_have_news or now > self._looked + FULL_LOOK_SECONDS:
            self._all_may_have_news, self._looked = False, now
            behind = [row["tenant"] for row in await db.fetch(BEHIND)]
            self._news |= dict.fromkeys(behind)
        tenants = list(self._news)[:TENANTS_AT_ONCE]
        if not tenants:
            return []
        for tenant in tenants:
            del self._news[tenant]
        after = [under_way.get(tenant) for tenant in tenants]
        each = len(tenants)
        rows = await db.fetch(UNSENT, WITH_PERSONAL, tenants, after, EVENTS_AT_ONCE // each, BYTES_AT_ONCE // each)
        self._news |= dict.fromkeys(row["tenant"] for row in rows if row["more"])
        return rows


def _whom(failed: BaseExceptionGroup) -> str | None:
    """Return what a failure shows to be away."""
    if failed.subgroup(KafkaError):
        return "Kafka"
    return "Postgres" if failed.subgroup(OUTAGE) else None


async def _send(producer: AIOKafkaProducer, topic: str, rows: Sequence[Any]) -> None:
    """Send each tenant's events in their order, in batches per partition, and see every one acknowledged."""
    async with kafka.answering_within(SEND_DEADLINE_SECONDS):
        partitions = sorted(await producer.partitions_for(topic))
        choose = DefaultPartitioner()
        by_partition: dict[int, list[Any]] = {}
        for row in rows:
            by_partition.setdefault(choose(row["tenant"].encode(), partitions, partitions), []).append(row)
        under_way: list[asyncio.Future[Any]] = []
        for partition, own in by_partition.items():
            batch = producer.create_batch()
            for row in own:
                key = row["tenant"].encode()
                for at, event in zip(row["times"], row["events"], strict=True):
                    if batch.append(timestamp=at, key=key, value=event, headers=HEADERS) is None:
                        under_way.append(await producer.send_batch(batch, topic, partition=partition))
                        batch = producer.create_batch()
                        fits = batch.append(timestamp=at, key=key, value=event, headers=HEADERS)
                        assert fits, "an event is smaller than a batch may be"
            under_way.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*under_way)
