"""Topics, producers and consumers, as the services set them up."""

import asyncio
import socket
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, NoOffsetForPartitionError

from vinculum_shared import kafka as module
from vinculum_shared.kafka import PartitionsDifferError, ensure_topic

pytestmark = pytest.mark.integration


@pytest.fixture
def name() -> str:
    return f"events-{uuid4().hex}"


async def test_a_topic_is_made_with_its_settings(kafka: str, name: str) -> None:
    await ensure_topic(kafka, name, partitions=3, replicas=1)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    ((_, _, _, _, entries),) = answer.resources
    settings = {setting: value for setting, value, *_ in entries}
    assert await module.partition_count(admin, name) == 3
    await admin.close()
    assert settings["retention.ms"] == "2592000000"
    assert settings["max.message.bytes"] == "1048576"
    assert settings["min.insync.replicas"] == "1"
    assert settings["cleanup.policy"] == "delete"


async def test_a_topic_that_is_there_is_left_as_it_is(kafka: str, name: str) -> None:
    await asyncio.gather(*(ensure_topic(kafka, name, partitions=3, replicas=1) for _ in range(3)))
    await ensure_topic(kafka, name, partitions=3, replicas=1)


async def test_another_number_of_partitions_is_refused(kafka: str, name: str) -> None:
    await ensure_topic(kafka, name, partitions=3, replicas=1)
    with pytest.raises(PartitionsDifferError, match="3 partitions and not 4"):
        await ensure_topic(kafka, name, partitions=4, replicas=1)


async def test_what_the_broker_refuses_is_raised(kafka: str, name: str) -> None:
    with pytest.raises(InvalidReplicationFactorError):
        await ensure_topic(kafka, name, partitions=1, replicas=7)


async def test_a_broker_that_never_comes_is_not_waited_for_without_end(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.0):
            await ensure_topic(f"127.0.0.1:{port}", name, partitions=1, replicas=1)


async def test_a_consumer_without_an_offset_fails_rather_than_start_somewhere(kafka: str, name: str) -> None:
    await ensure_topic(kafka, name, partitions=1, replicas=1)
    consumer = module.consumer(kafka, "test", group=name)
    await consumer.start()
    consumer.assign([TopicPartition(name, 0)])
    with pytest.raises(NoOffsetForPartitionError):
        await consumer.getmany(timeout_ms=5_000)
    await consumer.stop()


async def test_what_a_producer_sends_arrives_in_order(kafka: str, name: str) -> None:
    await ensure_topic(kafka, name, partitions=1, replicas=1)
    producer = module.producer(kafka, "test")
    await producer.start()
    for n in range(500):
        await producer.send(name, b"%d" % n, key=b"acme")
    await producer.stop()
    consumer = module.consumer(kafka, "test", group=name)
    await consumer.start()
    consumer.assign([TopicPartition(name, 0)])
    consumer.seek(TopicPartition(name, 0), 0)
    values: list[bytes] = []
    while len(values) < 500:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            values += [record.value for record in records]
    await consumer.stop()
    assert values == [b"%d" % n for n in range(500)]
