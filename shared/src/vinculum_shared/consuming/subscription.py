"""How a service reads the events: gap-free and without duplicates, trusting neither Kafka nor the relay nor itself.

Each tenant's log is numbered without holes, so a reader that keeps the last position it applied sees at once what it
has had before and what is missing. What is missing comes from the log over HTTP. Positions, the offsets to go on from
and what the service writes are moved in one transaction, whose first statement is a compare-and-set on the positions:
of two instances that believe they read the same partition, one is turned away. The tables are in subscription.sql.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Final, LiteralString

import asyncpg
import httpx2
import structlog
from aiokafka.errors import KafkaError

from vinculum_shared import kafka
from vinculum_shared.consuming import checkpoints, metrics, parking, rebuilding
from vinculum_shared.consuming.backfill import LOG_OR_POSTGRES_AWAY, Backfill
from vinculum_shared.consuming.checkpoints import START, Checkpoint, RejectedError
from vinculum_shared.consuming.event_log import LOG, EventLog, IncompleteLogError, Line, open_log, whole_commits
from vinculum_shared.consuming.parking import TooManyParkedError
from vinculum_shared.consuming.partitions import Partitions, keep_offsets
from vinculum_shared.consuming.rebuilding import Compare, Forget, nothing_to_compare
from vinculum_shared.failpoints import reach
from vinculum_shared.http.health import AbleWithout
from vinculum_shared.metrics import Lag, Left, showing
from vinculum_shared.postgres import Pool, end_silent_sessions
from vinculum_shared.settings import SubscriberSettings
from vinculum_shared.supervision import beat, set_within, supervise, waiting_for
from vinculum_shared.token_file import TokenFile, lacking

log = structlog.get_logger()

KAFKA: Final = "Kafka"
COMPARE_SECONDS: Final = 10.0
COMPARE_SECONDS_IN_OUTAGE: Final = 2.0
ASKED_AT_ONCE: Final = 20
GRACE_SECONDS: Final = 1.0  # in which what the relay has in hand comes by the topic
BACKOFF_SECONDS_MIN: Final = 0.1
BACKOFF_SECONDS_MAX: Final = 5.0
LEAVE_SECONDS_MAX: Final = 5.0
WAITING_LINES_MAX: Final = 2_000
"""Lines from the topic that wait for the backfill of their tenants. Beyond that it fetches them too."""

PARKED: LiteralString = "SELECT count(*) FROM parked"


PASSES: Final = (*LOG_OR_POSTGRES_AWAY, KafkaError)
"""What passes by itself. The batch is given up, and tried again after a while."""


@dataclass(frozen=True)
class Freshness:
    position: int
    lag_events: int
    lag_seconds: float
    """The age of the oldest event that is not applied."""


@asynccontextmanager
async def subscribed(settings: SubscriberSettings, pool: Pool, apply: parking.Apply) -> AsyncIterator["Subscription"]:
    """Open a service's subscription, which applies what it reads through this pool."""
    async with open_log(settings.command_url, TokenFile(settings.service_token_file)) as event_log:
        yield Subscription(
            pool,
            event_log,
            apply,
            bootstrap=settings.kafka_bootstrap,
            security=settings.kafka_security,
            topic=settings.topic,
            group=settings.service,
        )


class Subscription:
    def __init__(
        self,
        pool: Pool,
        event_log: EventLog,
        apply: parking.Apply,
        *,
        bootstrap: str,
        security: kafka.Security = kafka.OPEN,
        topic: str,
        group: str,
        compare_seconds: float = COMPARE_SECONDS,
    ) -> None:
        self.pool = pool
        self.event_log = event_log
        self.apply = apply
        self.bootstrap = bootstrap
        self.security = security
        self.topic = topic
        self.group = group
        self.compare_seconds = compare_seconds
        self.backfill = Backfill(pool, event_log, self.commit)
        self._behind: dict[str, tuple[int, int]] = {}
        """Tenants that were behind the log at the last comparison: where they were, and where it ended."""
        self._compared_at = -inf
        self._verified: dict[str, tuple[Checkpoint, int]] = {}
        """The checkpoints that agreed with the log at the last comparison, and where it ended."""
        self._recorded_at: dict[tuple[str, int], datetime] = {}
        """When the event was recorded that comes after a tenant's position, of those known to be behind."""
        self._backoff_seconds = BACKOFF_SECONDS_MIN
        self._kafka_lacks: str | None = None
        self._log_lacks: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Apply events until the event is set. Outages are waited out; every start begins at what the database says."""
        lag = Lag("vinculum_consumer_lag", "events", "Events in the log and not yet applied", self.left)
        async with showing(lag), asyncio.TaskGroup() as group:
            backfill = group.create_task(supervise("backfill", self.backfill.run, stop))
            while not stop.is_set():
                try:
                    with kafka.own_cancellations():
                        await self.consume(stop)
                except (RejectedError, *PASSES) as error:
                    await self._wait_out(error, stop)
            backfill.cancel()

    async def consume(self, stop: asyncio.Event) -> None:
        """Be a member of the group once. Only Kafka can end that: the others' outages are waited out as a member.

        Polls even without partitions, which aiokafka needs to join again.
        """
        await self.compare(at_once=self._kafka_lacks is not None)
        async with self.membership() as partitions:
            polled = False
            while not stop.is_set():
                try:
                    if not polled:
                        await partitions.poll()
                        reach("subscription.polled")
                    polled = True  # what an outage keeps from being applied is not added to
                    await self.take(partitions)
                    polled = False
                    since_compared = time.monotonic() - self._compared_at
                    if partitions.begun_at_end or since_compared > self._compare_every(partitions):
                        self._kafka_lacks = await partitions.lacking()
                        at_once = partitions.begun_at_end or self._kafka_lacks is not None
                        partitions.begun_at_end = False
                        partitions.drop_beyond(await self.compare(at_once=at_once))
                    elif self._behind and partitions.idle and since_compared > GRACE_SECONDS:
                        await self._fetch_unmoved()
                    self._backoff_seconds = BACKOFF_SECONDS_MIN
                    waiting_for(self._lacks)
                except RejectedError:
                    metrics.CAS_REJECTIONS.inc()
                    log.warning("batch_rejected", topic=self.topic)
                    partitions.unclaimed, polled = True, False
                except LOG_OR_POSTGRES_AWAY as error:
                    await self._wait_out(error, stop)

    @property
    def _lacks(self) -> str | None:
        return " and ".join(filter(None, (self._kafka_lacks, self._log_lacks))) or None

    def _compare_every(self, partitions: Partitions) -> float:
        """Compare more often while the topic brings nothing, or the log could not be asked."""
        well = partitions.claims and self._kafka_lacks is None and self._log_lacks is None
        return self.compare_seconds if well else min(self.compare_seconds, COMPARE_SECONDS_IN_OUTAGE)

    async def _wait_out(self, error: Exception, stop: asyncio.Event) -> None:
        log.info("subscription_interrupted", reason=parking.reason(error), seconds=self._backoff_seconds)
        self._compared_at = -inf
        if isinstance(error, KafkaError):
            self._kafka_lacks = KAFKA
            waiting_for(self._lacks)
        else:
            waiting_for(whom(error))
        await set_within(stop, self._backoff_seconds)
        self._backoff_seconds = min(2 * self._backoff_seconds, BACKOFF_SECONDS_MAX)

    @asynccontextmanager
    async def membership(self) -> AsyncIterator[Partitions]:
        consumer = kafka.consumer(self.bootstrap, client_id=self.group, group=self.group, security=self.security)
        partitions = Partitions(consumer, self.pool, self.topic)
        try:
            await consumer.start()
            consumer.subscribe([self.topic], listener=partitions)
            yield partitions
        finally:
            with suppress(TimeoutError, KafkaError), kafka.own_cancellations():
                await asyncio.wait_for(consumer.stop(), LEAVE_SECONDS_MAX)

    async def take(self, partitions: Partitions) -> None:
        """Apply the whole commits among what was polled. Where lines are missing or disputed, the log has the truth."""
        claims = {each.partition: claim for each, claim in partitions.claims.items()}
        held = [line for claim in claims.values() for _, line in claim.held]
        lines = [line for line in held if line.tenant not in self.backfill]
        applied = await checkpoints.of_tenants(self.pool, {line.tenant for line in lines}) if lines else {}
        new, doubts = following(lines, applied)
        self.backfill.add(doubts)
        whole, _ = whole_commits(new)
        done: dict[str, float] = {
            tenant: inf if each.held or tenant in doubts else each.position for tenant, each in applied.items()
        }
        done |= {line.tenant: line.position for line in whole}
        if len(held) - len(lines) > WAITING_LINES_MAX:
            done |= {line.tenant: inf for line in held if line.tenant in self.backfill}
        left = {number: claim.without(done) for number, claim in claims.items()}
        offsets = {
            number: claim.first_unapplied
            for number, claim in left.items()
            if claim.first_unapplied != claim.stored_offset
        }
        await self.commit({tenant: each.position for tenant, each in applied.items()}, whole, offsets)
        for number, claim in claims.items():
            claim.held, claim.stored_offset = left[number].held, left[number].first_unapplied
        metrics.SEEN_AGAIN.inc(len(lines) - len(new))

    async def commit(self, since: Mapping[str, int], lines: Sequence[Line], offsets: Mapping[int, int]) -> None:
        """Apply whole commits, move their tenants' checkpoints and the offsets: all of it, or nothing."""
        if not lines and not offsets:
            return
        last = {line.tenant: line for line in lines}
        if sum(line.position - since[tenant] for tenant, line in last.items()) != len(lines):
            raise IncompleteLogError
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                await checkpoints.move(connection, since, last.values())
                await keep_offsets(connection, self.topic, offsets)
                reach("subscription.moved")
                if lines:
                    await parking.apply_or_park(connection, self.apply, lines)
                reach("subscription.applied")
        except TooManyParkedError as error:
            await checkpoints.hold(self.pool, error.tenant, since[error.tenant], "too_many_parked")
            raise RejectedError from error
        except asyncpg.LockNotAvailableError:  # an instance may be paused that read these partitions before
            await end_silent_sessions(self.pool)
            raise
        reach("subscription.committed")
        beat()
        metrics.APPLIED.inc(len(lines))

    async def catch_up_all(self) -> None:
        """Apply the whole log, all tenants in one reading: for a service that starts from nothing."""
        begun: list[Line] = []
        after = ("", 0)
        while page := await self.event_log.all_after(*after):
            after = (page[-1].tenant, page[-1].position)
            whole, begun = whole_commits([*begun, *page])
            applied = await checkpoints.of_tenants(self.pool, {line.tenant for line in whole})
            positions = {tenant: each.position for tenant, each in applied.items()}
            await self.commit(positions, [line for line in whole if line.position > positions[line.tenant]], {})

    async def compare(self, *, at_once: bool) -> dict[str, int]:
        """Hold the tenants that diverge from the log, and find those that are behind it.

        What they lack is fetched `at_once`, if the topic is known not to bring it; else, of those that have not moved
        once a reader with nothing left to read has waited a moment, or by the next comparison. Return where each
        tenant's log ends; nothing if the log can't be asked.
        """
        self._compared_at = time.monotonic()
        await self._fetch_unmoved()
        metrics.PARKED.set(await self.pool.fetchval(PARKED))
        ours = await checkpoints.of_all(self.pool)
        metrics.TENANTS_HELD.set(sum(each.held is not None for each in ours.values()))
        try:
            theirs = await self.event_log.positions()
            await self._verify(ours, theirs)
        except httpx2.HTTPError as error:
            log.info("log_unavailable", reason=type(error).__name__)
            self._log_lacks = whom(error)
            self._verified.clear()
            return {}
        self._log_lacks = None
        at = {tenant: ours.get(tenant, START) for tenant in theirs}
        self._behind = {
            tenant: (at[tenant].position, end)
            for tenant, end in theirs.items()
            if end > at[tenant].position and not at[tenant].held
        }
        if self._behind and not ours:
            with suppress(IncompleteLogError):  # of one tenant, perhaps: each by itself
                await self.catch_up_all()
        if at_once or not ours:
            await self._fetch_unmoved()
        return theirs

    async def _fetch_unmoved(self) -> None:
        """Fetch what the tenants lack that are where they were at the last comparison."""
        behind, self._behind = self._behind, {}
        applied = await checkpoints.of_tenants(self.pool, behind)
        self.backfill.add({each: end for each, (position, end) in behind.items() if applied[each].position == position})

    async def _verify(self, ours: Mapping[str, Checkpoint], theirs: Mapping[str, int]) -> None:
        """Compare with the log what was applied since the last comparison, and what the log has moved on from."""
        now = {tenant: (each, theirs.get(tenant, 0)) for tenant, each in ours.items() if not each.held}
        moved = {tenant: each for tenant, (each, end) in now.items() if self._verified.get(tenant) != (each, end)}
        found = await self.event_log.look_up({tenant: each.position for tenant, each in moved.items()})
        for tenant, checkpoint in moved.items():
            if checkpoint.diverges_from(found[tenant]):
                await checkpoints.hold(self.pool, tenant, checkpoint.position, "diverged")
        self._verified = now

    async def left(self) -> Left:
        """Return how many events of the log are not applied, and when the oldest of them was recorded.

        Where very many tenants are behind, the time is asked for of some more of them each time.
        """
        ours = await checkpoints.of_all(self.pool)
        at = {
            (tenant, ours.get(tenant, START).position): end
            for tenant, end in (await self.event_log.positions()).items()
        }
        behind = {each: end - each[1] for each, end in at.items() if end > each[1]}
        self._recorded_at = {each: when for each, when in self._recorded_at.items() if each in behind}
        unknown = [each for each in behind if each not in self._recorded_at][:ASKED_AT_ONCE]
        pages = await asyncio.gather(*(self.event_log.after(*each, limit=1) for each in unknown))
        self._recorded_at |= {each: page[0].recorded_at for each, page in zip(unknown, pages, strict=True) if page}
        return sum(behind.values()), min(self._recorded_at.values(), default=None)

    async def replay(self, tenant: str, stream: str) -> int:
        """Apply a stream's parked events in order, as far as that goes. Returns how many are left."""
        return await parking.replay(self.pool, self.event_log, self.apply, tenant, stream)

    async def rebuild(self, tenant: str | None, *, forget: Forget, compare: Compare = nothing_to_compare) -> None:
        """Build a tenant anew from the log, or each that is held."""
        for each in [tenant] if tenant else await rebuilding.held_tenants(self.pool):
            await rebuilding.rebuild(self.pool, self.event_log, self.apply, each, forget=forget, compare=compare)

    async def freshness(self, tenant: str) -> Freshness:
        position = (await checkpoints.of_tenants(self.pool, [tenant]))[tenant].position
        end = (await self.event_log.positions(tenant)).get(tenant, 0)
        if position >= end:
            return Freshness(position=position, lag_events=0, lag_seconds=0.0)
        page = await self.event_log.after(tenant, position, limit=1)
        lag_seconds = age_seconds(page[0].recorded_at) if page else 0.0
        return Freshness(position=position, lag_events=end - position, lag_seconds=lag_seconds)


def from_the_log(topic: str) -> AbleWithout:
    """Return what a service can do without that reads the events: what the topic does not bring comes from the log."""
    return {"consume": (KAFKA, f"the topic {topic}")}


def whom(error: Exception) -> str | None:
    """Return what an error shows to be away."""
    match error:
        case RejectedError():
            return None
        case KafkaError():
            return KAFKA
        case httpx2.HTTPError():
            return lacking(error, LOG)
        case IncompleteLogError():
            return LOG
    return "Postgres"


def following(lines: Iterable[Line], applied: Mapping[str, Checkpoint]) -> tuple[list[Line], dict[str, int]]:
    """Return the lines that follow on what is applied, each once, and the tenants that the log has to be asked about.

    Of those, something is missing, or two events claim one position; with each, the last position that it claims.
    """
    positions = {tenant: each.position for tenant, each in applied.items() if not each.held}
    ids = {tenant: each.event_id for tenant, each in applied.items()}
    new: list[Line] = []
    ahead: dict[str, int] = {}
    disputed: dict[str, int] = {}
    for line in lines:
        reached = positions.get(line.tenant, inf)  # of a tenant that is held, nothing is new
        if line.position == reached + 1:
            positions[line.tenant], ids[line.tenant] = line.position, line.id
            new.append(line)
        elif line.position > reached:
            ahead[line.tenant] = max(line.position, ahead.get(line.tenant, 0))
        elif line.position == reached and ids[line.tenant] not in (line.id, None):
            disputed[line.tenant] = line.position
    doubts = disputed | {tenant: last for tenant, last in ahead.items() if last > positions[tenant]}
    return [line for line in new if line.tenant not in doubts] if doubts else new, doubts


def age_seconds(when: datetime) -> float:
    return (datetime.now(UTC) - when).total_seconds()
