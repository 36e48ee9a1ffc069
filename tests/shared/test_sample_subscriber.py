"""The example subscriber, as a process of its own that is killed and paused."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg
import pytest

from support import reading
from support.log_server import LogServer
from support.reading import publish
from support.waiting import until
from vinculum_shared.contracts.links import ContactLinked
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.postgres import Connection

SUBSCRIBER: Final = Path(__file__).parents[2] / "samples" / "subscriber.py"
PROOF: Final = """
    SELECT position, sum(events) AS events, sum(positions) AS positions
    FROM subscription JOIN counted USING (tenant) WHERE tenant = 'acme' GROUP BY 1"""


class Subscribers:
    """Processes of the example that share one database, and the topic that feeds them."""

    def __init__(self, arguments: list[str], log: LogServer, database: Connection) -> None:
        self.arguments = arguments
        self.log = log.log("acme")
        self.database = database
        self.processes: list[Process] = []

    async def start(self, group: str, failpoints: str = "") -> Process:
        environment = os.environ | {"VINCULUM_FAILPOINTS": failpoints}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SUBSCRIBER), *self.arguments, group, env=environment, stdout=DEVNULL
        )
        self.processes.append(process)
        return process

    async def publish(self, count: int) -> None:
        bootstrap, topic = self.arguments[1], self.arguments[4]
        for _ in range(count):
            self.log.commit(ContactLinked(account_id=AccountId(uuid4()), contact_id=ContactId(uuid4())))
        await publish(bootstrap, topic, "acme", self.log.lines[-count:])

    async def each_event_once(self, position: int) -> None:
        async def there() -> bool:
            return await self.reached() >= position

        await until(there)
        proof = await self.database.fetchrow(PROOF)
        assert proof is not None
        assert tuple(proof) == (position, position, position * (position + 1) // 2)

    async def reached(self) -> int:
        if not await self.database.fetchval("SELECT to_regclass('subscription')"):
            return 0
        return await self.database.fetchval("SELECT position FROM subscription WHERE tenant = 'acme'") or 0


@pytest.fixture
async def subscribers(
    postgres: str, kafka: str, topic: str, log: LogServer, tmp_path: Path
) -> AsyncIterator[Subscribers]:
    (tmp_path / "token").write_text("token")
    async with reading.new_database(postgres) as url:
        connection = await asyncpg.connect(url.get_secret_value())
        arguments = [url.get_secret_value(), kafka, log.url, str(tmp_path / "token"), topic]
        subscribers = Subscribers(arguments, log, connection)
        yield subscribers
        for process in subscribers.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await connection.close()


@pytest.mark.integration
async def test_the_example_counts_each_event_once_and_stops_when_it_is_told_to(subscribers: Subscribers) -> None:
    process = await subscribers.start("counting")
    await subscribers.publish(100)
    await subscribers.each_event_once(100)
    process.terminate()
    assert await process.wait() == 0


@pytest.mark.faults
@pytest.mark.parametrize("moment", ["polled", "moved", "applied", "committed"])
async def test_killed_at_any_moment_it_goes_on_without_a_miss_or_a_double(
    subscribers: Subscribers, moment: str
) -> None:
    """Each life joins as another group: where to go on is in its own database, Kafka need not know."""
    published = 0
    for life in range(1, 4):
        process = await subscribers.start(f"life-{life}", f"subscription.{moment}=kill@{life}")
        while process.returncode is None:
            await subscribers.publish(10)
            published += 10
        assert process.returncode == -signal.SIGKILL
    await subscribers.start("last-life")
    await subscribers.each_event_once(published)


@pytest.mark.faults
async def test_paused_past_its_session_it_finds_that_another_has_gone_on(subscribers: Subscribers) -> None:
    zombie = await subscribers.start("counting")
    await subscribers.publish(50)
    await subscribers.each_event_once(50)
    zombie.send_signal(signal.SIGSTOP)
    await subscribers.publish(50)
    await subscribers.start("counting")
    await subscribers.each_event_once(100)
    zombie.send_signal(signal.SIGCONT)
    for position in range(150, 400, 50):
        await subscribers.publish(50)
        await subscribers.each_event_once(position)
    assert zombie.returncode is None
