"""Readers of the log who wait for more: what they cost others, and what they outlive."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import jwt
import pytest

from support.databases import as_admin
from support.service import Service
from support.waiting import until
from vinculum_command.http.log_feed import AT_ONCE, FOLLOWERS_OF_PRINCIPAL_MAX, SSE

pytestmark = pytest.mark.integration

STREAMS = 20  # more than there are connections of any kind
WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND NOT granted"""


async def test_access_is_decided_while_streams_wait_for_postgres_and_they_outlive_it(
    service: Service, postgres: str
) -> None:
    firm, other = await service.register("dynamics"), await service.register("dynamics")
    nobody = {"account_id": str(uuid4()), "contact_id": str(uuid4())}
    async with AsyncExitStack() as stack, asyncio.timeout(120):
        async with locked(service, postgres) as db:
            streams = [await stack.enter_async_context(followed(firm, after=3)) for _ in range(STREAMS)]
            assert {await anext(lines) for lines in streams} == {"retry: 2000"}

            async def wait(count: int) -> bool:
                return bool(await db.fetchval(WAITING) == count)

            await until(partial(wait, AT_ONCE))
            page = asyncio.create_task(other.ask("GET", "/log", timeout=60))
            await until(partial(wait, AT_ONCE + 1))  # not behind the streams
            async with asyncio.timeout(20):
                assert await other.refused("GET", "/access", params=nobody) == (404, "account_not_found")
            assert await db.fetchval(WAITING) <= AT_ONCE + 1
            assert await next_said(streams[-1]) == ": still here"  # it got no connection in time
        account = await firm.account()
        for lines in streams:
            while (said := await next_said(lines)) == ": still here":
                pass
            assert said == "id: 4"
            assert str(account) in await anext(lines)
        await page


@pytest.mark.parametrize("change", [("POST", "/deactivate", None), ("PATCH", "", {"roles": ["operator"]})])
async def test_a_reader_who_may_no_longer_read_is_shown_nothing_more(
    service: Service, change: tuple[str, str, Any]
) -> None:
    firm, viewer = await service.register("dynamics"), uuid4()
    await firm.done("POST", "/staff", {"id": viewer, "name": "V", "email": "v@example.com", "roles": ["viewer"]})
    reader = replace(firm, token=firm.staff(firm.tenant, viewer, "viewer", "operator"))
    last = (await firm.done("GET", "/log/positions"))["positions"][firm.tenant]
    async with asyncio.timeout(180), followed(reader, after=last) as lines:
        assert await anext(lines) == "retry: 2000"
        waiting = asyncio.create_task(reader.refused("GET", "/log", params={"after": last, "wait": 30}, timeout=60))
        method, path, body = change
        await firm.done(method, f"/staff/{viewer}{path}", body)
        await firm.account()
        assert [line async for line in lines if line and not line.startswith(":")] == []
        assert await waiting == (403, "forbidden")


async def test_a_stream_and_a_wait_end_with_their_token(service: Service) -> None:
    firm = await service.register("dynamics")
    sub = jwt.decode(firm.token, options={"verify_signature": False})["sub"]
    for seconds in (2, 10, 50):  # the longer ones are for a machine that is busy
        expires = int(time.time()) + seconds
        token = firm.issuer.token(kind="staff", sub=sub, tenant=firm.tenant, roles=["admin"], exp=expires)
        reader = replace(firm, token=token)
        if (await reader.ask("GET", "/log/positions")).status_code == 200:
            break
    waiting = asyncio.create_task(reader.refused("GET", "/log", params={"after": 3, "wait": 30}, timeout=60))
    async with asyncio.timeout(180), followed(reader, after=3) as lines:
        assert await anext(lines) == "retry: 2000"
        assert [line async for line in lines if line and not line.startswith(":")] == []
        assert await waiting == (401, "unauthorized")


async def test_streams_are_limited_by_principal(service: Service, postgres: str) -> None:
    firm, other = await service.register("dynamics"), await service.register("dynamics")
    crm = replace(firm, token=firm.service("log", firm.tenant))
    live, waiting = {"headers": {"Accept": SSE}}, {"params": {"wait": 1}}
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        streams = [await stack.enter_async_context(followed(firm, after=3)) for _ in range(FOLLOWERS_OF_PRINCIPAL_MAX)]
        assert {await anext(lines) for lines in streams} == {"retry: 2000"}
        for request in (live, waiting):
            answer = await firm.ask("GET", "/log", **request)
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many")
            assert int(answer.headers["retry-after"]) > 0
        assert (await firm.ask("GET", "/log")).status_code == 200
        async with locked(service, postgres, "heads"):  # one too many costs no look at the rights
            assert await firm.refused("GET", "/log", **live) == (429, "too_many")
        for each in (crm, other):
            async with followed(each, after=3) as lines:
                assert await anext(lines) == "retry: 2000"

    async def has_room() -> bool:
        return (await firm.ask("GET", "/log", params={"wait": 0.01})).status_code == 200

    await until(has_room)


@pytest.mark.parametrize("form", [{}, {"Accept": SSE}], ids=["page", "stream"])
async def test_a_position_beyond_the_log_is_refused_at_once(service: Service, form: dict[str, str]) -> None:
    firm = await service.register("dynamics")
    last = (await firm.done("GET", "/log/positions"))["positions"][firm.tenant]
    everywhere = {"token": service.service("log all_tenants")}
    beyond: list[tuple[str, dict[str, Any]]] = [
        ("?after", {"params": {"after": last + 1}}),
        ("?after", {"params": {"after": last + 1, "wait": 30}}),
        ("?after", {"params": {"after": last + 1, "types": "AccountCreated"}}),
        ("?after", {"params": {"after": f"{firm.tenant}:{last + 1}"}, **everywhere}),
        ("?after", {"params": {"after": 1}, **everywhere}),
    ]
    if form:
        beyond += [("Last-Event-ID", {"headers": {"Last-Event-ID": str(last + 1)}})]
    for pointer, asked in beyond:
        answer = await firm.ask("GET", "/log", **{**asked, "headers": form | asked.get("headers", {})})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), asked
    async with followed(firm, after=last) as lines:
        assert await anext(lines) == "retry: 2000"


async def test_a_stream_ends_when_its_log_is_restored_from_a_backup(service: Service, postgres: str) -> None:
    firm = await service.register("dynamics")
    last = (await firm.done("GET", "/log/positions"))["positions"][firm.tenant]
    async with asyncio.timeout(60), followed(firm, after=last) as lines:
        assert await anext(lines) == "retry: 2000"
        async with as_admin(postgres, service.settings.database_url) as db:
            await db.execute("UPDATE tenants SET last_position = last_position - 1 WHERE tenant = $1", firm.tenant)
        assert [line async for line in lines if line and not line.startswith(":")] == []


@asynccontextmanager
async def locked(service: Service, postgres: str, table: str = "events") -> AsyncIterator[asyncpg.Connection]:
    """Let nobody read a table, until the block ends."""
    async with as_admin(postgres, service.settings.database_url) as db, db.transaction():
        await db.execute(f"LOCK TABLE {table}")
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
