"""What happens to events that can't be applied."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from support.events import Log
from support.log_server import LogServer
from support.reading import Reader, publish, running
from support.waiting import until
from vinculum_shared.consuming import parking
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.consuming.rebuilding import RebuildInterruptedError
from vinculum_shared.contracts.links import ContactLinked, ContactUnlinked, LinkTerms
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.postgres import Connection

pytestmark = pytest.mark.integration

ACCOUNT = AccountId(UUID(int=1))
BAD, GOOD = (ContactLinked(account_id=ACCOUNT, contact_id=ContactId(UUID(int=n))) for n in (1, 2))
BAD_LATER = ContactUnlinked(account_id=ACCOUNT, contact_id=BAD.contact_id, before=LinkTerms())


def commits(log: Log, *events: ContactLinked | ContactUnlinked) -> list[bytes]:
    for event in events:
        log.commit(event)
    return log.lines


async def test_the_event_at_fault_is_parked_and_its_neighbours_are_applied(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    reader.poison[BAD.stream] = ValueError("Mario Rossi")
    lines = commits(log.log("acme"), *[GOOD] * 30, BAD, *[GOOD] * 30)
    async with running(reader):
        await publish(kafka, topic, "acme", lines)
        await reader.reached("acme", 61)
    assert await reader.applied("acme") == [n for n in range(1, 62) if n != 31]
    ((position, reason),) = await reader.parked()
    assert position == 31
    assert reason.startswith("The event can't be applied. (reading.py:")


async def test_later_events_of_the_stream_are_parked_behind_it(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    reader.poison[BAD.stream] = KeyError("name")
    async with running(reader):
        await publish(kafka, topic, "acme", commits(log.log("acme"), GOOD, BAD, GOOD, BAD_LATER))
        await reader.reached("acme", 4)
        reader.poison.clear()
        log.log("acme").commit(BAD)
        log.log("acme").commit(GOOD)
        await publish(kafka, topic, "acme", log.log("acme").lines[4:])
        await reader.reached("acme", 6)
    assert await reader.applied("acme") == [1, 3, 6]
    assert [position for position, _ in await reader.parked()] == [2, 4, 5]
    assert [reason for _, reason in await reader.parked()][1:] == [parking.BEHIND] * 2


async def test_the_same_stream_of_another_tenant_is_not_held_up(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    reader.poison[BAD.stream] = ValueError()
    async with running(reader):
        await publish(kafka, topic, "acme", commits(log.log("acme"), BAD))
        await reader.reached("acme", 1)
        reader.poison.clear()
        await publish(kafka, topic, "bolt", commits(log.log("bolt"), BAD))
        await reader.reached("bolt", 1)
    assert await reader.applied("bolt") == [1]


async def test_what_the_database_refuses_is_parked_with_the_constraint(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    await reader.pool.execute("ALTER TABLE applied ADD CONSTRAINT not_the_second CHECK (position <> 2)")
    async with running(reader):
        await publish(kafka, topic, "acme", commits(log.log("acme"), GOOD, BAD, GOOD))
        await reader.reached("acme", 3)
    ((position, reason),) = await reader.parked()
    assert position == 2
    assert reason.startswith("The database does not take it: applied not_the_second. (")


async def test_an_event_of_a_version_from_the_future_is_parked(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    lines = commits(log.log("acme"), GOOD, BAD, GOOD)
    lines[1] = lines[1].replace(b"contact_linked.v1", b"contact_linked.v2")
    async with running(reader):
        await publish(kafka, topic, "acme", lines)
        await reader.reached("acme", 3)
    ((position, reason),) = await reader.parked()
    assert (position, reason.partition(".")[0]) == (2, "This release does not know this version of the event's type")


async def test_replay_applies_in_order_what_was_parked(reader: Reader, kafka: str, topic: str, log: LogServer) -> None:
    reader.poison[BAD.stream] = ValueError()
    async with running(reader):
        await publish(kafka, topic, "acme", commits(log.log("acme"), BAD, GOOD, BAD_LATER, BAD))
        await reader.reached("acme", 4)
        reader.poison.clear()
        assert await reader.subscription.replay("acme", BAD.stream) == 0
        log.log("acme").commit(BAD_LATER)
        await publish(kafka, topic, "acme", log.log("acme").lines[4:])
        await reader.reached("acme", 5)
    assert await reader.applied("acme") == [2, 1, 3, 4, 5]
    assert await reader.parked() == []


async def test_replay_stops_at_what_still_cannot_be_applied(reader: Reader, log: LogServer) -> None:
    await reader.pool.execute("ALTER TABLE applied ADD CONSTRAINT not_the_second CHECK (position <> 2)")
    lines = [Line.read(line) for line in commits(log.log("acme"), BAD, BAD_LATER, BAD)]
    reader.poison[BAD.stream] = ValueError()
    await reader.subscription.commit({"acme": 0}, lines, {})
    reader.poison.clear()
    assert await reader.subscription.replay("acme", BAD.stream) == 2
    assert await reader.applied("acme") == [1]
    (second, third) = await reader.parked()
    assert second[1].startswith("The database does not take it: applied not_the_second.")
    assert third[1] == parking.BEHIND


async def test_an_outage_parks_nothing(reader: Reader, kafka: str, topic: str, log: LogServer) -> None:
    reader.poison[BAD.stream] = ConnectionError()
    async with running(reader):
        await publish(kafka, topic, "acme", commits(log.log("acme"), GOOD, BAD, GOOD))

        async def tried_again() -> bool:
            return reader.attempts > 1

        await until(tried_again)
        assert await reader.position("acme") == 0
        reader.poison.clear()
        await reader.reached("acme", 3)
    assert await reader.applied("acme") == [1, 2, 3]
    assert await reader.parked() == []


async def test_a_backend_that_is_terminated_in_the_middle_parks_nothing(
    reader: Reader, kafka: str, topic: str, log: LogServer, postgres: str
) -> None:
    admin = await asyncpg.connect(postgres)
    async with running(reader):
        for count in range(10, 60, 10):
            log.log("acme").commit(*[GOOD] * 10)
            await publish(kafka, topic, "acme", log.log("acme").lines[-10:])
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reader'"
            )
            await reader.reached("acme", count)
    await admin.close()
    assert await reader.applied("acme") == list(range(1, 51))
    assert await reader.parked() == []


async def test_a_fault_of_the_program_stops_the_reader(reader: Reader, kafka: str, topic: str, log: LogServer) -> None:
    reader.poison[BAD.stream] = TypeError("a fault")
    commits(log.log("acme"), BAD)
    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="a fault")):
        await reader.subscription.run(asyncio.Event())
    assert (await reader.position("acme"), await reader.parked()) == (0, [])


async def test_too_much_that_cannot_be_applied_holds_its_tenant(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    await reader.pool.execute("ALTER TABLE applied ADD CONSTRAINT nothing CHECK (tenant <> 'acme')")
    contacts = [ContactId(UUID(int=n)) for n in range(parking.STREAMS_MAX + 1)]
    links = [ContactLinked(account_id=ACCOUNT, contact_id=contact_id) for contact_id in contacts]
    async with running(reader):
        await publish(kafka, topic, "acme", commits(log.log("acme"), *links))
        await publish(kafka, topic, "bolt", commits(log.log("bolt"), GOOD))
        await until(lambda: reader.is_held("acme"))
        await reader.reached("bolt", 1)
    assert len(await reader.parked()) <= parking.STREAMS_MAX
    assert len(await reader.parked()) == await reader.position("acme")
    with pytest.raises(RebuildInterruptedError):
        await reader.subscription.rebuild("acme", forget=nothing)
    await reader.pool.execute("ALTER TABLE applied DROP CONSTRAINT nothing")
    await reader.subscription.rebuild("acme", forget=nothing)
    assert (await reader.position("acme"), await reader.parked()) == (len(links), [])


async def nothing(_: Connection, tenant: str) -> None:
    """There is nothing to forget."""
