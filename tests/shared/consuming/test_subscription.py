"""The reading protocol, on a real Postgres and a real Kafka."""

from pathlib import Path
from uuid import uuid4

import asyncpg
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupLoadInProgressError
from pydantic import SecretStr

from support import reading
from support.log_server import LogServer
from support.reading import Reader, linked, one_by_one, publish, running
from support.waiting import until
from vinculum_shared.consuming.checkpoints import RejectedError
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.kafka import ensure_topic

pytestmark = pytest.mark.integration


async def test_events_are_applied_in_the_order_of_their_positions(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    async with running(reader):
        for tenant in ("acme", "bolt"):
            await publish(kafka, topic, tenant, one_by_one(log.log(tenant), 50))
        await reader.reached("acme", 50)
        await reader.reached("bolt", 50)
    assert await reader.applied("acme") == await reader.applied("bolt") == list(range(1, 51))


async def test_an_event_that_comes_again_is_dropped(reader: Reader, kafka: str, topic: str, log: LogServer) -> None:
    first = one_by_one(log.log("acme"), 5)
    async with running(reader):
        for lines in (first, first, [*first, *one_by_one(log.log("acme"), 1)]):
            await publish(kafka, topic, "acme", lines)
        await reader.reached("acme", 6)
    assert await reader.applied("acme") == [1, 2, 3, 4, 5, 6]


async def test_an_event_that_comes_twice_in_one_batch_is_applied_once(
    known: Reader, kafka: str, topic: str, log: LogServer, no_log: None
) -> None:
    """A relay that starts again after a failure sends again what it had sent."""
    lines = one_by_one(log.log("acme"), 9)
    await publish(kafka, topic, "acme", [*lines[:6], *lines[:6], *lines[3:], *lines])
    async with running(known):
        await known.reached("acme", 10)
    assert await known.applied("acme") == list(range(1, 11))


async def test_a_reader_that_starts_again_goes_on_where_it_was(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    for count in (3, 6, 9):
        async with running(reader):
            await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 3))
            await reader.reached("acme", count)
    assert await reader.applied("acme") == list(range(1, 10))


async def test_what_the_topic_lacks_is_fetched_from_the_log(
    known: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    lines = one_by_one(log.log("acme"), 2_499)
    async with running(known):
        await publish(kafka, topic, "acme", lines[-5:])
        await known.reached("acme", 2_500)
    assert await known.applied("acme") == list(range(1, 2_501))
    assert log.pages == ["1", "1001", "2001"]


async def test_a_gap_of_one_tenant_is_no_matter_of_another(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    acme, bolt = one_by_one(log.log("acme"), 10), one_by_one(log.log("bolt"), 10)
    async with running(reader):
        await publish(kafka, topic, "acme", [*acme[:3], *acme[7:]])
        await publish(kafka, topic, "bolt", bolt)
        await reader.reached("acme", 10)
        await reader.reached("bolt", 10)
    assert await reader.applied("acme") == await reader.applied("bolt") == list(range(1, 11))


async def test_a_commit_that_comes_in_two_batches_is_applied_as_one(
    known: Reader, kafka: str, topic: str, log: LogServer, no_log: None
) -> None:
    log.log("acme").commit(linked(), linked(), linked())
    commit = log.log("acme").lines[1:]
    async with running(known):
        await publish(kafka, topic, "acme", commit[:2])
        await publish(kafka, topic, "bolt", one_by_one(log.log("bolt"), 1))
        await known.reached("bolt", 1)
        assert await known.position("acme") == 1
        await publish(kafka, topic, "acme", commit[2:])
        await known.reached("acme", 4)
    assert known.batches[-1] == 3


async def test_a_reader_that_stops_in_the_middle_of_a_commit_reads_it_whole_the_next_time(
    known: Reader, kafka: str, topic: str, log: LogServer, no_log: None
) -> None:
    log.log("acme").commit(linked(), linked())
    async with running(known):
        await publish(kafka, topic, "acme", log.log("acme").lines[1:2])
        await publish(kafka, topic, "bolt", one_by_one(log.log("bolt"), 1))
        await known.reached("bolt", 1)
    async with running(known):
        await publish(kafka, topic, "acme", log.log("acme").lines[2:])
        await known.reached("acme", 3)
    assert await known.applied("acme") == [1, 2, 3]


async def test_a_commit_larger_than_a_page_of_the_log_is_applied_whole(reader: Reader, log: LogServer) -> None:
    log.log("acme").commit(*(linked() for _ in range(1_200)))
    async with running(reader):
        await reader.reached("acme", 1_200)
    assert 1_200 in reader.batches


async def test_a_new_reader_takes_the_past_from_the_log_in_bulk_and_goes_on_with_the_topic(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    for tenant in ("acme", "bolt", "cork"):
        await publish(kafka, topic, tenant, one_by_one(log.log(tenant), 800))
    async with running(reader):
        for tenant in ("acme", "bolt", "cork"):
            await publish(kafka, topic, tenant, one_by_one(log.log(tenant), 10))
            await reader.reached(tenant, 810)
    for tenant in ("acme", "bolt", "cork"):
        assert await reader.applied(tenant) == list(range(1, 811))
    assert log.pages[0] == ":0"
    assert log.pages[1].startswith("bolt:")


async def test_an_idle_reader_notices_that_the_tail_of_the_topic_was_lost(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    lines = one_by_one(log.log("acme"), 10)
    async with running(reader):
        await publish(kafka, topic, "acme", lines[:7])
        await reader.reached("acme", 10)
    assert await reader.applied("acme") == list(range(1, 11))


async def test_a_topic_made_anew_loses_nothing(reader: Reader, kafka: str, topic: str, log: LogServer) -> None:
    async with running(reader):
        await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 30))
        await reader.reached("acme", 30)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_topics([topic])
        one_by_one(log.log("acme"), 5)
        await reader.reached("acme", 35)
        await until(lambda: gone(admin, topic))
        await admin.close()
        await ensure_topic(kafka, topic, partitions=2, replicas=1)
        await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 5))
        await reader.reached("acme", 40)
    assert await reader.applied("acme") == list(range(1, 41))


async def test_a_reader_waits_for_the_topic(
    no_log: None, database: SecretStr, kafka: str, log: LogServer, tmp_path: Path
) -> None:
    topic = group = f"events-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()

    async def in_group() -> bool:
        try:
            return group in {name for name, *_ in await admin.list_consumer_groups()}
        except GroupLoadInProgressError:  # it was the first to ask
            return False

    async with reading.opened(database, kafka, topic, log.url, tmp_path, group) as reader, running(reader):
        await until(in_group)
        await ensure_topic(kafka, topic, partitions=2, replicas=1)
        await until(reader.has_joined)
        await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 5))
        await reader.reached("acme", 5)
    await admin.close()


async def gone(admin: AIOKafkaAdminClient, topic: str) -> bool:
    return topic not in await admin.list_topics()


async def test_two_that_both_believe_to_own_the_topic_apply_each_event_once(
    reader: Reader, database: SecretStr, kafka: str, topic: str, log: LogServer, tmp_path: Path
) -> None:
    """Members of different groups: each is given every partition, as a zombie believes it still has its own."""
    async with (
        reading.opened(database, kafka, topic, log.url, tmp_path, group="zombie") as zombie,
        running(reader),
        running(zombie),
    ):
        for _ in range(40):
            for tenant in ("acme", "bolt"):
                await publish(kafka, topic, tenant, one_by_one(log.log(tenant), 5))
        await reader.reached("acme", 200)
        await reader.reached("bolt", 200)
    assert await reader.applied("acme") == await reader.applied("bolt") == list(range(1, 201))


async def test_an_instance_that_is_paused_in_the_middle_of_a_transaction_is_cut_off(
    known: Reader, database: SecretStr, kafka: str, topic: str, log: LogServer, tmp_path: Path
) -> None:
    """Postgres itself would let it hold its locks for good: it has begun a statement, and does not count as idle."""
    async with (
        reading.opened(database, kafka, topic, log.url, tmp_path, statement_timeout_ms=2_000) as patient,
        known.subscription.pool.acquire() as paused,
    ):
        transaction = paused.transaction()
        await transaction.start()
        await paused.execute("SELECT FROM subscription WHERE tenant = 'acme' FOR UPDATE")
        await paused.prepare("SELECT 1")
        async with running(patient):
            await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 5))
            await patient.reached("acme", 6)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await transaction.commit()
    assert await known.applied("acme") == [1, 2, 3, 4, 5, 6]


async def test_a_batch_decided_on_old_positions_is_rejected_whole(reader: Reader, log: LogServer) -> None:
    lines = [Line.read(line) for tenant in ("acme", "bolt") for line in one_by_one(log.log(tenant), 2)]
    await reader.subscription.commit({"acme": 0}, lines[:1], {})
    with pytest.raises(RejectedError):
        await reader.subscription.commit({"acme": 0, "bolt": 0}, lines, {0: 17})
    assert (await reader.applied("acme"), await reader.applied("bolt")) == ([1], [])
    assert await reader.pool.fetch("TABLE subscription_offset") == []


async def test_an_assignment_that_can_not_be_claimed_now_is_claimed_later(
    known: Reader, kafka: str, topic: str, log: LogServer, no_log: None
) -> None:
    """Left to itself, aiokafka swallows what its listener raises and goes on from somewhere else."""

    async def waiting() -> bool:
        return bool(await known.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async def given_up() -> bool:
        return not await waiting()

    async with known.pool.acquire() as connection, running(known):
        async with connection.transaction():
            await connection.execute("LOCK TABLE subscription_offset")
            await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 5))
            await until(waiting)
            await until(given_up)
            assert await known.position("acme") == 1
        await known.reached("acme", 6)
    assert await known.applied("acme") == [1, 2, 3, 4, 5, 6]


async def test_a_log_that_cannot_be_asked_stops_nobody_who_misses_nothing(
    known: Reader, kafka: str, topic: str, log: LogServer, no_log: None
) -> None:
    known.subscription.compare_seconds = 0.1
    async with running(known):
        for count in (11, 21, 31):
            await publish(kafka, topic, "acme", one_by_one(log.log("acme"), 10))
            await known.reached("acme", count)
    assert await known.applied("acme") == list(range(1, 32))


async def test_what_is_no_event_is_passed_over(known: Reader, kafka: str, topic: str, log: LogServer) -> None:
    lines = one_by_one(log.log("acme"), 2)
    async with running(known):
        await publish(kafka, topic, "acme", [b"", b"[1]", b'{"tenant": "acme"}', lines[0], b"\xff", lines[1]])
        await known.reached("acme", 3)
    assert await known.applied("acme") == [1, 2, 3]


@pytest.mark.parametrize(
    "forged",
    [
        {"id": "1"},
        {"id": None},
        {"time": "yesterday"},
        {"time": "2026-01-01T00:00:00"},
        {"type": None},
        {"type": "vinculum.\0.v1"},
        {"tenant": "\0"},
        {"subject": "link/\0"},
        {"position": 0},
        {"commitindex": 2},
        {"commitindex": -1},
    ],
    ids=str,
)
async def test_a_record_that_only_resembles_an_event_is_passed_over(
    known: Reader, kafka: str, topic: str, log: LogServer, no_log: None, forged: dict[str, object]
) -> None:
    """Postgres takes no NUL, for one: what the reader itself stores has to be looked at before it is stored."""
    (line,) = one_by_one(log.log("acme"), 1)
    await publish(kafka, topic, "acme", [orjson.dumps(orjson.loads(line) | forged), line])
    async with running(known):
        await known.reached("acme", 2)
    assert await known.applied("acme") == [1, 2]


async def test_freshness_says_how_far_behind_the_log_a_tenant_is(known: Reader, log: LogServer) -> None:
    one_by_one(log.log("acme"), 3)
    behind = await known.subscription.freshness("acme")
    assert (behind.position, behind.lag_events) == (1, 3)
    assert behind.lag_seconds > 0
    current = await known.subscription.freshness("nobody")
    assert (current.position, current.lag_events, current.lag_seconds) == (0, 0, 0.0)
