"""The relay: what it puts on the topic, and what it does when Kafka or its own connection fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pydantic import SecretStr

from support import servers
from support.commands import Store, event_store
from support.databases import as_admin
from support.waiting import until
from vinculum_command import metrics, relay
from vinculum_command.database import BY_INDEX, log_pool
from vinculum_command.domain.accounts import CreateAccount
from vinculum_command.settings import Settings
from vinculum_devstack.processes import Processes
from vinculum_shared import kafka as topics
from vinculum_shared import supervision
from vinculum_shared.contracts import envelope
from vinculum_shared.metrics import scrape
from vinculum_shared.postgres import Connection

pytestmark = pytest.mark.integration

PARTITIONS = 3


@pytest.fixture
async def store(postgres: str) -> AsyncIterator[Store]:
    async with event_store(postgres) as store:
        yield store


@pytest.fixture
def settings(store: Store, kafka: str) -> Settings:
    return Settings(
        database_url=store.url,
        kafka_bootstrap=kafka,
        topic=f"events-{uuid4().hex}",
        topic_partitions=PARTITIONS,
        jwks="",
        address_key=SecretStr("a"),
        invitation_key=SecretStr("i"),
        unsafe_durability=True,
    )


@asynccontextmanager
async def relaying(settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(relay.relay(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def records(settings: Settings, count: int, tenant: str | None = None) -> list[ConsumerRecord]:
    """Read the topic from its beginning until so many records have come."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(settings.topic, partition) for partition in range(settings.topic_partitions)])
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(120):
            while len(found) < count:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += [record for record in batch if tenant in {None, record.key.decode()}]
        return found
    finally:
        await consumer.stop()


async def positions(store: Store) -> dict[str, int]:
    async with await log_pool(store.url, unsafe_durability=True) as pool:
        return {row["tenant"]: row["position"] for row in await pool.fetch("SELECT * FROM relayed")}


async def relayed_up_to(store: Store, expected: dict[str, int]) -> None:
    async def there() -> bool:
        return await positions(store) == expected

    await until(there)


async def test_every_event_is_on_the_topic_in_the_log_s_order_and_form(store: Store, settings: Settings) -> None:
    async with relaying(settings):
        for tenant in ("a", "b", "c"):
            await store.register(tenant, "dynamics")
        await asyncio.gather(
            *(store.give(tenant, CreateAccount(name=str(n))) for n in range(200) for tenant in ("a", "b", "c"))
        )
        found = await records(settings, 609)
    for tenant in ("a", "b", "c"):
        own = [record for record in found if record.key == tenant.encode()]
        assert len({record.partition for record in own}) == 1
        # What was sent again, where an acknowledgement was late, comes after what it repeats.
        events = {event.position: event for event in reversed([envelope.decode(record.value) for record in own])}
        assert [events[position] for position in sorted(events)] == await store.log(tenant)
        firsts = list(dict.fromkeys(envelope.decode(record.value).position for record in own))
        assert firsts == sorted(firsts)
    first = found[0]
    assert first.headers == (("content-type", b"application/cloudevents+json"),)
    since_1970 = envelope.decode(first.value).recorded_at - datetime(1970, 1, 1, tzinfo=UTC)
    assert first.timestamp == since_1970 // timedelta(milliseconds=1)


async def test_a_slice_ends_with_the_event_that_fills_it(store: Store) -> None:
    await store.register("a", "dynamics")
    for size in (10, 2_500, 10, 10, 6_000, 10):
        await store.give("a", CreateAccount(name="x", details={"text": "x" * size}))
    slices: list[list[bytes]] = []
    async with await log_pool(store.url, unsafe_durability=True) as pool:
        while rows := await pool.fetch(relay.UNSENT, relay.WITH_PERSONAL, ["a"], [sum(map(len, slices))], 100, 2_000):
            slices.append(rows[0]["events"])
    found = [envelope.decode(event) for events in slices for event in events]
    assert found == await store.log("a")
    assert [len(events) for events in slices] == [5, 3, 1]


async def test_the_lag_is_what_is_stored_and_not_sent(store: Store, settings: Settings) -> None:
    async with await log_pool(store.url, unsafe_durability=True) as pool:
        assert await relay.left(pool) == (0, None)
        for tenant in ("a", "b"):
            await store.register(tenant, "dynamics")
        assert await relay.left(pool) == (6, (await store.log("a"))[0].recorded_at)
        async with relaying(settings):
            await relayed_up_to(store, {"a": 3, "b": 3})
        assert await relay.left(pool) == (0, None)


async def test_a_relay_whose_kafka_is_paused_says_that_it_waits_and_shows_the_age_of_what_is_unsent(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    bootstrap = await servers.own_kafka(tmp_path)
    processes = Processes(tmp_path)
    broker = processes.running("kafka")
    assert broker

    async def waits() -> bool:
        return supervision.unready()[1].get(relay.SENDER) == "Kafka"

    async def goes_on() -> bool:
        return not await waits()

    try:
        async with relaying(settings.model_copy(update={"kafka_bootstrap": bootstrap})):
            await store.register("a", "dynamics")
            await relayed_up_to(store, {"a": 3})
            await until(goes_on)
            broker.suspend()
            await store.register("b", "dynamics")
            recorded_at = (await store.log("b"))[0].recorded_at
            await until(waits, relay.SEND_DEADLINE_SECONDS)
            waited_seconds = (datetime.now(UTC) - recorded_at).total_seconds()
            shown = dict(line.rsplit(" ", 1) for line in (await scrape()).decode().splitlines() if line[0] != "#")
            assert (shown["vinculum_relay_lag_events"], shown["vinculum_relay_lag_known"]) == ("3.0", "1.0")
            assert float(shown["vinculum_relay_lag_seconds"]) >= waited_seconds
            broker.resume()
            await relayed_up_to(store, {"a": 3, "b": 3})
            await until(goes_on)
    finally:
        broker.resume()
        await processes.stop("kafka")


async def test_tenants_with_much_to_send_take_turns(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "EVENTS_AT_ONCE", 1)
    monkeypatch.setattr(relay, "TENANTS_AT_ONCE", 1)
    for tenant in ("a", "b"):
        await store.register(tenant, "dynamics")
    one_partition = settings.model_copy(update={"topic_partitions": 1})
    async with relaying(one_partition):
        found = await records(one_partition, 6)
    assert [record.key.decode() for record in found] in (["a", "b"] * 3, ["b", "a"] * 3)


async def test_a_new_start_goes_on_where_the_last_one_had_acknowledgements(store: Store, settings: Settings) -> None:
    await store.register("a", "dynamics")
    async with relaying(settings):
        await relayed_up_to(store, {"a": 3})
    await store.give("a", CreateAccount(name="x"))
    async with relaying(settings):
        await relayed_up_to(store, {"a": 4})
    found = await records(settings, 4)
    assert [envelope.decode(record.value).position for record in found] == [1, 2, 3, 4]


@pytest.mark.parametrize("bytes_at_once", [relay.BYTES_AT_ONCE, 1], ids=["in one slice", "an event a slice"])
async def test_nothing_is_sent_past_an_event_that_kafka_refuses(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, bytes_at_once: int
) -> None:
    monkeypatch.setattr(relay, "BYTES_AT_ONCE", bytes_at_once)
    await topics.ensure_topic(settings.kafka_bootstrap, settings.topic, partitions=PARTITIONS, replicas=1)
    await limit(settings, 3_000)
    await store.register("a", "dynamics")
    noise: dict[str, Any] = {str(n): uuid4().hex + uuid4().hex + uuid4().hex for n in range(90)}
    async with relaying(settings):
        await relayed_up_to(store, {"a": 3})
        await store.give("a", CreateAccount(name="large", details=noise))
        await store.give("a", CreateAccount(name="small"))
        before = restarts()

        async def failed() -> bool:
            return restarts() > before

        await until(failed)
        assert await positions(store) == {"a": 3}
        await limit(settings, 1_000_000)
        await relayed_up_to(store, {"a": 5})
    found = await records(settings, 5)
    firsts = list(dict.fromkeys(envelope.decode(record.value).position for record in found))
    assert firsts == [1, 2, 3, 4, 5]


def restarts() -> float:
    return float(metrics.RELAY_RESTARTS._value.get())


async def limit(settings: Settings, size: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        config = {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic, config)])
    finally:
        await admin.close()


async def test_a_clock_that_was_ahead_stops_nothing(store: Store, settings: Settings, postgres: str) -> None:
    await store.register("a", "dynamics")
    async with as_admin(postgres, store.url) as admin:
        await admin.execute("UPDATE tenants SET last_recorded_at = now() + interval '2 hours'")
    await store.give("a", CreateAccount(name="A"))
    async with relaying(settings):
        await relayed_up_to(store, {"a": 4})


async def test_one_relay_is_active_and_goes_on_when_its_connections_are_cut(
    store: Store, settings: Settings, postgres: str
) -> None:
    await store.register("a", "dynamics")
    async with relaying(settings), relaying(settings), as_admin(postgres, store.url) as admin:
        await relayed_up_to(store, {"a": 3})
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'vinculum-command-log'"
        )
        await store.give("a", CreateAccount(name="x"))
        await relayed_up_to(store, {"a": 4})


async def test_a_relay_that_ends_hands_over_to_a_standby(store: Store, settings: Settings) -> None:
    await store.register("a", "dynamics")
    async with relaying(settings):
        async with relaying(settings):
            await relayed_up_to(store, {"a": 3})
        await store.give("a", CreateAccount(name="x"))
        await relayed_up_to(store, {"a": 4})


async def test_a_doorbell_has_only_those_looked_at_whom_it_names(
    store: Store, settings: Settings, postgres: str
) -> None:
    for tenant in ("rung", "quiet"):
        await store.register(tenant, "dynamics")
    async with relaying(settings):
        await relayed_up_to(store, {"rung": 3, "quiet": 3})
        await store.give("rung", CreateAccount(name="A"))
        await relayed_up_to(store, {"rung": 4, "quiet": 3})
        async with as_admin(postgres, store.url) as admin:
            await admin.execute("DELETE FROM relayed WHERE tenant = 'quiet'")
        await store.give("rung", CreateAccount(name="B"))
        await relayed_up_to(store, {"rung": 5})


async def test_a_doorbell_reads_the_same_rows_however_many_tenants_are_idle(
    store: Store, settings: Settings, postgres: str
) -> None:
    await store.register("busy", "dynamics")
    one = await log_pool(store.url, size=1, unsafe_durability=True, server_settings=BY_INDEX)
    async with one as pool, pool.acquire() as db:
        few = await rows_read(db)
        await idle(store, postgres, 10_000)
        many = await rows_read(db)
    assert few == many


async def rows_read(db: Connection) -> list[float]:
    """Tell how many rows each step of the relay's statement gives, from Postgres itself."""
    explain = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) {relay.UNSENT}"
    plan = await db.fetch(explain, relay.WITH_PERSONAL, ["busy"], [None], 100, 100_000)
    return [float(row[0].partition("rows=")[2].split()[0]) for row in plan if "rows=" in row[0]]


async def idle(store: Store, postgres: str, count: int) -> None:
    async with as_admin(postgres, store.url) as admin:
        await admin.execute("INSERT INTO tenants SELECT 'idle-' || n, 5 FROM generate_series(1, $1) AS n", count)
        await admin.execute("INSERT INTO relayed SELECT 'idle-' || n, 5 FROM generate_series(1, $1) AS n", count)
