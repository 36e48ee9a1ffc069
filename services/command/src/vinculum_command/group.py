"""A group of commands, decided one after another upon what the ones before them have moved."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
from uuid_utils.compat import uuid7

from vinculum_command import event_store, outcomes
from vinculum_command.domain.commands import decide, permit, reads
from vinculum_command.domain.heads.view import Enumeration, Heads, Loaded, Readable, Stored, Unread, Violations
from vinculum_command.event_store import Append
from vinculum_command.outcomes import Outcome, Waiting
from vinculum_shared.postgres import Connection
from vinculum_shared.problems import Problem

log = structlog.get_logger()

HEADS_CACHED_MAX: Final = 50_000

Hash = Callable[[str], str]
"""The keyed hash by which an address is compared."""


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

    def clear(self) -> None:
        self._heads.clear()


@dataclass(slots=True)
class Group:
    """Commands that are written together: what was decided for each, and what is to be written for all."""

    waiting: list[Waiting]
    outcomes: list[Outcome] = field(default_factory=list)
    append: Append = field(default_factory=Append)

    async def decide(self, db: Connection, cache: Cache, hashed: Hash, *, drained: bool = True) -> bool:
        """Decide every command, loading what they read until none asks for more.

        False, with nothing decided, where one lists links while another group is being written: a list is read from
        the tables, which don't have that group's links yet.
        """
        known: dict[str, Loaded] = {waiting.order.tenant: Loaded() for waiting in self.waiting}
        wanted = {(waiting.order.tenant, each) for waiting in self.waiting for each in reads(waiting.order)}
        while wanted:
            if not drained and any(isinstance(each, Enumeration) for _, each in wanted):
                return False
            await load(db, known, wanted, cache)
            wanted = self._pass(known, hashed)
            if wanted:
                self.outcomes, self.append = [], Append()
        return True

    def _pass(self, known: Mapping[str, Loaded], hashed: Hash) -> set[tuple[str, Readable]]:
        """Decide every command upon what is known; gives what else they want to know."""
        self.outcomes, self.append = [], Append(dict.fromkeys(known, 0))
        for loaded in known.values():
            loaded.moved = {}
        relied: dict[str, set[str]] = {tenant: set() for tenant in known}
        wanted: set[tuple[str, Readable]] = set()
        for waiting in self.waiting:
            order, loaded = waiting.order, known[waiting.order.tenant]
            heads = Heads(order.tenant, order.at, order.command_id, loaded, uuid7, hashed)
            try:
                outcome = _decide(waiting, heads)
                outcomes.add_events(self.append, order, outcome.recorded)
            except Unread as unread:
                wanted |= {(order.tenant, each) for each in unread.wanted}
                continue
            except Problem as problem:
                outcome = Outcome(refusal=problem)
            except Exception as error:  # a fault in one command's rules must not take its group along
                log.exception("decide_failed", command=type(order.command).__name__)
                outcome = Outcome(refusal=error)
            relied[order.tenant] |= heads.relied
            outcome.ends = self.append.tenants[order.tenant]
            self.outcomes.append(outcome)
            self._keep(waiting, outcome)
            if not outcome.refusal:
                loaded.moved.update(heads.moved)
        for tenant, loaded in known.items():
            for key, stored in loaded.moved.items():
                self.append.heads.append((tenant, key, stored, loaded.heads[key].token))
            for key in relied[tenant] - loaded.moved.keys():
                self.append.relied.append((tenant, key, loaded.heads[key].token))
        return wanted

    def _keep(self, waiting: Waiting, outcome: Outcome) -> None:
        """Note what to store for the command's key, or that nothing may be stored for it."""
        if waiting.kept:
            return
        if outcome.refusal:
            self.append.refused.append(waiting.key)
        else:
            self.append.requests.append(outcomes.request(waiting, outcome))

    def remember_moves(self, cache: Cache) -> None:
        """Let what comes next be decided upon this group: if this one is not written, that one can't be either."""
        for tenant, key, stored, _ in self.append.heads:
            cache.put(tenant, key, stored)


def _decide(waiting: Waiting, heads: Heads) -> Outcome:
    if waiting.kept:
        return _repeat(waiting, heads)
    order = waiting.order
    cautions, following = decide(order, heads)
    return Outcome(
        id=order.command.answer_id(heads),
        recorded=heads.recorded,
        version=heads.version(order.command.target),
        status=201 if order.command.creates(heads) else 200,
        cautions=cautions,
        following=following,
    )


def _repeat(waiting: Waiting, heads: Heads) -> Outcome:
    """Repeat an answer to a caller who may still give the command. What only we have sent twice is theirs anyway."""
    if waiting.key_given:
        permit(waiting.order, heads)
    return Outcome(kept=waiting.kept)


async def load(
    db: Connection, known: Mapping[str, Loaded], wanted: Iterable[tuple[str, Readable]], cache: Cache
) -> None:
    """Add what is wanted to what is known, from the cache where it has it."""
    lists = [(tenant, each) for tenant, each in wanted if isinstance(each, Enumeration)]
    # What a list relies on is read before the list: a link that comes between the two makes the commit fail.
    keys = {(tenant, each) for tenant, each in wanted if isinstance(each, str)}
    keys |= {(tenant, each.relies_on) for tenant, each in lists}
    missing = []
    for tenant, key in keys:
        if key not in known[tenant].heads:
            cached = cache.get(tenant, key)
            if cached:
                known[tenant].heads[key] = cached
            else:
                missing.append((tenant, key))
    if missing:
        for (tenant, key), stored in (await event_store.load_heads(db, missing)).items():
            known[tenant].heads[key] = stored
            cache.put(tenant, key, stored)
    for tenant, each in lists:
        links = await event_store.load_links(db, tenant, each)
        known[tenant].heads.update(links)
        known[tenant].links[each] = list(links)
    for tenant, what in wanted:
        if isinstance(what, Violations):
            known[tenant].violations[what] = await event_store.count_violations(db, tenant, what)
