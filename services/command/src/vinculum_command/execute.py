"""From commands to durable events: collect what waits, decide it, append it, answer.

Commands that wait in the process go to Postgres together and are written in one commit, each with an outcome of its
own. While one group is being written, the next is decided upon it, to be written after it: commands commit in the order
in which they came. What each relied on is compared when it is written, so a group that was decided upon something that
did not come about is never written: it is decided again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from math import inf
from typing import ClassVar, Final, NamedTuple, cast
from weakref import WeakValueDictionary

import asyncpg
import structlog

from vinculum_command import event_store, metrics, outcomes
from vinculum_command.backlog import Backlogs, Lane, tenants_of
from vinculum_command.domain.commands import SYSTEM, Command, Order
from vinculum_command.domain.heads.view import Loaded
from vinculum_command.event_store import HeadMovedError, Key, KeyStoredError
from vinculum_command.group import Cache, Group, Hash
from vinculum_command.outcomes import Answer, Outcome, Waiting
from vinculum_command.turns import Pace, Turns
from vinculum_shared import failpoints, others
from vinculum_shared.contracts.addresses import address_hash
from vinculum_shared.deadlines import Deadline
from vinculum_shared.postgres import OUTAGE, Connection, Pool, lent
from vinculum_shared.problems import TooMany, Unavailable
from vinculum_shared.supervision import set_within, waiting_for, working

log = structlog.get_logger()

GIVE_UP_AFTER_SECONDS: Final = 10.0  # since a command came, without a Postgres that answers
TRY_SECONDS_MAX: Final = 9.0  # Postgres gives up a statement after 8
RETRY_SECONDS_MIN: Final = 3.0  # however late it is
PAUSE_SECONDS_MAX: Final = 1.0
PROBE_SECONDS: Final = 1.0
HASHES_CACHED_MAX: Final = 16_384
BYTES_AN_EVENT: Final = 128  # of a command that has many


class QueueFull(TooMany):
    """Too many commands of the tenant are waiting.

    Send it again after the seconds that Retry-After names, with the same Idempotency-Key.
    """

    code: ClassVar[str] = "too_many"


class Flight(NamedTuple):
    """A group that is being written. `landed` is False if it has to be decided again."""

    group: Group
    taken: list[Waiting]
    landed: asyncio.Task[bool]


class Executor:
    """Runs commands. `run` must be running for `execute` to get anywhere."""

    def __init__(self, appender: Pool, address_key: str) -> None:
        self._db = appender
        self.hashed: Hash = lru_cache(HASHES_CACHED_MAX)(partial(address_hash, address_key.encode()))
        """Return the keyed hash by which an address is compared; one command asks for it several times."""
        self._backlogs = Backlogs()
        self._cache = Cache()
        self._turns = Turns()
        self._dry_runs: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stopping = False
        self._writable = True

    async def execute(self, order: Order, idempotency_key: str | None = None, *, size: int = 0) -> Answer:
        """Carry out a command and return its answer once its events are durable. Raise what it is refused with."""
        if self._backlogs.is_full(order.tenant):
            raise QueueFull
        return await self.submit(order, idempotency_key, size=size).answer

    def pace(self, tenant: str) -> Pace:
        """Return the pace of long work for a tenant, of which the first slice begins with its first turn."""
        return Pace(partial(self._turns.wait, tenant))

    async def room(self, tenant: str) -> None:
        """Wait until the tenant has room for a line of a batch."""
        await self._backlogs.room(tenant)

    def submit(self, order: Order, idempotency_key: str | None = None, *, size: int = 0) -> Waiting:
        """Let a command of so many bytes wait for its turn; commands of one tenant keep their order.

        Every command has a key, given or made, so that a commit whose acknowledgement was lost can't double it.
        """
        principal = f"{order.caller.kind}/{order.caller.id}"
        given = idempotency_key is not None
        key = Key(order.tenant, principal, f"given/{idempotency_key}" if given else f"made/{order.command_id}")
        answer = asyncio.get_running_loop().create_future()
        waiting = Waiting(order, key, answer, key_given=given, cost=1 + size // BYTES_AN_EVENT)
        if self._stopping:
            waiting.refuse(Unavailable())
        else:
            self._backlogs.put(waiting)
        return waiting

    @asynccontextmanager
    async def dry_run(self, tenant: str) -> AsyncIterator["DryRun"]:
        """Decide commands of a tenant without writing anything: one after another of its dry runs."""
        lock = self._dry_runs.setdefault(tenant, asyncio.Lock())
        async with lock:
            yield DryRun(self._db, self.hashed, self.pace(tenant))

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
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._backlogs.wake())
        try:
            async with asyncio.TaskGroup() as lanes:
                for lane in self._backlogs.lanes:
                    lanes.create_task(self._serve(lane, stop))
        finally:
            self._stopping = stop.is_set()
            stopping.cancel()
            for waiting in self._backlogs.clear():
                waiting.refuse(Unavailable())

    async def _serve(self, lane: Lane, stop: asyncio.Event) -> None:
        """Decide and write what waits in a lane, a group at a time."""
        flying = cast(Flight | None, None)
        pace = Pace(partial(asyncio.sleep, 0))
        while not (stop.is_set() and self._backlogs.idle):
            if not lane.turns and not (flying and flying.landed.done()):
                lane.wake.clear()
                if not await set_within(lane.wake, inf if self._writable else PROBE_SECONDS):
                    await self._probe()
                continue
            taken, began = self._backlogs.take(lane, half=flying is None), time.monotonic()
            flying = await self._turn(taken, flying, pace, light=lane.light)
            if not lane.light and (rest := others.rest_seconds(tenants_of(taken), time.monotonic() - began)):
                await asyncio.sleep(rest)
            if flying:
                flying.landed.add_done_callback(lambda _: lane.wake.set())
        self._backlogs.wake()  # the other lane may be waiting for this one

    async def _turn(self, taken: list[Waiting], flying: Flight | None, pace: Pace, *, light: bool) -> Flight | None:
        """Decide a group while the one before it is written, to be written after it.

        So commands commit in the order in which they came. A group that fails is decided again, alone; what was
        decided upon it is then decided again too.
        """
        group = Group([waiting for waiting in taken if not waiting.answer.done()], light=light)  # some are given up
        sent, landed = await self._sent(group, taken, pace, flying), True
        if flying:
            landed = await flying.landed
            if not landed:
                await self._again(flying.group, pace)
            self._backlogs.finish(flying.taken)
            if landed and not sent:
                sent = await self._sent(group, taken, pace)
        if sent and (landed or await sent.landed):
            return sent
        if group.waiting:
            await self._again(group, pace)
        self._backlogs.finish(taken)
        return None

    async def _sent(
        self, group: Group, taken: list[Waiting], pace: Pace, before: Flight | None = None
    ) -> Flight | None:
        """Decide a group and have it written after the one before it. Return None if that can't be done now."""
        decided = await self._decided(group, pace, writing=tenants_of(before.taken) if before else ())
        if not (decided and group.waiting):
            return None
        return Flight(group, taken, asyncio.create_task(self._send(group, before)))

    async def _decided(self, group: Group, pace: Pace, writing: Container[str] = ()) -> bool:
        """Decide a group upon the cache. False if that can't be done now."""
        try:
            with Deadline(TRY_SECONDS_MAX):
                connect = partial(lent, self._db)
                if not await group.decide(connect, self._cache, self.hashed, pace, writing=writing):
                    return False
        except OUTAGE:
            return False
        finally:
            self._backlogs.give_back(group.left)
            group.left = []
        await group.conclude(pace)
        group.remember_moves(self._cache)
        return True

    async def _send(self, group: Group, before: Flight | None) -> bool:
        """Write a group and answer it. False if it has to be decided again."""
        if before and not await before.landed:
            return False
        try:
            failpoints.reach("execute.before_append")
            with Deadline(TRY_SECONDS_MAX):
                async with lent(self._db) as db:
                    with metrics.APPEND_SECONDS.time():
                        bases = await event_store.append(db, group.append)
            failpoints.reach("execute.after_append")
        except (HeadMovedError, KeyStoredError, asyncpg.PostgresError, *OUTAGE):
            return False
        asyncio.get_running_loop().call_soon(self._land, group, bases)  # once the next group is sent
        return True

    async def _again(self, group: Group, pace: Pace) -> None:
        """Carry out a group that has failed: nothing else is being written, and nothing cached is believed.

        The second time, the tenants' rows are locked before anything is read, so that nothing moves meanwhile: it can
        then fail only with Postgres.
        """
        metrics.APPEND_MOVED.inc(len(group.waiting))
        deadline = min((waiting.since for waiting in group.waiting), default=0.0) + GIVE_UP_AFTER_SECONDS
        held, pause_seconds, tries = False, 0.05, 0
        while group.waiting and (not tries or time.monotonic() < deadline):
            tries += 1
            tenants = tenants_of(group.all)
            self._cache.forget(tenants)
            try:
                with Deadline(max(RETRY_SECONDS_MIN, min(TRY_SECONDS_MAX, deadline - time.monotonic()))):
                    async with lent(self._db) as db, db.transaction():
                        if held:
                            await event_store.hold(db, tenants)
                        group = await self._looked_up(db, group)
                        await group.decide(partial(lent_already, db), self._cache, self.hashed, pace)
                        await group.conclude(pace)
                        failpoints.reach("execute.before_append")
                        bases = await event_store.append(db, group.append)
            except (HeadMovedError, KeyStoredError):
                held = True
            except OUTAGE as error:
                log.info("postgres_lost", reason=type(error).__name__)
                self._writable = False
                waiting_for("a Postgres that takes writes")
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
            except asyncpg.PostgresError as error:
                if len(group.all) > 1:
                    for waiting in group.all:
                        await self._again(Group([waiting]), pace)
                    return
                log.exception("append_failed", code=error.sqlstate)
                group.waiting[0].refuse(error)
                return
            else:
                failpoints.reach("execute.after_append")
                group.remember_moves(self._cache)
                self._land(group, bases)
                group, held, tries = Group(group.left), False, 0
        self._give_up(group)

    async def _probe(self) -> None:
        """Try a write, since a service that isn't ready may be sent no command to try."""
        with suppress(asyncpg.PostgresError, *OUTAGE), Deadline(TRY_SECONDS_MAX):
            async with lent(self._db) as db:
                await event_store.require_room(db)
            self._written()

    def _written(self) -> None:
        if not self._writable:
            self._writable = True
            working()

    def _give_up(self, group: Group) -> None:
        """Refuse a group, and what has waited as long behind it."""
        for waiting in group.all:
            waiting.refuse(Unavailable())
        for waiting in self._backlogs.waiting():
            if waiting.since + GIVE_UP_AFTER_SECONDS < time.monotonic():
                waiting.refuse(Unavailable())

    async def _looked_up(self, db: Connection, group: Group) -> Group:
        """Return the group's commands with what is stored for their keys."""
        kept = await event_store.load_kept(db, [waiting.key for waiting in group.all])
        for waiting, outcome in zip(group.waiting, group.outcomes, strict=False):
            if waiting.key in kept:  # written after all, though nobody heard of it
                self._follow_up(waiting, outcome)
        for waiting in group.all:
            waiting.kept = kept.get(waiting.key)
        return Group(group.all)

    def _land(self, group: Group, bases: Mapping[str, int]) -> None:
        """Give each of a group that is durable its answer, and start what follows from it."""
        self._written()
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


def lent_already(db: Connection) -> AbstractAsyncContextManager[Connection]:
    return nullcontext(db)


class DryRun:
    """Decides upon what is committed, and upon what it has decided before; it writes nothing."""

    def __init__(self, appender: Pool, hashed: Hash, pace: Pace) -> None:
        self._db = appender
        self._hashed = hashed
        self.pace = pace
        self._known: dict[str, Loaded] = {}

    async def decide(self, *orders: Order) -> list[asyncio.Future[Answer]]:
        """Return what each order would be answered."""
        loop = asyncio.get_running_loop()
        every = [Waiting(order, Key(order.tenant, "", ""), loop.create_future()) for order in orders]
        group = Group([], left=list(every))
        while group.left:
            group = Group(group.left, known=self._known)
            try:
                await group.decide(partial(lent, self._db), Cache(), self._hashed, self.pace)
            except OUTAGE as error:
                raise Unavailable from error
            for waiting, outcome in zip(group.waiting, group.outcomes, strict=True):
                if outcome.refusal:
                    waiting.refuse(outcome.refusal)
                else:
                    waiting.give(outcomes.answer(outcome, None))
        return [waiting.answer for waiting in every]
