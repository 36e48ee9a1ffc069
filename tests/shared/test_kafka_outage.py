"""A broker of the test's own, which goes away and comes back."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from support import reading, servers
from support.log_server import LogServer
from support.reading import publish, running
from support.waiting import until
from vinculum_devstack.processes import Processes
from vinculum_shared.contracts.links import ContactLinked
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.kafka import ensure_topic

pytestmark = pytest.mark.faults


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Processes]:
    processes = Processes(tmp_path / "broker")
    yield processes
    await processes.stop(*processes.names())


def record(log: LogServer, count: int) -> list[bytes]:
    acme = log.log("acme")
    for _ in range(count):
        acme.commit(ContactLinked(account_id=AccountId(uuid4()), contact_id=ContactId(uuid4())))
    return acme.lines[-count:]


async def test_while_the_broker_is_away_the_log_is_read_and_afterwards_the_topic_again(
    broker: Processes, database: SecretStr, log: LogServer, tmp_path: Path
) -> None:
    bootstrap = await servers.own_kafka(tmp_path / "broker")
    await ensure_topic(bootstrap, "events", partitions=2, replicas=1)
    async with reading.opened(database, bootstrap, "events", log.url, tmp_path) as reader, running(reader):
        await until(reader.has_joined)
        await publish(bootstrap, "events", "acme", record(log, 10))
        await reader.reached("acme", 10)

        await broker.stop("kafka")
        for position in (20, 30):
            record(log, 10)
            await reader.reached("acme", position)

        assert await servers.own_kafka(tmp_path / "broker") == bootstrap
        log.available = False
        await publish(bootstrap, "events", "acme", record(log, 10))
        await reader.reached("acme", 40)
        assert await reader.applied("acme") == list(range(1, 41))
