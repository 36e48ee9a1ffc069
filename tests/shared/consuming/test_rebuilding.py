"""A tenant is built anew from its log, while the reader runs."""

import pytest

from support.events import Log
from support.log_server import LogServer
from support.reading import COMPARE_SECONDS, Reader, linked, one_by_one, publish, running
from support.waiting import until
from vinculum_shared.consuming.rebuilding import RebuildInterruptedError
from vinculum_shared.contracts.links import ContactLinked
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.postgres import Connection

pytestmark = pytest.mark.integration


async def forget(db: Connection, tenant: str) -> None:
    await db.execute("DELETE FROM applied WHERE tenant = $1", tenant)


async def streams(reader: Reader, tenant: str) -> list[str]:
    rows = await reader.pool.fetch("SELECT stream FROM applied WHERE tenant = $1 ORDER BY number", tenant)
    return [row["stream"] for row in rows]


def of_log(log: Log) -> list[str]:
    return [each.stream for each in log.recorded]


@pytest.fixture
async def diverged(known: Reader, kafka: str, topic: str, log: LogServer) -> Reader:
    """A reader that has believed a forged event of acme."""
    known.subscription.compare_seconds = COMPARE_SECONDS
    async with running(known):
        await publish(kafka, topic, "acme", one_by_one(Log("acme"), 2)[1:])
        await until(lambda: known.is_held("acme"))
    one_by_one(log.log("acme"), 1_500)
    return known


async def test_it_has_what_its_log_has_and_goes_on_with_the_topic(
    diverged: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    async with running(diverged):
        await publish(kafka, topic, "bolt", one_by_one(log.log("bolt"), 3))
        await diverged.subscription.rebuild("acme", forget=forget)
        assert await streams(diverged, "acme") == of_log(log.log("acme"))
        assert not await diverged.is_held("acme")
        await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 3))
        await diverged.reached("acme", 1_504)
        await diverged.reached("bolt", 3)
    assert await streams(diverged, "acme") == of_log(log.log("acme"))
    assert await diverged.applied("bolt") == [1, 2, 3]


async def test_a_tenant_that_is_not_held_can_be_rebuilt_in_full_flow(
    known: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    known.subscription.compare_seconds = COMPARE_SECONDS
    async with running(known):
        for _ in range(5):
            await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 20))
            await known.subscription.rebuild("acme", forget=forget)
        await known.reached("acme", 101)
    assert await streams(known, "acme") == of_log(log.log("acme"))


async def test_one_that_is_interrupted_changes_nothing_and_can_be_repeated(diverged: Reader, log: LogServer) -> None:
    before = await streams(diverged, "acme")
    log.damaged.add("acme")
    with pytest.raises(RebuildInterruptedError):
        await diverged.subscription.rebuild("acme", forget=forget)
    assert await streams(diverged, "acme") == before
    assert await diverged.is_held("acme")
    log.damaged.clear()
    await diverged.subscription.rebuild("acme", forget=forget)
    assert await streams(diverged, "acme") == of_log(log.log("acme"))


async def test_without_a_name_all_that_are_held_are_rebuilt(diverged: Reader, log: LogServer) -> None:
    one_by_one(log.log("bolt"), 2)
    await diverged.pool.execute("INSERT INTO subscription (tenant, position, held) VALUES ('bolt', 7, 'diverged')")
    await diverged.pool.execute("INSERT INTO subscription (tenant, position) VALUES ('cork', 7)")
    await diverged.subscription.rebuild(None, forget=forget)
    assert [await diverged.position(tenant) for tenant in ("acme", "bolt", "cork")] == [1_501, 2, 7]


async def test_a_tenant_that_the_log_has_never_heard_of_is_gone(diverged: Reader, log: LogServer) -> None:
    log.logs.pop("acme")
    await diverged.subscription.rebuild("acme", forget=forget)
    assert await diverged.pool.fetch("TABLE subscription") == []
    assert await streams(diverged, "acme") == []


async def test_a_commit_larger_than_a_page_is_applied_whole(diverged: Reader, log: LogServer) -> None:
    log.log("acme").commit(*(linked() for _ in range(1_200)))
    await diverged.subscription.rebuild("acme", forget=forget)
    assert await diverged.position("acme") == 2_701


async def test_what_was_parked_is_tried_again(known: Reader, kafka: str, topic: str, log: LogServer) -> None:
    bad = ContactLinked(account_id=AccountId(linked().account_id), contact_id=ContactId(linked().contact_id))
    log.log("acme").commit(bad)
    known.poison[bad.stream] = ValueError()
    async with running(known):
        await publish(kafka, topic, "acme", log.log("acme").lines[1:])
        await known.reached("acme", 2)
    assert len(await known.parked()) == 1
    known.poison.clear()
    await known.subscription.rebuild("acme", forget=forget)
    assert (await known.parked(), await known.applied("acme")) == ([], [1, 2])
