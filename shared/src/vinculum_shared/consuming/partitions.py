"""Which partitions of the topic this instance reads, and from where: kept in the service's own database."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, LiteralString

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from vinculum_shared.consuming import metrics
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.postgres import Connection, Pool

log = structlog.get_logger()

POLL_MS: Final = 250
BROKER_SECONDS_MAX: Final = 1.0  # aiokafka itself waits for a broker that is gone without end
BATCH_RECORDS: Final = 2_000  # 500 in a batch are almost as fast, more than 2,000 no faster

OFFSETS: LiteralString = "SELECT partition, next_offset FROM subscription_offset WHERE topic = $1"
KEEP: LiteralString = """
    INSERT INTO subscription_offset (topic, partition, next_offset)
    SELECT $1, partition, next_offset FROM unnest($2::int[], $3::bigint[]) AS kept (partition, next_offset)
    ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset"""


@dataclass
class Claim:
    """A partition that is read: the offset stored, the one to read next, and the lines between them that wait."""

    stored_offset: int
    next_offset: int
    held: list[tuple[int, Line]] = field(default_factory=list)

    @property
    def first_unapplied(self) -> int:
        return self.held[0][0] if self.held else self.next_offset

    def without(self, done: Mapping[str, float]) -> "Claim":
        """Return the claim without the lines up to these positions."""
        return replace(self, held=[each for each in self.held if each[1].position > done.get(each[1].tenant, 0)])


class Partitions(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows the group's assignments. Records of a partition count only once it is claimed.

    aiokafka goes on fetching while its listener runs, and swallows what that raises: so an assignment is only noted
    here. The next poll claims it, and what came before the claim is dropped.
    """

    def __init__(self, consumer: AIOKafkaConsumer, pool: Pool, topic: str) -> None:
        self.consumer = consumer
        self.pool = pool
        self.topic = topic
        self.claims: dict[TopicPartition, Claim] = {}
        self.unclaimed = False
        """The assignment is to be claimed (again) before anything else."""
        self.idle = False
        """The last poll brought nothing."""
        self.begun_at_end = False
        """Some partition is read from where it ended: what is before that has to come from the log."""

    async def on_partitions_revoked(self, _: set[TopicPartition]) -> None:
        self.claims.clear()

    async def on_partitions_assigned(self, _: set[TopicPartition]) -> None:
        self.unclaimed = True

    async def claim(self) -> None:
        """Go to the stored offsets. A partition without one is read from its end: the log has the past in bulk."""
        self.claims.clear()
        assigned = self.consumer.assignment()
        stored = {row["partition"]: row["next_offset"] for row in await self.pool.fetch(OFFSETS, self.topic)}
        new = [partition for partition in assigned if partition.partition not in stored]
        if new:
            try:
                async with asyncio.timeout(BROKER_SECONDS_MAX):
                    found = await self.consumer.end_offsets(new)
            except TimeoutError:
                return  # the topic may be gone again: the next poll tries to claim it
            ends = {each.partition: end for each, end in found.items()}
            await keep_offsets(self.pool, self.topic, ends)
            self.begun_at_end = True
            stored |= ends
        # No await from here on: nothing is fetched between the seek and the claim.
        self.unclaimed = self.consumer.assignment() != assigned
        for partition in assigned:
            with suppress(IllegalStateError):  # lost in the meantime
                self.consumer.seek(partition, stored[partition.partition])
                self.claims[partition] = Claim(stored[partition.partition], stored[partition.partition])
        log.info("partitions_claimed", topic=self.topic, partitions=sorted(each.partition for each in self.claims))

    async def poll(self) -> None:
        """Add what has come to the claims."""
        self.idle = True
        if self.unclaimed:
            await self.claim()
        try:
            async with asyncio.timeout(BROKER_SECONDS_MAX):
                polled = await self.consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
        except (TimeoutError, NoOffsetForPartitionError):
            return  # a rebalance waits for the broker; or it was fetched before the claim, whose seek says where
        except OffsetOutOfRangeError as error:
            await self.from_beginning(*error.args[0])
            return
        self.idle = not polled
        for partition, records in polled.items():
            if claim := self.claims.get(partition):
                claim.held += read(records)
                claim.next_offset = records[-1].offset + 1

    async def from_beginning(self, *partitions: TopicPartition) -> None:
        """Read what there is: the offset is gone, by retention or with the whole topic, and the log fills the rest."""
        log.warning("offset_out_of_range", topic=self.topic, partitions=[each.partition for each in partitions])
        for partition in partitions:
            with suppress(IllegalStateError):
                await self.consumer.seek_to_beginning(partition)
                if partition in self.claims:
                    self.claims[partition].held.clear()

    def drop_beyond(self, ends: Mapping[str, int]) -> None:
        """Drop lines that wait for the rest of their commits although the log does not have them: they are forged."""
        if not ends:
            return
        beyond: dict[str, int] = {}
        for claim in self.claims.values():
            for offset, line in claim.held.copy():
                if line.position > ends.get(line.tenant, 0):
                    claim.held.remove((offset, line))
                    beyond[line.tenant] = line.position
        for tenant, position in beyond.items():
            metrics.FORGERIES.inc()
            log.warning("not_in_the_log", tenant=tenant, position=position)

    async def lacking(self) -> str | None:
        """Return what is missing to read the topic. aiokafka does not say: it waits, and brings nothing.

        Offsets are committed to find out, for Kafka's own tools, which show the lag by them; nothing reads them back.
        """
        try:
            async with asyncio.timeout(BROKER_SECONDS_MAX):
                if self.claims:
                    await self.consumer.commit({each: claim.first_unapplied for each, claim in self.claims.items()})
                return None if self.topic in await self.consumer.topics() else f"the topic {self.topic}"
        except (KafkaError, TimeoutError):
            return "Kafka"


def read(records: list[ConsumerRecord]) -> list[tuple[int, Line]]:
    """Pass over what isn't an event: if one should have been there, its position is missing, and noticed."""
    lines = []
    for record in records:
        try:
            lines.append((record.offset, Line.read(record.value)))
        except (ValueError, LookupError, TypeError) as error:
            log.warning("not_an_event", partition=record.partition, offset=record.offset, reason=type(error).__name__)
    return lines


async def keep_offsets(connection: Connection | Pool, topic: str, offsets: Mapping[int, int]) -> None:
    await connection.execute(KEEP, topic, list(offsets), list(offsets.values()))
