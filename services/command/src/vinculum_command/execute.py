"""From commands to durable events: collect what waits, load what is read, decide, append, answer.

Commands that wait in the process go to Postgres together, decided one after another upon what the ones before them
have moved, and written in one commit, each with an outcome of its own. While one group is being written, the next is
decided upon it. What each relied on is compared when it is written, so a group that was decided upon something that
did not come about is never written: it is decided again.
"""

import asyncio
import hashlib
import hmac
import string
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import uuid4

import asyncpg
import orjson
import structlog
from uuid_utils.compat import uuid7

from vinculum_command import event_store
from vinculum_command.domain.commands import SYSTEM, Caution, Command, Order, decide, reads
from vinculum_command.domain.heads.links import Link
from vinculum_command.domain.heads.view import (
    Enumeration,
    Heads,
    Loaded,
    Readable,
    Recording,
    Stored,
    Unread,
    Violations,
)
from vinculum_command.event_store import Append, Kept, Key, NewEvent, NewRequest
from vinculum_shared import failpoints
from vinculum_shared.contracts import envelope
from vinculum_shared.contracts.events import Actor
from vinculum_shared.postgres import Connection, Pool
from vinculum_shared.problems import Invalid, Problem, TooMany, Unavailable

log = structlog.get_logger()

GROUP_MAX: Final = 128  # commands written in one commit: measured, larger ones gain nothing
QUEUE_MAX: Final = 4_096  # commands waiting; past that, 429
KEPT_FOR: Final = timedelta(hours=72)
KEPT_FOR_GENERATED: Final = timedelta(hours=1)
HEADS_CACHED_MAX: Final = 50_000
NOBODY_COMPARES: Final = b""  # a key that was made here is only ever met again by our own second try
EVENT_BYTES_MAX: Final = 256 * 1024
GIVE_UP_AFTER_SECONDS: Final = 10.0  # without a Postgres that answers
ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
LOST: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    TimeoutError,
)
"""The server is not there; whether it has committed is not known."""


Cache = OrderedDict[tuple[str, str], Stored]


class IdempotencyKeyReused(Invalid):
    """The key was used for another request."""


class VersionConflict(Unavailable):
    """Others change the same things all the time; try again."""


class EventTooLarge(Invalid):
    """What the command makes happen is larger than an event may be."""


class QueueFull(TooMany):
    """Too many commands are waiting."""

    code: ClassVar[str] = "too_many"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command. `position` is that of its last event, or the log's end if it has none."""

    status: int
    id: str
    version: int
    position: int | None
    events: tuple[tuple[str, str, int | None], ...]
    warnings: tuple[Mapping[str, Any], ...]
    replayed: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "version": self.version,
            "position": self.position,
            "events": [{"id": id_, "type": type_, "position": position} for id_, type_, position in self.events],
            "warnings": list(self.warnings),
        }


@dataclass(slots=True, eq=False)
class Waiting:
    """A command, its key, and who waits for its answer."""

    order: Order
    key: Key
    kept: timedelta
    answer: asyncio.Future[Answer]

    def give(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def refuse(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    @property
    def hash(self) -> bytes:
        """Tell the same request from another one: by the command's name and the fields that were given."""
        command = self.order.command
        fields = command.model_dump(mode="json", exclude_unset=True)
        return hashlib.sha256(orjson.dumps([type(command).__name__, fields], option=orjson.OPT_SORT_KEYS)).digest()


@dataclass(slots=True)
class Outcome:
    """What was decided for one command: a refusal, or events (perhaps none)."""

    refusal: Exception | None = None
    recorded: list[Recording] = field(default_factory=list)
    version: int = 0
    status: int = 200
    cautions: list[Caution] = field(default_factory=list)
    following: list[Command] = field(default_factory=list)
    ends: int = 0


@dataclass(slots=True)
class Group:
    """Commands that are written together, as they were decided."""

    waiting: list[Waiting]
    outcomes: list[Outcome] = field(default_factory=list)
    append: Append = field(default_factory=Append)


class Executor:
    """Runs commands. `run` must be running for `execute` to get anywhere."""

    def __init__(self, appender: Pool, address_key: str) -> None:
        self._db = appender
        self._address_key = address_key.encode()
        self._queue: deque[Waiting] = deque()
        self._wake = asyncio.Event()
        self._cache: Cache = OrderedDict()

    async def execute(self, order: Order, idempotency_key: str | None = None) -> Answer:
        """Carry out a command and give its answer once its events are durable. Raises what it is refused with."""
        if len(self._queue) >= QUEUE_MAX:
            raise QueueFull
        return await self.submit(order, idempotency_key).answer

    def submit(self, order: Order, idempotency_key: str | None = None) -> Waiting:
        """Let a command wait for its turn; commands of one caller keep their order."""
        principal = f"{order.caller.kind}/{order.caller.id}"
        key = Key(order.tenant, principal, f"given/{idempotency_key}" if idempotency_key else f"made/{uuid4()}")
        kept = KEPT_FOR if idempotency_key else KEPT_FOR_GENERATED
        waiting = Waiting(order, key, kept, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        return waiting

    async def dry_run(self, order: Order) -> Answer:
        """Decide upon what is committed, and write nothing."""
        group = Group([Waiting(order, Key("", "", ""), KEPT_FOR, asyncio.get_running_loop().create_future())])
        async with self._db.acquire() as db:
            await self._decide(db, group, OrderedDict())
        outcome = group.outcomes[0]
        if outcome.refusal:
            raise outcome.refusal
        return _answer(group.waiting[0], outcome, None)

    async def run(self, stop: asyncio.Event) -> None:
        """Take turns until `stop`: one group is decided while the one before it is written."""
        flying: tuple[Group, asyncio.Task[bool]] | None = None
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while self._queue or flying or not stop.is_set():
                while not self._queue and not (flying and flying[1].done()) and not (stop.is_set() and not flying):
                    self._wake.clear()
                    await self._wake.wait()
                group = self._take(alone=flying is None)
                flying = await self._turn(group, flying)
        finally:
            stopping.cancel()
            for waiting in self._queue:
                waiting.refuse(Unavailable())

    def _take(self, *, alone: bool) -> Group:
        """Take what waits: half of it while nothing is being written, so that deciding and writing overlap."""
        count = min(GROUP_MAX, (len(self._queue) + 1) // 2 if alone else len(self._queue))
        return Group([self._queue.popleft() for _ in range(count)])

    async def _turn(
        self, group: Group, flying: tuple[Group, asyncio.Task[bool]] | None
    ) -> tuple[Group, asyncio.Task[bool]] | None:
        """Decide and send off a group, and see the one before it land. A group that failed is carried out alone."""
        sent: tuple[Group, asyncio.Task[bool]] | None = None
        if group.waiting:
            if not await self._decided(group, drained=flying is None):
                if flying and not await flying[1]:
                    await self._again(flying[0])
                flying = None
                await self._again(group)
                return None
            task = asyncio.create_task(self._send(group))
            task.add_done_callback(lambda _: self._wake.set())
            sent = (group, task)
        if flying and not await flying[1]:
            await self._again(flying[0])
            if sent and not await sent[1]:
                await self._again(sent[0])
            return None
        return sent

    async def _decided(self, group: Group, *, drained: bool) -> bool:
        """Decide a group upon the cache. False if it can't be done while another group is being written."""
        try:
            async with self._db.acquire() as db:
                done = await self._decide(db, group, self._cache, drained=drained)
        except LOST:
            return False
        self._remember_moves(group)
        return done

    async def _send(self, group: Group) -> bool:
        """Write a group and answer it. False if it has to be decided again."""
        try:
            failpoints.reach("before_append")
            async with self._db.acquire() as db:
                bases = await event_store.append(db, group.append)
            failpoints.reach("after_append")
        except (event_store.HeadMovedError, event_store.KeyStoredError, asyncpg.PostgresError, *LOST):
            return False
        self._land(group, bases)
        return True

    async def _again(self, group: Group) -> None:
        """Carry out a group that has failed: nothing else is being written, and nothing cached is believed.

        The second time, the tenants' rows are held while it is decided, so that nothing starves.
        """
        deadline = asyncio.get_running_loop().time() + GIVE_UP_AFTER_SECONDS
        held, pause_seconds = False, 0.05
        while group.waiting and asyncio.get_running_loop().time() < deadline:
            self._cache.clear()
            try:
                async with self._db.acquire() as db, db.transaction():
                    group = await self._unanswered(db, group)
                    if held:
                        await event_store.hold(db, {waiting.order.tenant for waiting in group.waiting})
                    await self._decide(db, group, self._cache)
                    bases = await event_store.append(db, group.append)
            except (event_store.HeadMovedError, event_store.KeyStoredError):
                held = True
            except LOST as error:
                log.warning("postgres_lost", error=type(error).__name__)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, 1.0)
            except asyncpg.PostgresError as error:
                if len(group.waiting) > 1:
                    for waiting in group.waiting:
                        await self._again(Group([waiting]))
                    return
                log.exception("append_failed", sqlstate=error.sqlstate)
                group.waiting[0].refuse(error)
                return
            else:
                self._remember_moves(group)
                self._land(group, bases)
                return
        for waiting in group.waiting:
            waiting.refuse(VersionConflict() if held else Unavailable())

    async def _unanswered(self, db: Connection, group: Group) -> Group:
        """Answer those whose keys are stored, and give the others; of those with the same key, the first."""
        kept = await event_store.load_kept(db, [waiting.key for waiting in group.waiting])
        firsts: dict[Key, Waiting] = {}
        for waiting in group.waiting:
            if waiting.key in kept:
                _replay(waiting, kept[waiting.key])
            else:
                firsts.setdefault(waiting.key, waiting)
        repeated = [w for w in group.waiting if w.key not in kept and firsts[w.key] is not w]
        self._queue.extendleft(reversed(repeated))
        return Group(list(firsts.values()))

    async def _decide(self, db: Connection, group: Group, cache: Cache, *, drained: bool = True) -> bool:
        """Decide a group, loading what its commands read until none asks for more.

        False, with nothing decided, where one lists links while another group is being written.
        """
        known: dict[str, Loaded] = {waiting.order.tenant: Loaded() for waiting in group.waiting}
        wanted = {(waiting.order.tenant, each) for waiting in group.waiting for each in reads(waiting.order)}
        while wanted:
            if not drained and any(isinstance(each, Enumeration) for _, each in wanted):
                return False
            await self._load(db, known, wanted, cache)
            group.outcomes, group.append, wanted = self._pass(group, known)
        return True

    def _remember_moves(self, group: Group) -> None:
        """Let the next group be decided upon this one: if this one is not written, that one can't be either."""
        for tenant, key, stored, _ in group.append.heads:
            _remember(self._cache, (tenant, key), stored)

    @staticmethod
    async def _load(
        db: Connection, known: Mapping[str, Loaded], wanted: Iterable[tuple[str, Readable]], cache: Cache
    ) -> None:
        lists = [(tenant, each) for tenant, each in wanted if isinstance(each, Enumeration)]
        keys = {(tenant, each) for tenant, each in wanted if isinstance(each, str)}
        # What a list relies on is read before the list: a link that comes between the two makes the commit fail.
        keys |= {(tenant, each.relies_on) for tenant, each in lists}
        missing = []
        for tenant, key in keys:
            if key in known[tenant].heads:
                continue
            if (tenant, key) in cache:
                known[tenant].heads[key] = cache[tenant, key]
                cache.move_to_end((tenant, key))
            else:
                missing.append((tenant, key))
        if missing:
            for (tenant, key), stored in (await event_store.load_heads(db, missing)).items():
                known[tenant].heads[key] = stored
                _remember(cache, (tenant, key), stored)
        for tenant, each in lists:
            links = await event_store.load_links(db, tenant, each)
            known[tenant].heads.update(links)
            known[tenant].links[each] = list(links)
        for tenant, what in wanted:
            if isinstance(what, Violations):
                known[tenant].violations[what] = await event_store.count_violations(db, tenant, what)

    def _pass(
        self, group: Group, known: Mapping[str, Loaded]
    ) -> tuple[list[Outcome], Append, set[tuple[str, Readable]]]:
        """Decide every command of a group upon what is known, or give what else they want to know."""
        moving = {
            tenant: Loaded(dict(loaded.heads), loaded.links, {}, loaded.violations) for tenant, loaded in known.items()
        }
        relied: set[tuple[str, str]] = set()
        wanted: set[tuple[str, Readable]] = set()
        outcomes: list[Outcome] = []
        append = Append(dict.fromkeys(known, 0))
        for waiting in group.waiting:
            order = waiting.order
            heads = Heads(order.tenant, order.at, order.command_id, moving[order.tenant], uuid7, self.hashed)
            try:
                outcome = _decide_one(order, heads)
                _encode(order, outcome, append)
                moving[order.tenant].heads.update(heads.moved)
                moving[order.tenant].moved_links.update(
                    {key: stored.head for key, stored in heads.moved.items() if isinstance(stored.head, Link)}
                )
            except Unread as unread:
                wanted |= {(order.tenant, each) for each in unread.wanted}
                continue
            except Problem as problem:
                outcome = Outcome(refusal=problem)
            except Exception as error:
                log.exception("decide_failed", command=type(order.command).__name__)
                outcome = Outcome(refusal=error)
            relied |= {(order.tenant, key) for key in heads.relied}
            outcome.ends = append.tenants[order.tenant]
            outcomes.append(outcome)
            if outcome.refusal:
                append.refused.append(waiting.key)
            else:
                append.requests.append(_request(waiting, outcome))
        for tenant, loaded in moving.items():
            for key, stored in loaded.heads.items():
                before = known[tenant].heads[key].token
                if stored.token != before:
                    append.heads.append((tenant, key, stored, before))
                elif (tenant, key) in relied:
                    append.relied.append((tenant, key, before))
        return outcomes, append, wanted

    def hashed(self, address: str) -> str:
        """Give the keyed hash by which an address is compared: only the case of ASCII letters doesn't count."""
        folded = address.translate(ASCII_LOWER)
        return hmac.new(self._address_key, folded.encode(), hashlib.sha256).hexdigest()

    def _land(self, group: Group, bases: Mapping[str, int]) -> None:
        """Give each of a group that is durable its answer, and start what follows from it."""
        for waiting, outcome in zip(group.waiting, group.outcomes, strict=True):
            if outcome.refusal:
                waiting.refuse(outcome.refusal)
            else:
                waiting.give(_answer(waiting, outcome, bases[waiting.order.tenant] + outcome.ends))
            for command in outcome.following:
                self.follow(waiting.order.tenant, command, waiting.order)

    def follow(self, tenant: str, command: Command, order: Order | None = None) -> None:
        """Let a command wait that follows from another one."""
        correlation_id = order.correlation_id or order.command_id if order else None
        waiting = self.submit(Order(tenant, command, SYSTEM, datetime.now(UTC), correlation_id=correlation_id))
        waiting.answer.add_done_callback(_log_refusal)


def _log_refusal(answer: asyncio.Future[Answer]) -> None:
    if not answer.cancelled() and (error := answer.exception()):
        log.error("following_command_refused", error=type(error).__name__)


def _remember(cache: Cache, name: tuple[str, str], stored: Stored) -> None:
    cache[name] = stored
    cache.move_to_end(name)
    if len(cache) > HEADS_CACHED_MAX:
        cache.popitem(last=False)


def _decide_one(order: Order, heads: Heads) -> Outcome:
    target = order.command.target()
    cautions, following = decide(order, heads)
    return Outcome(
        recorded=heads.recorded,
        version=heads.version(target),
        status=201 if order.command.creates(heads) else 200,
        cautions=cautions,
        following=following,
    )


def _encode(order: Order, outcome: Outcome, append: Append) -> None:
    """Add a command's events to what is written."""
    command, caller = order.command, order.caller
    cause = envelope.Cause(
        tenant=order.tenant,
        actor=Actor(kind=caller.kind, id=caller.id),
        command_id=order.command_id,
        correlation_id=order.correlation_id or order.command_id,
        traceparent=order.traceparent,
        reason=getattr(command, "reason", None),
        effective_at=getattr(command, "effective_at", None),
    )
    events = []
    for index, (event, mark) in enumerate(outcome.recorded, 1):
        data, personal = envelope.split(event, cause)
        if len(data) + len(personal or b"") > EVENT_BYTES_MAX:
            raise EventTooLarge(f"{mark.type} would have more than {EVENT_BYTES_MAX} bytes", type=mark.type)
        attributes = envelope.attributes(event, mark.event_id, mark.stream_version, index, len(outcome.recorded), cause)
        events.append(
            NewEvent(
                order.tenant,
                append.tenants[order.tenant] + index,
                mark.event_id,
                mark.type,
                mark.stream,
                mark.stream_version,
                cause.effective_at,
                getattr(event, "account_id", None),
                getattr(event, "contact_id", None),
                attributes.decode(),
                data.decode(),
                personal.decode() if personal else None,
            )
        )
    append.events += events
    append.tenants[order.tenant] += len(events)


def _request(waiting: Waiting, outcome: Outcome) -> NewRequest:
    body = {
        "id": waiting.order.command.answer_id(),
        "version": outcome.version,
        "events": [(str(mark.event_id), mark.type) for _, mark in outcome.recorded],
        "warnings": [caution.model_dump(mode="json") for caution in outcome.cautions],
    }
    return NewRequest(
        waiting.key,
        waiting.hash if waiting.kept == KEPT_FOR else NOBODY_COMPARES,
        outcome.status,
        orjson.dumps(body),
        outcome.ends,
        len(outcome.recorded),
        waiting.kept,
    )


def _answer(waiting: Waiting, outcome: Outcome, position: int | None) -> Answer:
    first = None if position is None else position - len(outcome.recorded) + 1
    return Answer(
        status=outcome.status,
        id=waiting.order.command.answer_id(),
        version=outcome.version,
        position=position,
        events=_numbered([(str(mark.event_id), mark.type) for _, mark in outcome.recorded], first),
        warnings=tuple(caution.model_dump(mode="json") for caution in outcome.cautions),
    )


def _numbered(events: Iterable[tuple[str, str]], first: int | None) -> tuple[tuple[str, str, int | None], ...]:
    return tuple((id_, type_, None if first is None else first + n) for n, (id_, type_) in enumerate(events))


def _replay(waiting: Waiting, kept: Kept) -> None:
    if kept.hash not in {NOBODY_COMPARES, waiting.hash}:
        waiting.refuse(IdempotencyKeyReused())
        return
    body = kept.answer
    waiting.give(
        Answer(
            status=kept.status,
            id=body["id"],
            version=body["version"],
            position=kept.position,
            events=_numbered([(id_, type_) for id_, type_ in body["events"]], kept.position - kept.event_count + 1),
            warnings=tuple(body["warnings"]),
            replayed=True,
        )
    )
