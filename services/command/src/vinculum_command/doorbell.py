"""The doorbell: Postgres says which tenants have new events, so that nobody has to keep asking."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg
import structlog
from pydantic import SecretStr

from vinculum_command.event_store import DOORBELL
from vinculum_shared.postgres import OUTAGE
from vinculum_shared.supervision import set_within, waiting_for, working

log = structlog.get_logger()

CHECK_SECONDS: Final = 5.0  # a listening connection that died is noticed by then
BACKOFF_SECONDS: Final = 1.0
Ring = Callable[[frozenset[str]], None]
"""Told the tenants with news; without any, that everything may have some."""


async def listen(url: SecretStr, ring: Ring, stop: asyncio.Event) -> None:
    """Pass on each ring until `stop`. A lost connection is made again, and rung for: something may have been missed."""

    def rung(_: Any, __: int, ___: str, payload: object) -> None:
        ring(frozenset(filter(None, str(payload).split(","))))

    while not stop.is_set():
        try:
            await _listen(url, rung, ring, stop)
        except (*OUTAGE, asyncpg.PostgresError) as error:
            log.info("doorbell_lost", reason=type(error).__name__)
            waiting_for("Postgres")
            await set_within(stop, BACKOFF_SECONDS)


async def _listen(url: SecretStr, rung: Callable[..., None], ring: Ring, stop: asyncio.Event) -> None:
    connection = await asyncpg.connect(url.get_secret_value(), timeout=CHECK_SECONDS)
    try:
        await connection.add_listener(DOORBELL, rung)
        ring(frozenset())
        working()
        while not await set_within(stop, CHECK_SECONDS):
            await connection.fetchval("SELECT 1", timeout=CHECK_SECONDS)
    finally:
        connection.terminate()


class News:
    """Wakes those who wait for a tenant's news."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def ring(self, tenants: frozenset[str]) -> None:
        for tenant in tenants or tuple(self._waiting):
            for event in self._waiting.get(tenant, ()):
                event.set()

    @contextmanager
    def of(self, tenant: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the tenant has news."""
        event = asyncio.Event()
        self._waiting.setdefault(tenant, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[tenant].discard(event)
            if not self._waiting[tenant]:
                del self._waiting[tenant]
