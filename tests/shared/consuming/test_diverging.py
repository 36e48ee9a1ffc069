"""A topic that says something else than the log: whom that holds up, and whom not."""

import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from structlog.testing import capture_logs

from support import reading
from support.events import Log
from support.log_server import LogServer
from support.reading import COMPARE_SECONDS, Reader, linked, one_by_one, publish, running
from support.waiting import until
from vinculum_shared.consuming.backfill import ASK_PAUSE_SECONDS
from vinculum_shared.consuming.checkpoints import RejectedError
from vinculum_shared.consuming.event_log import Line

pytestmark = pytest.mark.integration


def forged(position: int, tenant: str = "acme") -> bytes:
    """Return an event that is in no log."""
    (line,) = one_by_one(Log(tenant), 1)
    return orjson.dumps(orjson.loads(line) | {"position": position})


@pytest.fixture
def comparing(known: Reader) -> Reader:
    """A reader that has been here before, and compares with the log."""
    known.subscription.compare_seconds = COMPARE_SECONDS
    return known


async def held(reader: Reader, tenant: str) -> None:
    await until(lambda: reader.is_held(tenant))


def forgeries_noticed() -> float:
    return REGISTRY.get_sample_value("vinculum_forgeries_noticed_total") or 0.0


async def test_a_record_beyond_the_log_is_dropped_and_nobody_waits_for_it(
    comparing: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    bolt = one_by_one(log.log("bolt"), 20)
    noticed = forgeries_noticed()
    with capture_logs() as logged:
        async with running(comparing):
            await publish(kafka, topic, "acme", [forged(1_000), forged(10**15)])
            await publish(kafka, topic, "bolt", bolt)
            await comparing.reached("bolt", 20)
            await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 5))
            await comparing.reached("acme", 6)
    assert await comparing.applied("acme") == [1, 2, 3, 4, 5, 6]
    assert not await comparing.is_held("acme")
    events = [each["event"] for each in logged]
    assert events.count("not_in_the_log") == forgeries_noticed() - noticed >= 1
    assert "subscription_interrupted" not in events
    assert events.count("partitions_claimed") == 1, "it has left its group"


async def test_however_many_such_records_come_the_log_is_asked_now_and_then(
    known: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    records = [forged(1_000, f"t{number}") for number in range(50)]
    began = time.monotonic()
    async with running(known):
        for _ in range(10):
            await publish(kafka, topic, "acme", records)
        await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 1))
        await known.reached("acme", 2)
    assert len(log.asked_about) < (time.monotonic() - began) / ASK_PAUSE_SECONDS + 3
    assert log.pages == []


async def test_a_commit_of_which_the_log_has_nothing_is_dropped(
    comparing: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    """Its rest would be waited for without end."""
    made_up = Log("acme")
    made_up.commit(linked())
    made_up.commit(linked(), linked())
    async with running(comparing):
        await publish(kafka, topic, "acme", made_up.lines[1:2])

        async def passed() -> bool:
            stored = await comparing.pool.fetch("SELECT next_offset FROM subscription_offset")
            return bool(sum(row["next_offset"] for row in stored) == 2)

        await until(passed)
        await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 1))
        await comparing.reached("acme", 2)
    assert not await comparing.is_held("acme")


async def test_a_forged_event_that_comes_next_holds_its_tenant_at_the_next_comparison(
    comparing: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    async with running(comparing):
        await publish(kafka, topic, "acme", [forged(2)])
        await held(comparing, "acme")
        await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 3))
        await publish(kafka, topic, "bolt", one_by_one(log.log("bolt"), 3))
        await comparing.reached("bolt", 3)
    assert await comparing.applied("acme") == [1, 2]


async def test_the_true_event_gives_away_the_forged_one_that_has_its_position(
    known: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    async with running(known):
        await publish(kafka, topic, "acme", [forged(2)])
        await known.reached("acme", 2)
        await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 3))
        await held(known, "acme")
    assert await known.applied("acme") == [1, 2]


async def test_a_forged_event_beside_the_true_one_is_not_believed(
    known: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    """Whichever comes first, in one batch with it or after it."""
    true = one_by_one(log.log("acme"), 3)
    await publish(kafka, topic, "acme", [forged(2), *true[:2], forged(3)])
    async with running(known):
        await known.reached("acme", 4)
        await publish(kafka, topic, "acme", [forged(4), *one_by_one(log.log("acme"), 1)])
        await known.reached("acme", 5)
    rows = await known.pool.fetch("SELECT stream FROM applied ORDER BY number")
    assert [row["stream"] for row in rows] == [each.stream for each in log.log("acme").recorded]
    assert not await known.is_held("acme")


@pytest.mark.parametrize("since_then", [0, 1, 5], ids=["shorter", "as long", "longer"])
async def test_a_log_restored_from_an_older_state_holds_the_tenants_that_it_lost_events_of(
    comparing: Reader, kafka: str, topic: str, log: LogServer, since_then: int
) -> None:
    for tenant in ("acme", "bolt"):
        await publish(kafka, topic, tenant, one_by_one(log.log(tenant), 3))
    async with running(comparing):
        await comparing.reached("acme", 4)
        await comparing.reached("bolt", 3)
        restored = log.log("acme")
        del restored.lines[3:], restored.recorded[3:]
        await publish(kafka, topic, "acme", one_by_one(restored, since_then) if since_then else [])
        await held(comparing, "acme")
        await publish(kafka, topic, "bolt", one_by_one(log.log("bolt"), 3))
        await comparing.reached("bolt", 6)
    assert await comparing.applied("acme") == [1, 2, 3, 4]


async def test_a_reader_that_starts_compares_what_it_applied_before(
    known: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    log.logs["acme"] = Log("acme")
    one_by_one(log.log("acme"), 5)
    async with running(known):
        await held(known, "acme")
    assert await known.applied("acme") == [1]


async def test_what_is_held_is_held_for_every_instance(known: Reader, log: LogServer) -> None:
    """One that has not noticed is turned away, like one that is behind."""
    await known.pool.execute("UPDATE subscription SET held = 'diverged'")
    (line,) = one_by_one(log.log("acme"), 1)
    with pytest.raises(RejectedError):
        await known.subscription.commit({"acme": 1}, [Line.read(line)], {})


async def test_a_log_that_cannot_be_read_keeps_its_own_tenant_waiting_alone(
    comparing: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    acme, bolt = one_by_one(log.log("acme"), 9), one_by_one(log.log("bolt"), 9)
    log.damaged.add("acme")
    with capture_logs() as logged:
        async with running(comparing):
            await publish(kafka, topic, "acme", acme[-1:])
            await publish(kafka, topic, "bolt", bolt[-1:])
            await comparing.reached("bolt", 9)
            assert await comparing.position("acme") == 1
            log.damaged.clear()
            await comparing.reached("acme", 10)
    assert "subscription_interrupted" not in [each["event"] for each in logged]
    assert await comparing.applied("acme") == list(range(1, 11))


async def test_a_new_reader_is_not_kept_from_starting_by_one_log_that_cannot_be_read(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    one_by_one(log.log("acme"), 3), one_by_one(log.log("bolt"), 3)
    log.damaged.add("acme")
    async with running(reader):
        await reader.reached("bolt", 3)
        log.damaged.clear()
        await reader.reached("acme", 3)


async def test_events_go_on_by_the_topic_while_a_gap_of_another_tenant_is_filled(
    known: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    acme: Sequence[bytes] = one_by_one(log.log("acme"), 9)
    log.stuck.add("acme")
    async with running(known):
        await publish(kafka, topic, "acme", acme[-1:])
        await until(lambda: asked_for(log, "acme"))
        await publish(kafka, topic, "bolt", one_by_one(log.log("bolt"), 3))
        await known.reached("bolt", 3)
        later = one_by_one(log.log("acme"), 5)
        await publish(kafka, topic, "acme", later)
        log.stuck.clear()
        await known.reached("acme", 15)
    assert await known.applied("acme") == list(range(1, 16))


async def asked_for(log: LogServer, tenant: str) -> bool:
    return [tenant] in log.asked_about


async def test_two_instances_that_fill_the_same_gap_apply_it_once(
    known: Reader, database: SecretStr, kafka: str, topic: str, log: LogServer, tmp_path: Path
) -> None:
    lines = one_by_one(log.log("acme"), 3_000)
    async with (
        reading.opened(database, kafka, topic, log.url, tmp_path, group="zombie") as zombie,
        running(known),
        running(zombie),
    ):
        await publish(kafka, topic, "acme", lines[-1:])
        await known.reached("acme", 3_001)
    assert await known.applied("acme") == list(range(1, 3_002))
