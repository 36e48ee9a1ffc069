"""Commands given in the process, to an event store of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from support.databases import database
from vinculum_command import reading
from vinculum_command.database import appender_pool, log_pool
from vinculum_command.domain.commands import Caller, Command, Order
from vinculum_command.domain.tenants import RegisterTenant
from vinculum_command.execute import Executor
from vinculum_command.outcomes import Answer, Waiting
from vinculum_shared.contracts import envelope
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.postgres import Pool
from vinculum_shared.supervision import supervise

PLATFORM: Final = Caller(kind="platform", id="vinculum")
SERVICE: Final = Caller(kind="service", id="crm", scopes=frozenset({"commands", "admin", "preferences"}))


@dataclass
class Store:
    """A running executor, and the database behind it."""

    url: Any
    pool: Pool
    executor: Executor

    async def register(self, tenant: str, profile: str, **fields: Any) -> Answer:
        command = RegisterTenant.model_validate(
            {
                "tenant": tenant,
                "name": tenant.title(),
                "profile": profile,
                "portal_url": "https://portal.example.com",
                "admin": {"name": "Ada", "email": "ada@example.com"},
                **fields,
            }
        )
        return await self.give(tenant, command, caller=PLATFORM)

    async def give(
        self,
        tenant: str,
        command: Command,
        key: str | None = None,
        *,
        caller: Caller = SERVICE,
        expected: int | None = None,
    ) -> Answer:
        order = Order(tenant, command, caller, datetime.now(UTC), expected=expected)
        return await self.executor.execute(order, key)

    def submit(self, tenant: str, command: Command, key: str | None = None) -> Waiting:
        """Queue a command without waiting for its answer."""
        return self.executor.submit(Order(tenant, command, SERVICE, datetime.now(UTC)), key)

    async def log(self, tenant: str) -> list[Recorded[Event]]:
        pool = await log_pool(self.url, unsafe_durability=True)
        async with pool, pool.acquire() as db:
            lines, _ = await reading.log(db, tenant, 0, reading.SCANNED_MAX, only=reading.Filter(), personal=True)
        return [envelope.decode(line.event) for line in lines]


@asynccontextmanager
async def event_store(admin_url: str) -> AsyncIterator[Store]:
    """Run an executor on a database of its own."""
    async with database(admin_url, "vinculum_command") as url, executing(url) as store:
        yield store


@asynccontextmanager
async def executing(url: Any) -> AsyncIterator[Store]:
    """Run one more executor on a database, as another process would: it hears nothing of the others."""
    pool = await appender_pool(url, unsafe_durability=True)
    executor, stop = Executor(pool, "test"), asyncio.Event()
    running = asyncio.create_task(supervise("executor", executor.run, stop))
    try:
        yield Store(url, pool, executor)
    finally:
        stop.set()
        await running
        await pool.close()


def parsed(text: str | bytes) -> Any:
    return orjson.loads(text)


def ids(answer: Answer) -> list[UUID]:
    return [UUID(id_) for id_, _, _ in answer.events]
