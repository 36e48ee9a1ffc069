"""The relay, from the event store to acknowledgements, beside a producer that has the same records in memory."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, LiteralString

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from firms import executing, linking, registered
from measuring import Bar, Result, Sample, Size, Variant, interleaved, profiled, ratios, timed
from servers import PARTITIONS, Servers
from vinculum_command import reading, relay
from vinculum_command.database import BY_INDEX, log_pool
from vinculum_command.lease import Lease
from vinculum_command.settings import Settings
from vinculum_shared import kafka
from vinculum_shared.postgres import Connection

TENANTS: Final = {"1 tenant": ["one"], "12 tenants": [f"twelve-{number}" for number in range(12)]}
EVENTS: Final = 80_000
MADE: Final = 1_200  # by commands; the others are their copies
SIDE: Final = 40
CONDITIONS: Final = (
    "The relay reads the log, puts the events together, sends them and moves its positions; the bare producer has the "
    "records in memory and sends them to the same partitions. Both: zstd, acks=all, idempotent."
)

COPY: LiteralString = """
    INSERT INTO events SELECT tenant, position + n * 100000, id, type, stream, stream_version + n, recorded_at,
        effective_at, account_id, contact_id, attributes, data, personal
    FROM events, generate_series(1, $2::int) AS n WHERE tenant = ANY ($1) AND type = 'ContactLinked'"""
COUNT: LiteralString = """
    UPDATE tenants SET last_position = (SELECT max(position) FROM events WHERE events.tenant = tenants.tenant)
    WHERE tenant = ANY ($1)"""
RELAYED: LiteralString = "INSERT INTO relayed SELECT tenant, last_position FROM tenants ON CONFLICT DO NOTHING"
MOVE_BACK: LiteralString = "UPDATE relayed SET position = 0 WHERE tenant = ANY ($1)"
UNSENT: LiteralString = "SELECT sum(last_position - position) FROM tenants JOIN relayed USING (tenant)"
LOG: LiteralString = f"""
    SELECT tenant, (extract(epoch FROM recorded_at) * 1000)::bigint AS at, {reading.WIRE} AS event
    FROM events WHERE tenant = ANY ($2) AND ($3::text IS NULL OR type = $3) ORDER BY tenant, position"""  # noqa: S608  WIRE is a constant

Records = dict[int, list[dict[str, Any]]]
"""By partition, as a batch takes them."""


async def measure(servers: Servers, size: Size) -> Result:
    settings = await servers.command("relaying")
    settings = settings.model_copy(update={"topic": await servers.topic()})
    active = relay.Relay(settings, asyncio.Event())
    producer = kafka.producer(settings.kafka_bootstrap, "benchmark")
    await producer.start()
    one = await log_pool(settings.database_url, size=1, unsafe_durability=False, server_settings=BY_INDEX)
    variants: dict[str, Variant] = {}
    try:
        async with one as pool, pool.acquire() as db, servers.admin("relaying") as admin:
            await Lease(db, active.holder).take()
            for tenants, names in TENANTS.items():
                await write_log(settings, admin, names, int(EVENTS * size.share))
                records = await by_partition(admin, names)
                count = sum(map(len, records.values()))

                async def relayed(names: list[str] = names, count: int = count) -> Sample:
                    await admin.execute(MOVE_BACK, names)
                    active.ring(frozenset(names))
                    sample = await timed(count, lambda: active.send_news(db, producer))
                    assert await admin.fetchval(UNSENT) == 0
                    return sample

                async def sent(records: Records = records, count: int = count) -> Sample:
                    return await timed(count, lambda: send_all(producer, settings.topic, records))

                variants |= {f"relay, {tenants}": relayed, f"bare producer, {tenants}": sent}
            samples = await interleaved(size.rounds, variants)
            result = Result("The relay", "events/s", samples, bars(samples), CONDITIONS)
            if result.missed("P7"):
                result.profiles |= {name: await profiled(variants[name]) for name in variants if "relay" in name}
    finally:
        await producer.stop()
    return result


def bars(samples: dict[str, list[Sample]]) -> list[Bar]:
    return [
        Bar(
            "P7",
            f"relay / bare producer, {tenants}",
            ratios(samples[f"relay, {tenants}"], samples[f"bare producer, {tenants}"]),
            0.5,
            at_least=True,
        )
        for tenants in TENANTS
    ]


async def write_log(settings: Settings, admin: Connection, tenants: list[str], events: int) -> None:
    async with executing(settings) as executor:
        orders = linking(*[await registered(executor, tenant, SIDE) for tenant in tenants])
        await asyncio.gather(*(executor.execute(order) for order in islice(orders, MADE)))
    await admin.execute(COPY, tenants, events // MADE)
    await admin.execute(COUNT, tenants)
    await admin.execute(RELAYED)
    await admin.execute("ANALYZE events")


async def by_partition(admin: Connection, tenants: list[str], type_: str | None = None) -> Records:
    choose, partitions = DefaultPartitioner(), list(range(PARTITIONS))
    records: Records = {}
    for row in await admin.fetch(LOG, relay.WITH_PERSONAL, tenants, type_):
        key = row["tenant"].encode()
        record = {"key": key, "value": row["event"], "timestamp": row["at"], "headers": relay.HEADERS}
        records.setdefault(choose(key, partitions, partitions), []).append(record)
    return records


async def send_all(producer: AIOKafkaProducer, topic: str, records: Records) -> None:
    await asyncio.gather(*(send(producer, topic, partition, own) for partition, own in records.items()))


async def send(producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[dict[str, Any]]) -> None:
    under_way = []
    batch = producer.create_batch()
    for record in records:
        if batch.append(**record) is None:
            under_way.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(**record)
    under_way.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*under_way)
