"""Readers of the log who wait for more: what they cost others, and what they outlive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from support.databases import as_admin
from support.service import Service
from support.waiting import until
from vinculum_command.http.log_feed import CONNECTIONS, SSE

pytestmark = pytest.mark.integration

STREAMS = 20  # more than there are connections of any kind
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_access_is_decided_while_streams_wait_for_postgres_and_they_outlive_it(
    service: Service, postgres: str
) -> None:
    firm, other = await service.register("dynamics"), await service.register("dynamics")
    nobody = {"account_id": str(uuid4()), "contact_id": str(uuid4())}
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        async with events_locked(service, postgres) as db:
            streams = [await stack.enter_async_context(followed(firm, after=3)) for _ in range(STREAMS)]
            assert {await anext(lines) for lines in streams} == {": the log"}

            async def all_connections_wait() -> bool:
                return bool(await db.fetchval(WAITING) == CONNECTIONS)

            await until(all_connections_wait)
            async with asyncio.timeout(1):
                assert await other.refused("GET", "/access", params=nobody) == (404, "account_not_found")
            assert await next_said(streams[-1]) == ": still here"  # it got no connection in time
        account = await firm.account()
        for lines in streams:
            while (said := await next_said(lines)) == ": still here":
                pass
            assert said == "id: 4"
            assert await anext(lines) == "event: AccountCreated"
            assert str(account) in await anext(lines)


@asynccontextmanager
async def events_locked(service: Service, postgres: str) -> AsyncIterator[asyncpg.Connection]:
    """Let nobody read events, until the block ends."""
    async with as_admin(postgres, service.settings.database_url) as db, db.transaction():
        await db.execute("LOCK TABLE events")
        yield db


@asynccontextmanager
async def followed(firm: Service, after: int) -> AsyncIterator[AsyncIterator[str]]:
    headers = {"Authorization": f"Bearer {firm.token}", "Accept": SSE}
    async with firm.http.stream("GET", "/v1/log", params={"after": str(after)}, headers=headers) as answer:
        assert answer.status_code == 200
        yield answer.aiter_lines()


async def next_said(lines: AsyncIterator[str]) -> str:
    while not (line := await anext(lines)):
        pass
    return line
