"""A Postgres that keeps its connections and answers none, or takes no writes: callers are answered in time."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from support.paused import PausablePostgres
from support.service import Service, command_service
from support.tokens import Issuer
from support.waiting import until

pytestmark = pytest.mark.integration

SLACK_SECONDS = 10.0  # of a machine that is busy


@pytest.fixture(scope="module")
async def service(pausable_postgres: PausablePostgres, issuer: Issuer) -> AsyncIterator[Service]:
    async with command_service(pausable_postgres.url, issuer) as service:
        yield service


async def unavailable(firm: Service, within: float, method: str, path: str, body: Any = None, **options: Any) -> None:
    async with asyncio.timeout(within + SLACK_SECONDS):
        answer = await firm.ask(method, path, body, timeout=60, **options)
    assert answer.status_code == 503, path
    assert int(answer.headers["retry-after"]) > 0


async def test_commands_and_questions_are_answered_in_time_and_a_key_tells_what_became_of_a_command(
    service: Service, pausable_postgres: PausablePostgres
) -> None:
    firm = await service.register("dynamics")
    keys = [f"key-{number}" for number in range(8)]
    body = {"name": "A"}
    bulk = firm.service("log all_tenants")
    access = {"account_id": str(uuid4()), "contact_id": str(uuid4())}
    with pausable_postgres.paused():
        async with asyncio.TaskGroup() as asked:
            for key in keys:
                asked.create_task(unavailable(firm, 10, "POST", "/accounts", body, headers={"Idempotency-Key": key}))
            for path, params in {"/policy": {}, "/log": {}, "/log/positions": {}, "/access": access}.items():
                asked.create_task(unavailable(firm, 10, "GET", path, params=params))
            asked.create_task(unavailable(firm, 10, "GET", "/log", token=bulk))
            asked.create_task(unavailable(firm, 10, "POST", "/accounts", body, params={"dry_run": "true"}))
            lines = asked.create_task(firm.batch(*[{"command": "CreateAccount", "name": "B"}] * 3))
        assert {line["status"] for line in lines.result()} == {503}

    async def all_done() -> bool:
        answers = [await firm.ask("POST", "/accounts", body, headers={"Idempotency-Key": key}) for key in keys]
        return all(answer.status_code == 201 for answer in answers)

    await until(all_done)
    answer = await firm.ask("GET", "/log", params={"types": "AccountCreated", "limit": 1_000})
    assert answer.text.count('"A"') == len(keys)


async def test_readiness_is_told_in_time(service: Service, pausable_postgres: PausablePostgres) -> None:
    with pausable_postgres.paused():
        async with asyncio.timeout(3 + SLACK_SECONDS):
            assert (await service.http.get("/health/ready")).status_code == 503
            assert (await service.http.get("/health/live")).status_code == 200

    async def ready() -> bool:
        return (await service.http.get("/health/ready")).status_code == 200

    await until(ready)


async def test_a_service_whose_postgres_takes_no_writes_is_not_ready_until_it_does(
    service: Service, pausable_postgres: PausablePostgres
) -> None:
    firm = await service.register("dynamics")

    async def says(status: int, check: str = "") -> bool:
        answer = await service.http.get("/health/ready")
        return answer.status_code == status and check in answer.text

    admin = await asyncpg.connect(pausable_postgres.url)
    try:
        await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await admin.execute("SELECT pg_reload_conf()")
        refused = asyncio.create_task(unavailable(firm, 10, "POST", "/accounts", {"name": "A"}))
        await until(partial(says, 503, "executor: Waits for a Postgres that takes writes."))
        await refused
        assert await says(503)
    finally:
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await admin.execute("SELECT pg_reload_conf()")
        await admin.close()
    await until(partial(says, 200))
    await firm.account(name="A")
