"""What one tenant may take at a time, so that its load is not everybody's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from math import inf
from random import randint
from time import monotonic
from typing import Any, Final
from weakref import WeakValueDictionary

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from vinculum_shared import deadlines, others
from vinculum_shared.http.principals import Principal
from vinculum_shared.problems import TooMany, Unavailable

ALL: Final = ("all",)


class Quota:
    """How many things of one tenant, of one principal in it, and in all may be under way."""

    def __init__(self, *, of_tenant: int, of_principal: int, in_all: float = inf, again_seconds: int = 1) -> None:
        self.of_tenant = of_tenant
        self.of_principal = of_principal
        self.in_all = in_all
        self.again_seconds = again_seconds
        """At most; who is refused together with others does not come back together with them."""
        self._under_way: Counter[Hashable] = Counter()

    @contextmanager
    def admit(self, principal: Principal) -> Iterator[None]:
        """Count one more until the block ends. Raise TooMany if there are as many as may be."""
        tenant, count = principal.tenant, self._under_way
        whose = (tenant, principal.kind, principal.sub)
        if count[whose] >= self.of_principal:
            raise self._refusal(f"{self.of_principal} of your requests are")
        if count[tenant] >= self.of_tenant:
            raise self._refusal(f"{self.of_tenant} of the tenant's requests are")
        if count[ALL] >= self.in_all:
            raise self._refusal("As many requests as there may be are")
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

    def _refusal(self, which: str) -> TooMany:
        seconds = randint(1, self.again_seconds)  # noqa: S311  not a secret
        return TooMany(f"{which} under way. Wait until one of them ends.", retry_after=seconds)


class CountedStream(StreamingResponse):
    """A stream that is counted, by what `Quota.admit` returned, until its last byte."""

    def __init__(self, content: AsyncIterator[bytes], counted: AbstractContextManager[object], **options: Any) -> None:
        super().__init__(content, **options)
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._counted:
            await super().__call__(scope, receive, send)


class Turns:
    """Lets each tenant do so much at once; what is more waits for its turn behind it, and not before others.

    Where turns rest, a tenant that has taken all of its own leaves others who ask the time between them.
    """

    def __init__(self, at_once: int, *, resting: bool = False) -> None:
        self.at_once = at_once
        self.resting = resting
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
        began = monotonic()
        try:
            yield
        finally:
            if self.resting and turns.locked():
                rest = others.rest_seconds({whose}, monotonic() - began)
                asyncio.get_running_loop().call_later(rest, turns.release)
            else:
                turns.release()
