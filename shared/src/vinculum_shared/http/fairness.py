"""What one tenant may take at a time, so that its load is not everybody's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from math import inf
from typing import Any, Final
from weakref import WeakValueDictionary

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from vinculum_shared import deadlines
from vinculum_shared.http.principals import Principal
from vinculum_shared.problems import TooMany, Unavailable

ALL: Final = ("all",)


class Quota:
    """How many things of one tenant, of one principal in it, and in all may be under way."""

    def __init__(self, *, of_tenant: int, of_principal: int, in_all: float = inf) -> None:
        self.of_tenant = of_tenant
        self.of_principal = of_principal
        self.in_all = in_all
        self._under_way: Counter[Hashable] = Counter()

    @contextmanager
    def admit(self, principal: Principal) -> Iterator[None]:
        """Count one more until the block ends. Raise TooMany if there are as many as may be."""
        tenant, count = principal.tenant, self._under_way
        whose = (tenant, principal.kind, principal.sub)
        if count[whose] >= self.of_principal:
            raise TooMany(f"{self.of_principal} of your requests are under way. Wait until one of them ends.")
        if count[tenant] >= self.of_tenant:
            raise TooMany(f"{self.of_tenant} of the tenant's requests are under way. Wait until one of them ends.")
        if count[ALL] >= self.in_all:
            raise TooMany
        keys = (whose, tenant, ALL)
        for key in keys:
            count[key] += 1
        try:
            yield
        finally:
            for key in keys:
                count[key] -= 1
                if not count[key]:
                    del count[key]


class CountedStream(StreamingResponse):
    """A stream that is counted, by what `Quota.admit` returned, until its last byte."""

    def __init__(self, content: AsyncIterator[bytes], counted: AbstractContextManager[object], **options: Any) -> None:
        super().__init__(content, **options)
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._counted:
            await super().__call__(scope, receive, send)


class Turns:
    """Lets each tenant do so much at once; what is more waits for its turn behind it, and not before others."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._of: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, whose: Hashable) -> AsyncIterator[None]:
        """Wait for a turn, for half of the time that is left: one that came later would be cut off in the middle.

        Raise Unavailable if none comes.
        """
        turns = self._of.get(whose)
        if turns is None:
            turns = self._of[whose] = asyncio.Semaphore(self.at_once)
        if turns.locked():
            try:
                async with asyncio.timeout(deadlines.left() / 2):
                    await turns.acquire()
            except TimeoutError:
                raise Unavailable("Requests of the same tenant take all the time. Send fewer at once.") from None
        else:
            await turns.acquire()
        try:
            yield
        finally:
            turns.release()
