"""A group of commands, decided one after another upon what the ones before them have moved."""

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, cast

import structlog
from uuid_utils.compat import uuid7

from vinculum_command import event_store, outcomes
from vinculum_command.domain.commands import Caution, Next, decide, permit, reads
from vinculum_command.domain.heads.links import Members, Memberships
from vinculum_command.domain.heads.view import Enumeration, Heads, Loaded, Readable, Stored, Unread, Violations
from vinculum_command.event_store import Append, Key, NewHead
from vinculum_command.outcomes import Outcome, Waiting
from vinculum_command.turns import Pace
from vinculum_shared.postgres import Connection
from vinculum_shared.problems import Problem

log = structlog.get_logger()

HEADS_CACHED_MAX: Final = 50_000
EVENTS_MAX: Final = 256  # of a group, or those of one command
BYTES_MAX: Final = 1024 * 1024  # of a group's events: the one that reaches it is the last
LIGHT_MAX: Final = 32  # cost, about an event each, up to which a tenant shares groups with others

Hash = Callable[[str], str]
"""The keyed hash by which an address is compared."""
Connect = Callable[[], AbstractAsyncContextManager[Connection]]
Wanted = dict[tuple[str, Readable], None]
"""What tenants' commands want to know, in the order of the commands."""


class Cache:
    """Heads as they were last read, or as a group that is being written will leave them; the oldest go first.

    Nothing relies on its being right: what a decision read is compared when it is written.
    """

    def __init__(self) -> None:
        self._heads: OrderedDict[tuple[str, str], Stored] = OrderedDict()

    def get(self, tenant: str, key: str) -> Stored | None:
        found = self._heads.get((tenant, key))
        if found:
            self._heads.move_to_end((tenant, key))
        return found

    def put(self, tenant: str, key: str, stored: Stored) -> None:
        self._heads[tenant, key] = stored
        self._heads.move_to_end((tenant, key))
        if len(self._heads) > HEADS_CACHED_MAX:
            self._heads.popitem(last=False)

    def forget(self, tenants: Container[str]) -> None:
        """Forget what tenants have."""
        for key in [key for key in self._heads if key[0] in tenants]:
            del self._heads[key]


@dataclass(slots=True)
class Group:
    """Commands that are written together: what was decided for each, and what is to be written for all.

    Commands that would make it too large are `left` to a later group, with all that their tenants have after them. In a
    `light` group no command may be large at all: there others would wait for it.
    """

    waiting: list[Waiting]
    light: bool = False
    known: dict[str, Loaded] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    append: Append = field(default_factory=Append)
    left: list[Waiting] = field(default_factory=list)
    _relied: dict[str, set[str]] = field(default_factory=dict)
    _keys: set[Key] = field(default_factory=set)

    @property
    def all(self) -> list[Waiting]:
        return [*self.waiting, *self.left]

    async def decide(
        self, connect: Connect, cache: Cache, hashed: Hash, pace: Pace, *, writing: Container[str] = ()
    ) -> bool:
        """Decide every command, loading what they read until none asks for more.

        Return False, to be called again once that is done, where one lists links of a tenant for which another group is
        being written: a list is read from the tables, which don't have that group's links yet.
        """
        pace.restart()
        wanted = await self._likely(pace)
        while wanted:
            if any(isinstance(each, Enumeration) and tenant in writing for tenant, each in wanted):
                return False
            await self._load(connect, wanted, cache, pace)
            wanted = await self._pass(hashed, pace)
        return True

    async def _likely(self, pace: Pace) -> Wanted:
        """Return what the commands are likely to read, in their order."""
        wanted: Wanted = {}
        for waiting in self.waiting[len(self.outcomes) :]:
            tenant = waiting.order.tenant
            self.known.setdefault(tenant, Loaded())
            for each in reads(waiting.order):
                wanted[tenant, each] = None
            if pace.over:
                await pace.turn()
        return wanted

    async def _pass(self, hashed: Hash, pace: Pace) -> Wanted:
        """Decide upon what is known, up to the first command that lacks something; return what is lacking."""
        wanted: Wanted = {}
        closed: set[str] = set()
        for waiting in self.waiting[len(self.outcomes) :]:
            order = waiting.order
            if order.tenant in closed:
                continue
            if pace.over:
                await pace.turn()
            if waiting.key_given and waiting.key in self._keys:  # answered once the first is written
                closed.add(order.tenant)
                self._leave(order.tenant)
                continue
            heads = Heads(order.tenant, order.at, order.command_id, self.known[order.tenant], uuid7, hashed)
            try:
                outcome = await self._outcome(waiting, heads, pace)
            except Unread as unread:
                wanted |= dict.fromkeys((order.tenant, each) for each in unread.wanted)
                continue
            if wanted:
                continue  # decided upon what is not known yet: only what it lacks is of use
            if outcome is None:
                closed.add(order.tenant)
                self._leave(order.tenant, heavy=True)
                continue
            await self._add(waiting, outcome, heads, pace)
            if len(self.append.events) >= EVENTS_MAX or self.append.event_bytes >= BYTES_MAX:
                self._leave()
                break
        return wanted

    async def _outcome(self, waiting: Waiting, heads: Heads, pace: Pace) -> Outcome | None:
        """Decide a command. Return None if it turns out to be too large for a light group."""
        try:
            return _repeat(waiting, heads) if waiting.kept else await self._decide(waiting, heads, pace)
        except Unread:
            raise
        except Problem as problem:
            return Outcome(refusal=problem)
        except Exception as error:  # a fault in one command's rules must not take its group along
            log.exception("decide_failed", command=type(waiting.order.command).__name__)
            return Outcome(refusal=error)

    async def _decide(self, waiting: Waiting, heads: Heads, pace: Pace) -> Outcome | None:
        order, outcome = waiting.order, Outcome()
        for step in decide(order, heads):
            match step:
                case Caution():
                    outcome.cautions.append(step)
                case Next():
                    outcome.following.append(step.command)
            if self.light and len(heads.recorded) > LIGHT_MAX:
                return None
            if pace.over:
                await pace.turn()
        outcome.id = order.command.answer_id(heads)
        outcome.recorded = heads.recorded
        outcome.version = heads.version(order.command.target)
        outcome.status = 201 if order.command.creates(heads) else 200
        return outcome

    async def _add(self, waiting: Waiting, outcome: Outcome, heads: Heads, pace: Pace) -> None:
        """Add what was decided to what is written, and let the commands that follow be decided upon it."""
        tenant, append = heads.tenant, self.append
        try:
            await outcomes.add_events(append, waiting.order, outcome.recorded, pace)
        except Problem as problem:
            outcome = Outcome(refusal=problem)
        self._relied.setdefault(tenant, set()).update(heads.relied)
        outcome.ends = append.tenants.setdefault(tenant, 0)
        self.outcomes.append(outcome)
        if outcome.refusal:
            if not waiting.kept:
                append.refused.append(waiting.key)
        elif not waiting.kept:
            append.requests.append(outcomes.request(waiting, outcome))
            self.known[tenant].moved.update(heads.moved)
        if waiting.key_given:
            self._keys.add(waiting.key)

    def _leave(self, tenant: str | None = None, *, heavy: bool = False) -> None:
        """Leave what is not decided yet to a later group: a tenant's commands, or all."""
        undecided = self.waiting[len(self.outcomes) :]
        left = [each for each in undecided if tenant in {None, each.order.tenant}]
        self.waiting[len(self.outcomes) :] = [each for each in undecided if tenant not in {None, each.order.tenant}]
        if heavy:
            left[0].cost = max(left[0].cost, LIGHT_MAX + 1)
        self.left += left

    async def conclude(self, pace: Pace) -> None:
        """Add to what is written the heads as they are now, and those that must still be as they were read."""
        for tenant, loaded in self.known.items():
            for key, stored in loaded.moved.items():
                self.append.heads.append(NewHead.of(tenant, key, stored, loaded.heads[key].token))
                if pace.over:
                    await pace.turn()
        for tenant, keys in self._relied.items():
            loaded = self.known[tenant]
            self.append.relied += [(tenant, key, loaded.heads[key].token) for key in keys - loaded.moved.keys()]

    def remember_moves(self, cache: Cache) -> None:
        """Let what comes next be decided upon this group: if this one is not written, that one can't be either."""
        for tenant, loaded in self.known.items():
            for key, stored in loaded.moved.items():
                cache.put(tenant, key, stored)

    async def _load(self, connect: Connect, wanted: Wanted, cache: Cache, pace: Pace) -> None:
        """Add what is wanted to what is known, from the cache where it has it."""
        missing = await self._missing(wanted, cache, pace)
        listed = [(tenant, each) for tenant, each in wanted if isinstance(each, Enumeration)]
        counted = [(tenant, each) for tenant, each in wanted if isinstance(each, Violations)]
        if not (missing or listed or counted):
            return
        async with connect() as db:
            if missing:
                for (tenant, key), stored in (await event_store.load_heads(db, missing, pace)).items():
                    self.known[tenant].heads[key] = stored
                    cache.put(tenant, key, stored)
                    if pace.over:
                        await pace.turn()
            await self._load_links(db, listed, pace)
            for tenant, each in counted:
                self.known[tenant].violations[each] = await event_store.count_violations(db, tenant, each)
        pace.restart()

    async def _missing(self, wanted: Wanted, cache: Cache, pace: Pace) -> list[tuple[str, str]]:
        """Take heads from the cache, and return those that it lacks.

        What a list relies on is read before the list: a link that comes between the two makes the commit fail.
        """
        missing = []
        for tenant, each in wanted:
            key = each.relies_on if isinstance(each, Enumeration) else each
            if isinstance(key, str) and key not in self.known[tenant].heads:
                if cached := cache.get(tenant, key):
                    self.known[tenant].heads[key] = cached
                else:
                    missing.append((tenant, key))
            if pace.over:
                await pace.turn()
        return missing

    async def _load_links(self, db: Connection, wanted: Iterable[tuple[str, Enumeration]], pace: Pace) -> None:
        """Load lists in the order of the commands that want them, so many as one group can use."""
        links, heavy = 0, set()
        for tenant, each in wanted:
            known = self.known[tenant]
            count = cast(Members | Memberships, known.heads[each.relies_on].head).count
            if self.light and count > LIGHT_MAX:
                heavy.add(tenant)
            elif links == 0 or links + count <= EVENTS_MAX:
                links += count
                found = await event_store.load_links(db, tenant, each, pace)
                known.heads.update(found)
                known.links[each] = list(found)
        for tenant in heavy:
            self._leave(tenant, heavy=True)


def _repeat(waiting: Waiting, heads: Heads) -> Outcome:
    """Repeat an answer to a caller who may still give the command. What only we have sent twice is theirs anyway."""
    if waiting.key_given:
        permit(waiting.order, heads)
    return Outcome(kept=waiting.kept)
