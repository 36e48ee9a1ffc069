"""Where requests come in: one after another, of each tenant in turn."""

import asyncio
from collections import deque
from time import perf_counter
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vinculum_shared.http.principals import Verifier, token_of

STRANGERS: Final = ""
"""Those whose token has not been looked at yet."""


class Entrance:
    """Begins one request of each tenant at a time, and lets what is under way go on for as long before the next.

    So hundreds of requests that come at once are in front of their own tenant's alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._turn(tenant_of(scope))
        await self.app(scope, receive, send)

    async def _turn(self, tenant: str) -> None:
        loop = asyncio.get_running_loop()
        if not self._begun:
            self._begun = True
            loop.call_soon(self._next)
            return
        turn = loop.create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        await turn

    def _next(self) -> None:
        self._begun, began = bool(self._waiting), perf_counter()
        for tenant, waiting in list(self._waiting.items()):
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
            if not waiting:
                del self._waiting[tenant]
        if self._begun:
            asyncio.get_running_loop().call_soon(self._rest, began)  # after those that begin, which are due before it

    def _rest(self, began: float) -> None:
        asyncio.get_running_loop().call_later(perf_counter() - began, self._next)


def tenant_of(scope: Scope) -> str:
    """Return the tenant of a request whose token is known, without a check of it: that is the route's affair."""
    verifier: Verifier | None = scope["state"].get("verifier")
    if verifier is None:
        return STRANGERS
    return verifier.tenant_of(token_of(Headers(scope=scope))) or STRANGERS
