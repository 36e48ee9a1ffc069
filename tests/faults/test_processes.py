"""Each part of the system is killed -9 while commands are given: at its worst moments, and at any."""

import asyncio
import random
from typing import Final

import pytest

from support.ordeal import ROUNDS, judge, ordeal
from support.system import DELIVER, PROJECT, RELAY, ROUTE, SECOND, SERVE, System
from support.waiting import until
from support.workload import Workload, a_new_contact, an_id

pytestmark = pytest.mark.faults

WORST_MOMENTS: Final = {
    SERVE: ("execute.before_append", "execute.after_append"),
    RELAY: ("relay.acknowledged", "relay.moved"),
    PROJECT: ("subscription.applied",),
    ROUTE: ("subscription.committed",),
    DELIVER: ("deliver.claimed", "deliver.accepted"),
}


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("part", WORST_MOMENTS)
async def test_killing_a_part_loses_doubles_and_reorders_nothing(system: System, part: str, round_: int) -> None:
    chance = random.Random(f"{part}:{round_}")  # noqa: S311  the same kills for the same round
    kills = 1 + len(WORST_MOMENTS[part])
    async with ordeal(system, f"{part}:{round_}", extra_copies=kills if part == DELIVER else 0) as workload:
        await workload.more(chance.randint(1, 60))
        await system.kill(part)
        for moment in WORST_MOMENTS[part]:
            await system.die_at(part, f"{moment}=kill@{chance.randint(1, 10)}")
        await system.start(part)


async def test_what_the_relay_sends_twice_is_taken_once(system: System) -> None:
    async with ordeal(system, "twice", expecting=("sent again",)) as workload:
        for _ in range(3):
            async with system.sql("command") as db:
                await db.execute("UPDATE relayed SET position = greatest(0, position - 50)")
            await workload.more(20)


async def test_a_standby_takes_over_from_a_paused_relay_which_then_moves_nothing(system: System) -> None:
    """One is paused between an acknowledgement and the move of its positions until its lease has been lost."""

    async def told() -> bool:
        return "LeaseLostError" in system.processes.log(RELAY).read_text()

    async with ordeal(system, "two relays", expecting=("sent again",)) as workload:
        await system.kill(RELAY)
        await system.stop_at(RELAY, "relay.acknowledged=stop@5,relay.moved=kill@5")
        await system.start(RELAY + SECOND)
        await system.caught_up(PROJECT)
        system.go_on(RELAY)
        await until(told)
        await workload.more(50)
        assert system.running(RELAY), "the paused relay moved its positions"
        await system.kill(RELAY + SECOND)


async def test_an_archive_of_more_links_than_one_commit_takes_is_finished_by_the_next_process(system: System) -> None:
    """The process is killed after the account's own commit, before the next slice, and after that."""
    workload, chance = Workload(system, 0), random.Random(0)  # noqa: S311
    await system.kill(DELIVER)  # or it would send thousands of invitations first
    async with system.http() as http, asyncio.TaskGroup() as group:
        firm = await workload.register(http, "zoho")
        account_id = an_id(chance)
        await workload.give(http, firm, "CreateAccount", {"id": account_id, "name": "Large", "new_contacts": []})
        contacts = [a_new_contact(chance) for _ in range(LINKS)]
        for start in range(0, LINKS, AT_ONCE):
            new = [{"new_contact": contact} for contact in contacts[start : start + AT_ONCE]]
            await workload.give(http, firm, "LinkContacts", {"account_id": account_id, "contacts": new})
            logins = [
                {"account_id": account_id, "contact_id": contact["id"], "email_id": contact["emails"][0]["id"]}
                for contact in contacts[start : start + AT_ONCE]
            ]
            commands = [("SetPortalAccess", login | {"login": True}) for login in logins]
            await workload.give_together(http, firm, commands)
        await system.kill(SERVE)
        archive = workload.give(http, firm, "ArchiveAccount", {"account_id": account_id})
        group.create_task(archive)
        for moment in ("execute.after_append", "execute.before_append", "execute.after_append"):
            await system.die_at(SERVE, f"{moment}=kill")
        assert await states(system, firm.tenant) != {"suspended": LINKS}
        await system.start(SERVE)

        async def all_suspended() -> bool:
            return await states(system, firm.tenant) == {"suspended": LINKS}

        await until(all_suspended)
        assert (await workload.give(http, firm, "ArchiveAccount", {"account_id": account_id})).answer
    await system.start(DELIVER)
    await judge(system, workload, expecting=("acknowledged", "events", "records", "rows", "due mails", "unclear"))


LINKS: Final = 2_500
AT_ONCE: Final = 200


async def states(system: System, tenant: str) -> dict[str, int]:
    """How many links of the tenant have access in which state, as the log's last word on each says."""
    async with system.sql("command") as db:
        return dict(
            await db.fetch(
                """SELECT state, count(*) FROM (
                    SELECT DISTINCT ON (stream) data->>'to' AS state FROM events
                    WHERE tenant = $1 AND type = 'PortalAccessChanged' ORDER BY stream, position DESC) AS last
                GROUP BY 1""",
                tenant,
            )
        )
