"""The event loop's time: long work is done in slices, of each tenant in turn; between them comes everything else."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

from vinculum_shared import deadlines

SLICE_SECONDS: Final = 0.001


class Turns:
    """Gives one slice of long work its turn in each iteration of the event loop; the tenants go round."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def wait(self, tenant: str) -> None:
        """Wait for the tenant's next turn."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._next)
        self._waiting.setdefault(tenant, deque()).append(turn)
        await turn

    def _next(self) -> None:
        tenant = next(iter(self._waiting))
        waiting = self._waiting.pop(tenant)
        turn = waiting.popleft()
        if waiting:
            self._waiting[tenant] = waiting  # behind the others
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        if not turn.done():
            turn.set_result(None)


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
