"""From commands to durable events: collect what waits, decide it, append it, answer.

Commands that wait in the process go to Postgres together and are written in one commit, each with an outcome of its
own. While one group is being written, the next is decided upon it, to be written after it: commands commit in the order
in which they came. What each relied on is compared when it is written, so a group that was decided upon something that
did not come about is never written: it is decided again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final, NamedTuple, cast

import asyncpg
import structlog

from vinculum_command import event_store, metrics, outcomes
from vinculum_command.domain.commands import SYSTEM, Command, Order
from vinculum_command.event_store import HeadMovedError, Key, KeyStoredError
from vinculum_command.group import Cache, Group
from vinculum_command.outcomes import Answer, Outcome, Waiting
from vinculum_shared import failpoints
from vinculum_shared.contracts.addresses import address_hash
from vinculum_shared.deadlines import Deadline
from vinculum_shared.postgres import OUTAGE, Connection, Pool, lent
from vinculum_shared.problems import Problem, TooMany, Unavailable
from vinculum_shared.supervision import set_within

log = structlog.get_logger()

GROUP_MAX: Final = 128  # commands written in one commit: measured, larger ones gain nothing
DRY_RUNS_MAX: Final = 2  # at a time: they share the appender's connections
QUEUE_MAX: Final = 4_096  # commands waiting; past that, 429
GIVE_UP_AFTER_SECONDS: Final = 10.0  # since a command came, without a Postgres that answers
TRY_SECONDS_MAX: Final = 9.0  # Postgres gives up a statement after 8
RETRY_SECONDS_MIN: Final = 3.0  # however late it is
PAUSE_SECONDS_MAX: Final = 1.0


class VersionConflict(Unavailable):
    """Others change the same things all the time; try again."""


class QueueFull(TooMany):
    """Too many commands are waiting."""

    code: ClassVar[str] = "too_many"


class Flight(NamedTuple):
    """A group that is being written. `landed` is False if it has to be decided again."""

    group: Group
    landed: asyncio.Task[bool]


class Executor:
    """Runs commands. `run` must be running for `execute` to get anywhere."""

    def __init__(self, appender: Pool, address_key: str) -> None:
        self._db = appender
        self._address_key = address_key.encode()
        self._queue: deque[Waiting] = deque()
        self._wake = asyncio.Event()
        self._cache = Cache()
        self._dry_runs = asyncio.Semaphore(DRY_RUNS_MAX)
        self._stopping = False

    async def execute(self, order: Order, idempotency_key: str | None = None) -> Answer:
        """Carry out a command and give its answer once its events are durable. Raises what it is refused with."""
        if len(self._queue) >= QUEUE_MAX:
            raise QueueFull
        return await self.submit(order, idempotency_key).answer

    def submit(self, order: Order, idempotency_key: str | None = None) -> Waiting:
        """Let a command wait for its turn; commands of one caller keep their order.

        Every command has a key, given or made, so that a commit whose acknowledgement was lost can't double it.
        """
        principal = f"{order.caller.kind}/{order.caller.id}"
        given = idempotency_key is not None
        key = f"given/{idempotency_key}" if given else f"made/{order.command_id}"
        future = asyncio.get_running_loop().create_future()
        waiting = Waiting(order, Key(order.tenant, principal, key), future, key_given=given)
        if self._stopping:
            waiting.refuse(Unavailable())
        else:
            self._queue.append(waiting)
            self._wake.set()
        return waiting

    async def dry_run(self, orders: Iterable[Order]) -> list[asyncio.Future[Answer]]:
        """Decide upon what is committed, each upon those before it, and write nothing; give finished futures."""
        loop = asyncio.get_running_loop()
        group = Group([Waiting(order, Key(order.tenant, "", ""), loop.create_future()) for order in orders])
        try:
            async with self._dry_runs, lent(self._db) as db:
                await group.decide(db, Cache(), self.hashed)
        except OUTAGE as error:
            raise Unavailable from error
        for waiting, outcome in zip(group.waiting, group.outcomes, strict=True):
            if outcome.refusal:
                waiting.refuse(outcome.refusal)
            else:
                waiting.give(outcomes.answer(outcome, None))
        return [waiting.answer for waiting in group.waiting]

    def follow(self, cause: Order, command: Command) -> None:
        """Let a command wait that follows from another one."""
        following = Order(
            cause.tenant,
            command,
            SYSTEM,
            datetime.now(UTC),
            correlation_id=cause.correlation_id or cause.command_id,
            causation_id=cause.command_id,
        )
        self._go_on(following)

    def _go_on(self, order: Order) -> None:
        self.submit(order).answer.add_done_callback(lambda answer: self._followed(order, answer))

    async def settle(self, tenant: str, command: Command) -> None:
        """Carry out a command that goes on with an earlier one, and wait for it. A refusal is logged."""
        following = Order(tenant, command, SYSTEM, datetime.now(UTC))
        waiting = self.submit(following)
        await asyncio.wait([waiting.answer])
        self._followed(following, waiting.answer)

    def _followed(self, order: Order, answer: asyncio.Future[Answer]) -> None:
        """Submit what was refused for want of a Postgres once more. Any other refusal is a fault of ours."""
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, Unavailable) and not self._stopping:
            self._go_on(order)
        elif error:
            log.error("following_command_refused", reason=type(error).__name__)

    async def run(self, stop: asyncio.Event) -> None:
        """Take turns until `stop`, then finish what waits. If it fails, nobody is left without an answer."""
        taken, flying = Group([]), cast(Flight | None, None)
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while self._queue or flying or not stop.is_set():
                if not self._queue and not (flying and flying.landed.done()) and (flying or not stop.is_set()):
                    self._wake.clear()
                    await set_within(self._wake)
                    continue
                taken = self._take(alone=flying is None)
                flying = await self._turn(taken, flying)
        finally:
            self._stopping = stop.is_set()
            stopping.cancel()
            for waiting in (*taken.waiting, *(flying.group.waiting if flying else ()), *self._queue):
                waiting.refuse(Unavailable())
            self._queue.clear()

    def _take(self, *, alone: bool) -> Group:
        """Take what waits: half of it while nothing is being written, so that deciding and writing overlap."""
        count = min(GROUP_MAX, (len(self._queue) + 1) // 2 if alone else len(self._queue))
        metrics.QUEUED_COMMANDS.set(len(self._queue) - count)
        taken = [self._queue.popleft() for _ in range(count)]
        return Group([waiting for waiting in taken if not waiting.answer.done()])  # some have been given up

    async def _turn(self, group: Group, flying: Flight | None) -> Flight | None:
        """Decide a group while the one before it is written, and send it once that one has landed.

        So commands commit in the order in which they came. A group that fails is decided again, alone; what was
        decided upon it is then decided again too.
        """
        decided = not group.waiting or await self._decided(group, drained=flying is None)
        if flying and not await flying.landed:
            await self._again(flying.group)
            decided = False
        if not group.waiting:
            return None
        if not decided:
            await self._again(group)
            return None
        sent = Flight(group, asyncio.create_task(self._send(group)))
        sent.landed.add_done_callback(lambda _: self._wake.set())
        return sent

    async def _decided(self, group: Group, *, drained: bool) -> bool:
        """Decide a group upon the cache. False if that can't be done now."""
        try:
            with Deadline(TRY_SECONDS_MAX):
                async with lent(self._db) as db:
                    done = await group.decide(db, self._cache, self.hashed, drained=drained)
        except OUTAGE:
            return False
        group.remember_moves(self._cache)
        return done

    async def _send(self, group: Group) -> bool:
        """Write a group and answer it. False if it has to be decided again."""
        try:
            failpoints.reach("execute.before_append")
            with Deadline(TRY_SECONDS_MAX):
                async with lent(self._db) as db:
                    with metrics.APPEND_SECONDS.time():
                        bases = await event_store.append(db, group.append)
            failpoints.reach("execute.after_append")
        except (HeadMovedError, KeyStoredError, asyncpg.PostgresError, *OUTAGE):
            return False
        self._land(group, bases)
        return True

    async def _again(self, group: Group) -> None:
        """Carry out a group that has failed: nothing else is being written, and nothing cached is believed.

        The second time, the tenants' rows are held while it is decided, so that nothing starves.
        """
        metrics.APPEND_MOVED.inc(len(group.waiting))
        deadline = min(waiting.since for waiting in group.waiting) + GIVE_UP_AFTER_SECONDS
        held, pause_seconds, tries = False, 0.05, 0
        while group.waiting and (not tries or time.monotonic() < deadline):
            tries += 1
            self._cache.clear()
            try:
                with Deadline(max(RETRY_SECONDS_MIN, min(TRY_SECONDS_MAX, deadline - time.monotonic()))):
                    async with lent(self._db) as db, db.transaction():
                        group = await self._looked_up(db, group)
                        if held:
                            await event_store.hold(db, {waiting.order.tenant for waiting in group.waiting})
                        await group.decide(db, self._cache, self.hashed)
                        failpoints.reach("execute.before_append")
                        bases = await event_store.append(db, group.append)
            except (HeadMovedError, KeyStoredError):
                held = True
            except OUTAGE as error:
                log.warning("postgres_lost", reason=type(error).__name__)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
            except asyncpg.PostgresError as error:
                if len(group.waiting) > 1:
                    for waiting in group.waiting:
                        await self._again(Group([waiting]))
                    return
                log.exception("append_failed", code=error.sqlstate)
                group.waiting[0].refuse(error)
                return
            else:
                failpoints.reach("execute.after_append")
                group.remember_moves(self._cache)
                self._land(group, bases)
                return
        self._give_up(group, VersionConflict() if held else Unavailable())

    def _give_up(self, group: Group, reason: Problem) -> None:
        """Refuse a group, and what has waited as long behind it."""
        for waiting in group.waiting:
            waiting.refuse(reason)
        for waiting in self._queue:
            if waiting.since + GIVE_UP_AFTER_SECONDS < time.monotonic():
                waiting.refuse(Unavailable())

    async def _looked_up(self, db: Connection, group: Group) -> Group:
        """Return the group with what is stored for its keys; of commands with the same key, the first."""
        kept = await event_store.load_kept(db, [waiting.key for waiting in group.waiting])
        for waiting, outcome in zip(group.waiting, group.outcomes, strict=False):
            if waiting.key in kept:  # written after all, though nobody heard of it
                self._follow_up(waiting, outcome)
        firsts: dict[Key, Waiting] = {}
        repeated: list[Waiting] = []
        for waiting in group.waiting:
            waiting.kept = kept.get(waiting.key)
            if firsts.setdefault(waiting.key, waiting) is not waiting:
                repeated.append(waiting)
        self._queue.extendleft(reversed(repeated))
        return Group(list(firsts.values()))

    def _land(self, group: Group, bases: Mapping[str, int]) -> None:
        """Give each of a group that is durable its answer, and start what follows from it."""
        metrics.APPEND_COMMANDS.observe(len(group.waiting))
        for waiting, outcome in zip(group.waiting, group.outcomes, strict=True):
            if outcome.refusal:
                waiting.refuse(outcome.refusal)
            elif outcome.kept:
                outcomes.replay(waiting, outcome.kept)
            else:
                waiting.give(outcomes.answer(outcome, bases[waiting.order.tenant] + outcome.ends))
            self._follow_up(waiting, outcome)

    def _follow_up(self, waiting: Waiting, outcome: Outcome) -> None:
        for command in outcome.following:
            self.follow(waiting.order, command)

    def hashed(self, address: str) -> str:
        """Return the keyed hash by which an address is compared."""
        return address_hash(self._address_key, address)
