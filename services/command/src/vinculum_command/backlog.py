"""Commands that wait to be decided: each tenant has a queue of its own, and the tenants take turns by cost.

They do so in two lanes, and a tenant is in one of them at a time. In the light lane are those who have little waiting:
groups are of many tenants, and of small commands. In the bulk lane is whoever has more, or a large command. So nobody
with a single small command waits for what another tenant has much of.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from vinculum_command import metrics
from vinculum_command.group import EVENTS_MAX, LIGHT_MAX
from vinculum_command.outcomes import Waiting

GROUP_MAX: Final = 128  # commands written in one commit: measured, larger ones gain nothing
QUANTUM: Final = 32  # cost that each round adds to what a tenant may take
WAITING_MAX: Final = 4_096  # cost of what waits for one tenant; past that, 429
BATCHED_MAX: Final = 1_024  # past that, lines of batches wait for room


@dataclass(eq=False, slots=True)
class Backlog:
    """What one tenant has waiting, in the order in which it came."""

    lane: "Lane"
    waiting: deque[Waiting] = field(default_factory=deque)
    cost: int = 0
    credit: int = 0
    groups: int = 0
    """How many groups have commands of the tenant under way. It changes lanes when there are none."""
    in_turn: bool = False
    roomy: asyncio.Event = field(default_factory=asyncio.Event)

    def pop(self) -> Waiting:
        waiting = self.waiting.popleft()
        self.cost -= waiting.cost
        self.credit -= waiting.cost
        if self.cost < BATCHED_MAX:
            self.roomy.set()
        return waiting


class Lane:
    """The tenants that take turns with one another."""

    def __init__(self, *, light: bool) -> None:
        self.light = light
        self.turns: deque[Backlog] = deque()
        self.count = 0
        self.wake = asyncio.Event()

    def enter(self, backlog: Backlog) -> None:
        backlog.lane, backlog.in_turn = self, True
        self.turns.append(backlog)
        self.count += len(backlog.waiting)
        self.wake.set()

    def leave(self) -> Backlog:
        """Take out the tenant whose turn it is."""
        backlog = self.turns.popleft()
        self.count -= len(backlog.waiting)
        backlog.in_turn, backlog.credit = False, 0
        return backlog


class Backlogs:
    """The queues of all tenants that have anything waiting or under way."""

    def __init__(self) -> None:
        self.light, self.bulk = Lane(light=True), Lane(light=False)
        self._of: dict[str, Backlog] = {}
        self._under_way: list[list[Waiting]] = []

    @property
    def lanes(self) -> tuple[Lane, Lane]:
        return self.light, self.bulk

    @property
    def idle(self) -> bool:
        return not self._of

    def is_full(self, tenant: str) -> bool:
        backlog = self._of.get(tenant)
        return backlog is not None and backlog.cost >= WAITING_MAX

    async def room(self, tenant: str) -> None:
        """Wait until the tenant has room for a line of a batch."""
        while (backlog := self._of.get(tenant)) and backlog.cost >= BATCHED_MAX:
            backlog.roomy.clear()
            await backlog.roomy.wait()

    def put(self, waiting: Waiting) -> None:
        """Let a command wait behind its tenant's others."""
        tenant = waiting.order.tenant
        backlog = self._of.get(tenant)
        if backlog is None:
            backlog = self._of[tenant] = Backlog(self.light)
        backlog.waiting.append(waiting)
        backlog.cost += waiting.cost
        if backlog.in_turn:
            backlog.lane.count += 1
            backlog.lane.wake.set()
        else:
            self._seat(backlog)

    def give_back(self, left: Sequence[Waiting]) -> None:
        """Let commands that were taken, and not decided, wait before all others of their tenants."""
        for waiting in reversed(left):
            backlog = self._of[waiting.order.tenant]
            backlog.waiting.appendleft(waiting)
            backlog.cost += waiting.cost
            if backlog.in_turn:
                backlog.lane.count += 1
            else:
                self._seat(backlog)

    def take(self, lane: Lane, *, half: bool) -> list[Waiting]:
        """Take a group's commands by deficit round robin: of each tenant so much as its credit allows."""
        taken: list[Waiting] = []
        at_most = min(GROUP_MAX, (lane.count + 1) // 2 if half else lane.count)
        room = EVENTS_MAX
        while lane.turns and len(taken) < at_most and room > 0:
            backlog = lane.turns[0]
            if lane.light and backlog.cost > LIGHT_MAX:
                self._seat(lane.leave())
                continue
            backlog.credit += QUANTUM
            while backlog.waiting and backlog.waiting[0].cost <= backlog.credit and len(taken) < at_most:
                room -= backlog.waiting[0].cost
                if taken and room < 0:
                    break
                taken.append(backlog.pop())
                lane.count -= 1
            if backlog.waiting:
                lane.turns.rotate(-1)
            else:
                lane.leave()
        for tenant in tenants_of(taken):
            self._of[tenant].groups += 1
        self._under_way.append(taken)
        metrics.QUEUED_COMMANDS.set(self.light.count + self.bulk.count)
        return taken

    def finish(self, taken: list[Waiting]) -> None:
        """Note that what was taken together is not under way any more."""
        self._under_way.remove(taken)
        for tenant in tenants_of(taken):
            backlog = self._of[tenant]
            backlog.groups -= 1
            if backlog.waiting and not backlog.in_turn:
                self._seat(backlog)
            elif not backlog.waiting and not backlog.groups:
                del self._of[tenant]

    def waiting(self) -> Iterator[Waiting]:
        """Go through what waits in all queues."""
        return (each for backlog in self._of.values() for each in backlog.waiting)

    def wake(self) -> None:
        """Have both lanes look whether there is anything to do."""
        for lane in self.lanes:
            lane.wake.set()

    def clear(self) -> list[Waiting]:
        """Forget everything; return what was waiting or under way."""
        forgotten = [*chain.from_iterable(self._under_way), *self.waiting()]
        for backlog in self._of.values():
            backlog.roomy.set()
        self._of.clear()
        self._under_way.clear()
        for lane in self.lanes:
            lane.turns.clear()
            lane.count = 0
        return forgotten

    def _seat(self, backlog: Backlog) -> None:
        """Let a tenant take turns in the lane where it belongs, once nothing of it is under way in the other."""
        lane = self.bulk if backlog.cost > LIGHT_MAX else self.light
        if backlog.groups and backlog.lane is self.bulk:
            lane = self.bulk  # as long as it goes on
        if not backlog.groups or backlog.lane is lane:
            lane.enter(backlog)


def tenants_of(commands: Iterable[Waiting]) -> set[str]:
    return {waiting.order.tenant for waiting in commands}
