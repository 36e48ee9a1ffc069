"""How far behind the log a reader says that it is, and that it finds what the topic does not bring."""

from datetime import datetime
from uuid import uuid4

import httpx2
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from support.log_server import LogServer
from support.reading import Reader, publish, running
from support.waiting import until
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.contracts.links import ContactLinked
from vinculum_shared.contracts.values import AccountId, ContactId

pytestmark = pytest.mark.integration


def recorded(log: LogServer, tenant: str, count: int) -> list[bytes]:
    for _ in range(count):
        log.log(tenant).commit(ContactLinked(account_id=AccountId(uuid4()), contact_id=ContactId(uuid4())))
    return log.log(tenant).lines[-count:]


def time_of(line: bytes) -> datetime:
    return Line.read(line).recorded_at


async def test_the_lag_is_what_is_not_applied_and_the_age_that_of_the_oldest(reader: Reader, log: LogServer) -> None:
    assert await reader.subscription.left() == (0, None)
    first, *_ = recorded(log, "acme", 3)
    recorded(log, "bolt", 2)
    assert await reader.subscription.left() == (5, time_of(first))
    async with running(reader):
        await reader.reached("acme", 3)
        await reader.reached("bolt", 2)
    assert await reader.subscription.left() == (0, None)


async def test_a_lag_that_can_not_be_asked_for_is_not_nothing(reader: Reader, log: LogServer) -> None:
    log.available = False
    with pytest.raises(httpx2.HTTPError):
        await reader.subscription.left()


async def test_while_the_topic_is_gone_events_are_read_from_the_log_at_once(
    reader: Reader, kafka: str, topic: str, log: LogServer
) -> None:
    """Though the reader compares itself with the log only once in a long while when all is well."""
    async with running(reader):
        await publish(kafka, topic, "acme", recorded(log, "acme", 5))
        await reader.reached("acme", 5)
        await until(reader.has_joined)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_topics([topic])
        await admin.close()
        reader.subscription.compare_seconds = 3_600.0
        recorded(log, "acme", 5)
        await reader.reached("acme", 10)
    assert await reader.applied("acme") == list(range(1, 11))
