"""Somebody else writes to the topic, and the event store is restored from an older state."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from support.history import Json
from support.ordeal import ordeal
from support.reading import publish
from support.system import GROUPS, PROJECT, RELAY, SERVE, System
from support.workload import Firm, Workload
from vinculum_shared.settings import TOPIC

pytestmark = pytest.mark.faults

FAR_BEYOND: Final = 10_000_000


async def test_forged_records_hold_up_no_tenant_but_the_one_they_name(system: System) -> None:
    """The store is up, the readers run, and no process of theirs ends: they hold the tenant until it is rebuilt."""
    forged: list[bytes] = []
    async with (
        ordeal(system, "invented", forged=forged) as workload,
        system.http() as commands,
        system.http("projection") as queries,
    ):
        firm = await workload.register(commands, "dynamics")
        account_id = str(uuid4())
        account: Json = {"account_id": account_id, "name": "Rossi"}
        await workload.give(commands, firm, "CreateAccount", {"id": account_id, "name": "Russo", "new_contacts": []})
        await workload.give(commands, firm, "ChangeAccount", account)
        for part in GROUPS:
            await system.caught_up(part)
        processes = [system.running(part) for part in GROUPS]

        last = (await log_of(system, firm, commands))[-1]
        busy = workload.firms[0].tenant
        beyond = last | {"id": str(uuid4()), "tenant": busy, "position": FAR_BEYOND}
        comes_next = last | {"id": str(uuid4()), "position": last["position"] + 1}
        forged += [json.dumps(beyond).encode(), json.dumps(comes_next).replace("Rossi", "Forged").encode()]
        await publish(system.kafka.bootstrap, TOPIC, busy, forged[:1])
        await publish(system.kafka.bootstrap, TOPIC, firm.tenant, forged[1:])
        for part in GROUPS:
            await system.held(part, firm.tenant)
        await workload.give(commands, firm, "ChangeAccount", account | {"name": "Verdi"})
        await workload.more(30)
        for other in workload.firms:
            if other is not firm:
                await system.caught_up(PROJECT, [other.tenant])
        assert await name_and_held(system, firm, account_id, queries) == ("Forged", True)
        assert [system.running(part) for part in GROUPS] == processes

        await system.task("projection", "rebuild", "--tenant", firm.tenant)
        await system.task("notifier", "rebuild", "--tenant", firm.tenant)
        for part in GROUPS:
            await system.caught_up(part, [firm.tenant])
        assert await name_and_held(system, firm, account_id, queries) == ("Verdi", False)


async def test_an_event_store_restored_from_an_older_state_holds_the_tenants_that_lost_events(system: System) -> None:
    """Tenants that lost nothing go on at once, the others once they are rebuilt."""
    workload = Workload(system, "restored")
    async with system.http() as commands, system.http("projection") as queries:
        accounts = {}
        for _ in range(2):
            firm = await workload.register(commands, "dynamics")
            accounts[firm.tenant] = account_id = str(uuid4())
            await workload.give(
                commands, firm, "CreateAccount", {"id": account_id, "name": "Rossi", "new_contacts": []}
            )
        lost, kept = workload.firms
        async with kept_aside(system):
            for name in ("Russo", "Bianchi"):
                await workload.give(
                    commands, lost, "ChangeAccount", {"account_id": accounts[lost.tenant], "name": name}
                )
            for part in GROUPS:
                await system.caught_up(part)
        for part in GROUPS:
            await system.held(part, lost.tenant)
        for firm in workload.firms:
            await workload.give(commands, firm, "ChangeAccount", {"account_id": accounts[firm.tenant], "name": "Verdi"})
        for part in GROUPS:
            await system.caught_up(part, [kept.tenant])
        assert await name_and_held(system, kept, accounts[kept.tenant], queries) == ("Verdi", False)
        assert await name_and_held(system, lost, accounts[lost.tenant], queries) == ("Bianchi", True)

        await system.task("projection", "rebuild")
        await system.task("notifier", "rebuild")
        for part in GROUPS:
            await system.caught_up(part)
        assert await name_and_held(system, lost, accounts[lost.tenant], queries) == ("Verdi", False)
    await system.drained()


@asynccontextmanager
async def kept_aside(system: System) -> AsyncIterator[None]:
    """Copy the event store, and put the copy in its place when the block ends."""
    admin = await asyncpg.connect(system.postgres.url)
    try:
        await system.kill(SERVE, RELAY)
        await admin.execute("CREATE DATABASE kept_aside TEMPLATE vinculum_command")
        await system.start(SERVE, RELAY)
        yield
        await system.kill(SERVE, RELAY)
        await admin.execute("DROP DATABASE vinculum_command WITH (FORCE)")
        await admin.execute("ALTER DATABASE kept_aside RENAME TO vinculum_command")
        await admin.execute("GRANT CONNECT, TEMPORARY ON DATABASE vinculum_command TO vinculum_command")
        await system.start(SERVE, RELAY)
    finally:
        await admin.close()


async def log_of(system: System, firm: Firm, http: httpx2.AsyncClient) -> list[Json]:
    answer = await http.get("/v1/log", headers=system.bearer(firm.tenant, firm.admin_id))
    return [json.loads(line) for line in answer.content.splitlines()]


async def name_and_held(system: System, firm: Firm, account_id: str, http: httpx2.AsyncClient) -> tuple[str, bool]:
    answer = await http.get(f"/v1/accounts/{account_id}", headers=system.bearer(firm.tenant, firm.admin_id))
    assert answer.status_code == 200, answer.text
    account: Json = answer.json()
    return account["name"], account["held"]
