"""How a service reads the events: gap-free and without duplicates, trusting neither Kafka nor the relay nor itself.

Each tenant's log is numbered without holes, so a reader that keeps the last position it applied sees at once what it
has had before and what is missing. What is missing comes from the log over HTTP. Positions, the offsets to go on from
and what the service writes are moved in one transaction, whose first statement is a compare-and-set on the positions:
of two instances that believe they read the same partition, one is turned away. The tables are in subscription.sql.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, LiteralString

import httpx2
import structlog
from aiokafka.errors import KafkaError

from vinculum_shared import kafka, metrics
from vinculum_shared.consuming import parking
from vinculum_shared.consuming.event_log import EventLog, Line, whole_commits
from vinculum_shared.consuming.partitions import Partitions, keep_offsets
from vinculum_shared.failpoints import reach
from vinculum_shared.postgres import OUTAGE, Pool, columns
from vinculum_shared.supervision import beat, set_within, waiting_for
from vinculum_shared.telemetry import OperatorError

log = structlog.get_logger()

COMPARE_SECONDS: Final = 10.0
BACKOFF_SECONDS_MIN: Final = 0.1
BACKOFF_SECONDS_MAX: Final = 5.0
LEAVE_SECONDS_MAX: Final = 5.0

POSITIONS: LiteralString = "SELECT tenant, position FROM subscription WHERE tenant = ANY($1::text[])"
ALL_POSITIONS: LiteralString = "SELECT tenant, position FROM subscription"
PARKED: LiteralString = "SELECT count(*) FROM parked"
ADD: LiteralString = """
    INSERT INTO subscription (tenant, position) SELECT tenant, 0 FROM unnest($1::text[]) AS tenant
    ON CONFLICT DO NOTHING"""
MOVE: LiteralString = """
    UPDATE subscription SET position = moved.till, recorded_at = moved.recorded_at, applied_at = now()
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::timestamptz[]) AS moved (tenant, since, till, recorded_at)
    WHERE subscription.tenant = moved.tenant AND subscription.position = moved.since"""


class RejectedError(Exception):
    """Another instance has gone on from where this one thought to be."""


class IncompleteLogError(Exception):
    """The log did not give what its positions promise; it may do so later."""


class ShortenedLogError(OperatorError):
    """The log ends before what was applied: it was restored from an older state, and the service has to be rebuilt."""


WITHOUT_KAFKA: Final = (*OUTAGE, httpx2.HTTPError, IncompleteLogError)
PASSES: Final = (*WITHOUT_KAFKA, KafkaError)
"""What passes by itself. The batch is given up, and tried again after a while."""


@dataclass(frozen=True)
class Freshness:
    position: int
    lag_events: int
    lag_seconds: float
    """The age of the oldest event that is not applied."""


class Subscription:
    def __init__(
        self,
        pool: Pool,
        event_log: EventLog,
        apply: parking.Apply,
        *,
        bootstrap: str,
        topic: str,
        group: str,
        compare_seconds: float = COMPARE_SECONDS,
    ) -> None:
        self.pool = pool
        self.event_log = event_log
        self.apply = apply
        self.bootstrap = bootstrap
        self.topic = topic
        self.group = group
        self.compare_seconds = compare_seconds
        self._behind: dict[str, int] = {}
        self._backoff_seconds = BACKOFF_SECONDS_MIN
        self._kafka_lacks: str | None = None
        self._log_lacks: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Apply events until the event is set. Outages are waited out; every start begins at what the database says."""
        while not stop.is_set():
            try:
                with kafka.own_cancellations():
                    await self.consume(stop)
            except (RejectedError, *PASSES) as error:
                await self._wait_out(error, stop)

    async def consume(self, stop: asyncio.Event) -> None:
        """Be a member of the group once. Only Kafka can end that: the others' outages are waited out as a member.

        Polls even without partitions, which aiokafka needs to join again.
        """
        await self.compare(at_once=False)
        async with self.membership() as partitions:
            compare_at, polled = time.monotonic() + self.compare_seconds, False
            while not stop.is_set():
                try:
                    if not polled:
                        await partitions.poll()
                        reach("subscription.polled")
                    polled = True  # what an outage keeps from being applied is not added to
                    await self.take(partitions)
                    polled = False
                    if partitions.begun_at_end or time.monotonic() > compare_at:
                        at_once, partitions.begun_at_end = partitions.begun_at_end, False
                        await self.compare(at_once=at_once)
                        self._kafka_lacks = await partitions.lacking()
                        compare_at = time.monotonic() + self.compare_seconds
                    self._backoff_seconds = BACKOFF_SECONDS_MIN
                    waiting_for(" and ".join(filter(None, (self._kafka_lacks, self._log_lacks))) or None)
                except RejectedError:
                    metrics.CAS_REJECTIONS.inc()
                    log.warning("batch_rejected", topic=self.topic)
                    partitions.unclaimed, polled = True, False
                except WITHOUT_KAFKA as error:
                    await self._wait_out(error, stop)

    async def _wait_out(self, error: Exception, stop: asyncio.Event) -> None:
        log.warning("subscription_interrupted", reason=parking.reason(error), seconds=self._backoff_seconds)
        waiting_for(whom(error))
        await set_within(stop, self._backoff_seconds)
        self._backoff_seconds = min(2 * self._backoff_seconds, BACKOFF_SECONDS_MAX)

    @asynccontextmanager
    async def membership(self) -> AsyncIterator[Partitions]:
        consumer = kafka.consumer(self.bootstrap, client_id=self.group, group=self.group)
        partitions = Partitions(consumer, self.pool, self.topic)
        try:
            await consumer.start()
            consumer.subscribe([self.topic], listener=partitions)
            yield partitions
        finally:
            with suppress(TimeoutError, KafkaError), kafka.own_cancellations():
                await asyncio.wait_for(consumer.stop(), LEAVE_SECONDS_MAX)

    async def take(self, partitions: Partitions) -> None:
        """Apply the whole commits among what was polled, once what is missing before them has been fetched."""
        claims = {each.partition: claim for each, claim in partitions.claims.items()}
        lines = [line for claim in claims.values() for _, line in claim.held]
        positions = await self.positions({line.tenant for line in lines}) if lines else {}
        new, waiting = following(lines, positions)
        for tenant, till in waiting.items():
            positions[tenant] = await self.catch_up(tenant, positions[tenant], till)
        if waiting:
            new, _ = following(lines, positions)
        whole, _ = whole_commits(new)
        applied = positions | {line.tenant: line.position for line in whole}
        for claim in claims.values():
            claim.held = [(offset, line) for offset, line in claim.held if line.position > applied[line.tenant]]
        await self.commit(
            positions,
            whole,
            {
                number: claim.first_unapplied
                for number, claim in claims.items()
                if claim.first_unapplied != claim.stored_offset
            },
        )
        for claim in claims.values():
            claim.stored_offset = claim.first_unapplied
        metrics.SEEN_AGAIN.inc(len(lines) - len(new))

    async def commit(self, since: Mapping[str, int], lines: Sequence[Line], offsets: Mapping[int, int]) -> None:
        """Apply whole commits, move their tenants' positions and the offsets: all of it, or nothing."""
        if not lines and not offsets:
            return
        last = {line.tenant: line for line in lines}
        moves = [(tenant, since[tenant], line.position, line.recorded_at) for tenant, line in last.items()]
        if sum(till - start for _, start, till, _ in moves) != len(lines):
            raise IncompleteLogError
        async with self.pool.acquire() as connection, connection.transaction():
            if unknown := [tenant for tenant in last if since[tenant] == 0]:
                await connection.execute(ADD, unknown)
            if await connection.execute(MOVE, *columns(moves, 4)) != f"UPDATE {len(moves)}":
                raise RejectedError
            await keep_offsets(connection, self.topic, offsets)
            reach("subscription.moved")
            if lines:
                await parking.apply_or_park(connection, self.apply, lines)
            reach("subscription.applied")
        reach("subscription.committed")
        beat()
        metrics.APPLIED.inc(len(lines))
        if moves:
            metrics.CONSUMER_LAG_SECONDS.set(age_seconds(max(when for *_, when in moves)))

    async def catch_up(self, tenant: str, position: int, till: int) -> int:
        """Apply a tenant's log from after `position`, at least as far as `till`. Returns how far."""
        metrics.GAPS_FILLED.inc()
        log.info("gap", tenant=tenant, position=position, count=till - position)
        begun: list[Line] = []
        while position < till:
            page = await self.event_log.after(tenant, begun[-1].position if begun else position)
            if not page:
                raise IncompleteLogError
            whole, begun = whole_commits([*begun, *page])
            await self.commit({tenant: position}, whole, {})
            position += len(whole)
        return position

    async def catch_up_all(self) -> None:
        """Apply the whole log, all tenants in one reading: for a service that starts from nothing."""
        begun: list[Line] = []
        after = ("", 0)
        while page := await self.event_log.all_after(*after):
            after = (page[-1].tenant, page[-1].position)
            whole, begun = whole_commits([*begun, *page])
            positions = await self.positions({line.tenant for line in whole})
            await self.commit(positions, [line for line in whole if line.position > positions[line.tenant]], {})

    async def compare(self, *, at_once: bool) -> None:
        """Fetch what the topic doesn't bring: it was deleted, or its tail was lost.

        That is known of a tenant that is behind the log and where it was at the last comparison; `at_once`, of all
        that are behind.
        """
        metrics.PARKED.set(await self.pool.fetchval(PARKED))
        ours = {row["tenant"]: row["position"] for row in await self.pool.fetch(ALL_POSITIONS)}
        try:
            theirs = await self.event_log.positions()
            if any(theirs.get(tenant, position) < position for tenant, position in ours.items()):
                raise ShortenedLogError("The log ends before what was applied from it. Was it restored? Then rebuild.")
            behind = {tenant: ours.get(tenant, 0) for tenant, end in theirs.items() if end > ours.get(tenant, 0)}
            metrics.CONSUMER_LAG_EVENTS.set(sum(theirs[tenant] - position for tenant, position in behind.items()))
            stuck = [tenant for tenant, position in behind.items() if at_once or self._behind.get(tenant) == position]
            self._behind = behind
            if behind and not ours:
                await self.catch_up_all()
                return
            for tenant, position in (await self.positions(stuck)).items():
                await self.catch_up(tenant, position, theirs[tenant])
            self._log_lacks = None
        except (httpx2.HTTPError, IncompleteLogError) as error:
            log.warning("log_unavailable", reason=type(error).__name__)
            self._log_lacks = whom(error)

    async def positions(self, tenants: Collection[str]) -> dict[str, int]:
        found = {row["tenant"]: row["position"] for row in await self.pool.fetch(POSITIONS, list(tenants))}
        return dict.fromkeys(tenants, 0) | found

    async def replay(self, tenant: str, stream: str) -> int:
        """Apply a stream's parked events in order, as far as that goes. Returns how many are left."""
        return await parking.replay(self.pool, self.event_log, self.apply, tenant, stream)

    async def freshness(self, tenant: str) -> Freshness:
        position = (await self.positions([tenant]))[tenant]
        end = (await self.event_log.positions(tenant)).get(tenant, 0)
        lag_seconds = 0.0
        for line in await self.event_log.after(tenant, position, limit=1):
            lag_seconds = age_seconds(line.recorded_at)
        return Freshness(position=position, lag_events=max(0, end - position), lag_seconds=lag_seconds)


def whom(error: Exception) -> str | None:
    """Return what an error shows to be away."""
    match error:
        case RejectedError():
            return None
        case KafkaError():
            return "Kafka"
        case httpx2.HTTPError() | IncompleteLogError():
            return "the log of the command service"
    return "Postgres"


def following(lines: Iterable[Line], positions: Mapping[str, int]) -> tuple[list[Line], dict[str, int]]:
    """Give the lines that follow on the positions, each once; where some are missing, the last that waits for them."""
    reached = dict(positions)
    new: list[Line] = []
    waiting: dict[str, int] = {}
    for line in lines:
        if line.position == reached[line.tenant] + 1:
            reached[line.tenant] = line.position
            new.append(line)
        elif line.position > reached[line.tenant]:
            waiting[line.tenant] = max(line.position, waiting.get(line.tenant, 0))
    return new, {tenant: till for tenant, till in waiting.items() if till > reached[tenant]}


def age_seconds(when: datetime) -> float:
    return (datetime.now(UTC) - when).total_seconds()
