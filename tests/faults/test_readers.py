"""Readers that are paused until the group has given them up, and events that can't be applied."""

from typing import cast
from uuid import uuid4

import httpx2
import pytest

from support.history import Json
from support.ordeal import ordeal
from support.reading import publish
from support.system import GROUPS, PROJECT, RELAY, SECOND, System
from support.workload import Firm, Workload
from vinculum_notifier.consume import apply
from vinculum_notifier.database import worker_pool
from vinculum_notifier.settings import Settings
from vinculum_shared.consuming import parking
from vinculum_shared.consuming.event_log import open_log
from vinculum_shared.settings import TOPIC
from vinculum_shared.token_file import TokenFile

pytestmark = pytest.mark.faults


async def test_readers_paused_past_their_sessions_apply_nothing_twice(system: System) -> None:
    """Others take over; the first ones wake up with what they had polled, are turned away, and take over again."""
    async with ordeal(system, "paused") as workload:
        await system.kill(*GROUPS)
        for part in GROUPS:
            await system.stop_at(part, "subscription.polled=stop@4")
        await system.start(*(part + SECOND for part in GROUPS))
        for part in GROUPS:
            await system.caught_up(part)
            system.go_on(part)
        await workload.more(60)
        await system.kill(*(part + SECOND for part in GROUPS))
        for group in GROUPS.values():
            await system.end_memberships(group)


async def test_a_link_to_an_account_that_the_projection_lacks_holds_up_nothing_else(system: System) -> None:
    async with ordeal(system, "lacking") as workload, system.http() as commands, system.http("projection") as queries:
        firm, account_id, contact_id = await a_link_to_be(workload, commands)
        await system.caught_up(PROJECT)
        async with system.sql("projection") as db:
            row = await db.fetchval(
                "DELETE FROM accounts WHERE account_id = $1 RETURNING to_jsonb(accounts)", account_id
            )
        pair = {"account_id": account_id, "contact_id": contact_id}
        await workload.give(commands, firm, "PutLink", pair)
        await workload.give(commands, firm, "SetPortalAccess", pair | {"login": True})
        await system.caught_up(PROJECT)

        parked = await parked_events(system, firm, queries)
        assert [(each["stream"], each["type"]) for each in parked] == [
            (f"link/{account_id}/{contact_id}", "ContactLinked"),
            (f"link/{account_id}/{contact_id}", "PortalAccessChanged"),
        ]
        async with system.sql("projection") as db:
            await db.execute("INSERT INTO accounts SELECT * FROM jsonb_populate_record(NULL::accounts, $1)", row)
        assert await replayed(system, firm, queries, parked[0]) == 0


async def test_records_that_are_no_events_of_ours_hold_up_nothing_else(system: System) -> None:
    """Noise is passed over; an event in a version that nobody knows is parked, and read from the log when replayed."""
    forged: list[bytes] = [b"", b"[1]", b"\xff", b'{"tenant": "nobody"}']
    async with (
        ordeal(system, "forged", forged=forged) as workload,
        system.http() as commands,
        system.http("projection") as queries,
    ):
        firm, account_id, _ = await a_link_to_be(workload, commands)
        for part in GROUPS:
            await system.caught_up(part)
        await system.kill(RELAY)
        await workload.give(commands, firm, "ChangeAccount", {"account_id": account_id, "name": "Another name"})
        log = await commands.get("/v1/log", headers=system.bearer(firm.tenant, firm.admin_id))
        line = log.content.splitlines()[-1]
        forged.append(line.replace(b"account_changed.v1", b"account_changed.v9"))
        await publish(system.kafka.bootstrap, TOPIC, firm.tenant, forged)
        for part in GROUPS:
            await system.caught_up(part, (firm.tenant,))
        await system.start(RELAY)
        await workload.more(30)
        for part in GROUPS:
            await system.caught_up(part)

        (parked,) = await parked_events(system, firm, queries)
        assert (parked["stream"], parked["type"]) == (f"account/{account_id}", "AccountChanged")
        assert await replayed(system, firm, queries, parked) == 0
        assert await replayed_by_notifier(system, firm, parked["stream"]) == 0


async def a_link_to_be(workload: Workload, http: httpx2.AsyncClient) -> tuple[Firm, str, str]:
    """A tenant that nothing else is done to, its account and a contact that is not linked."""
    firm = await workload.register(http, "dynamics")
    account_id, contact_id = str(uuid4()), str(uuid4())
    email = {"id": str(uuid4()), "address": "anna@example.com"}
    await workload.give(http, firm, "CreateAccount", {"id": account_id, "name": "Rossi", "new_contacts": []})
    await workload.give(http, firm, "CreateContact", {"id": contact_id, "emails": [email], "link_accounts": []})
    return firm, account_id, contact_id


async def parked_events(system: System, firm: Firm, http: httpx2.AsyncClient) -> list[Json]:
    answer = await http.get("/v1/parked", headers=system.bearer(firm.tenant, firm.admin_id))
    assert answer.status_code == 200, answer.text
    return cast(list[Json], answer.json()["items"])


async def replayed(system: System, firm: Firm, http: httpx2.AsyncClient, parked: Json) -> int:
    """Have an operator replay what is parked; gives how much is left of it."""
    answer = await http.post(f"/v1/parked/{parked['id']}/replay", headers=system.bearer(firm.tenant, firm.admin_id))
    assert answer.status_code == 200, answer.text
    return cast(int, answer.json()["left"])


async def replayed_by_notifier(system: System, firm: Firm, stream: str) -> int:
    """The notifier has no route for it."""
    settings = system.settings(Settings)
    token = TokenFile(settings.service_token_file)
    async with await worker_pool(settings, 2) as pool, open_log(settings.command_url, token) as log:
        return await parking.replay(pool, log, apply, firm.tenant, stream)
