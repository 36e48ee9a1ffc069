"""The event loop's time: long work is done in slices, of each tenant in turn; between them comes everything else."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

from vinculum_shared import deadlines, others

SLICE_SECONDS: Final = 0.001
LONG_SECONDS: Final = 0.004


class Turns:
    """Gives one slice of long work its turn at a time; the tenants go round.

    After a slice that could not be short, everything else has the loop for as long as it took; after any slice of one
    tenant's for three times as long, while another one asks for something.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._going_round = False
        self._began = 0.0

    async def wait(self, tenant: str) -> None:
        """Wait for the tenant's next turn."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        if not self._going_round:
            self._going_round = True
            loop.call_soon(self._next)
        await turn

    def _next(self) -> None:
        if not self._waiting:
            self._going_round = False
            return
        tenant = next(iter(self._waiting))
        waiting = self._waiting.pop(tenant)
        turn = waiting.popleft()
        if waiting:
            self._waiting[tenant] = waiting  # behind the others
        if not turn.done():
            turn.set_result(None)
        self._began = perf_counter()
        asyncio.get_running_loop().call_soon(self._rest, tenant)  # after the slice, which is due before it

    def _rest(self, tenant: str) -> None:
        loop, seconds = asyncio.get_running_loop(), perf_counter() - self._began
        rest = max(others.rest_seconds({tenant}, seconds), seconds if seconds > LONG_SECONDS else 0.0)
        if rest:
            loop.call_later(rest, self._next)
        else:
            loop.call_soon(self._next)


class Pace:
    """Keeps long work to slices: `if pace.over: await pace.turn()` wherever it may pause.

    Deadlines are for what hangs: this work, however much there is of it, does not count towards them.
    """

    def __init__(self, wait: Callable[[], Awaitable[object]]) -> None:
        self._wait = wait
        self.restart()

    def restart(self) -> None:
        """Begin a slice, after everything else has just had its turn."""
        self._until = perf_counter() + SLICE_SECONDS

    @property
    def over(self) -> bool:
        return perf_counter() >= self._until

    async def turn(self) -> None:
        """Let everything else have its turn, and begin the next slice."""
        await self._wait()
        deadlines.extend(perf_counter() - self._until + SLICE_SECONDS)
        self.restart()
