"""Two of the servers are away at a time, one after the other, while the services run on.

`make test` tries the pairs that were the worst, `make faults` all of them, and with the limit that is promised.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import permutations, product
from typing import Any, Final, get_args
from uuid import uuid4

import pytest
import structlog

from support.links import Kind, LinkedSystem, Server
from support.ordeal import ROUNDS
from support.system import running_system
from support.waiting import until
from support.workload import Firm, Workload

log = structlog.get_logger()

pytestmark = [pytest.mark.faults]

Outage = tuple[Server, Kind]

ALONE_SECONDS: Final = 12.0  # past the session of a reader in its group
TOGETHER_SECONDS: Final = 4.0
ALL: Final[list[tuple[Outage, Outage]]] = [
    ((first, how), (second, how_too))
    for first, second in permutations(get_args(Server), 2)
    for how, how_too in product(get_args(Kind), repeat=2)
]
WORST: Final[list[tuple[Outage, Outage]]] = [
    (("kafka", "stopped"), ("postgres", "stopped")),
    (("kafka", "stopped"), ("postgres", "cut")),
    (("kafka", "paused"), ("postgres", "paused")),
    (("postgres", "paused"), ("kafka", "cut")),
    (("postgres", "stopped"), ("command", "stopped")),
    (("command", "paused"), ("kafka", "stopped")),
]
ROWS, FRESH_SECONDS_MAX = (ALL, 10.0) if ROUNDS > 1 else (WORST, 60.0)


@pytest.fixture(scope="module")
async def linked_system() -> AsyncIterator[LinkedSystem]:
    async with running_system(LinkedSystem) as system:
        yield system


@pytest.fixture
async def system(linked_system: LinkedSystem) -> LinkedSystem:
    await linked_system.heal()
    return linked_system


@pytest.mark.parametrize(("first", "second"), ROWS, ids="-".join)
async def test_reads_topic_and_ledger_are_fresh_again_once_the_last_server_is_back(
    system: LinkedSystem, first: Outage, second: Outage
) -> None:
    workload = Workload(system, 0)
    async with system.http() as http, asyncio.TaskGroup() as group:
        firm = await workload.register(http, "dynamics")
        await system.drained()
        await system.begin(*first)
        meanwhile = group.create_task(workload.give(http, firm, "CreateAccount", account()))
        await lasted(ALONE_SECONDS)
        await system.begin(*second)
        await lasted(TOGETHER_SECONDS)
        await system.end(*first)
        await system.end(*second)
        back = time.monotonic()
        await workload.give(http, firm, "CreateAccount", account())
        await readable(system, firm, firm.accounts[-1])
        await system.drained()
        seconds = time.monotonic() - back
        await meanwhile
        await readable(system, firm, *firm.accounts)
    log.info("fresh_again", first="-".join(first), second="-".join(second), seconds=round(seconds, 1))
    assert seconds < FRESH_SECONDS_MAX
    await until(system.all_ready)


def account() -> dict[str, Any]:
    return {"id": str(uuid4()), "name": "Alfa", "new_contacts": []}


async def lasted(seconds: float) -> None:
    await asyncio.sleep(seconds)  # how long an outage lasts is part of it


async def readable(system: LinkedSystem, firm: Firm, *accounts: str) -> None:
    """Wait until the projection shows the accounts."""
    headers = system.bearer(firm.tenant, firm.admin_id)
    async with system.http("projection") as http:

        async def shown() -> bool:
            answers = [await http.get(f"/v1/accounts/{each}", headers=headers) for each in accounts]
            return all(answer.is_success for answer in answers)

        await until(shown)
