"""A reader with a database and a topic of its own, which notes what it applies and in what order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
from pydantic import SecretStr

from support.events import Log
from support.waiting import until
from vinculum_shared import kafka
from vinculum_shared.consuming.event_log import EventLog, open_log
from vinculum_shared.consuming.subscription import Subscription
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.links import ContactLinked
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.postgres import Connection, Pool, columns, connect_pool
from vinculum_shared.token_file import TokenFile

TABLES: Final = (
    files("vinculum_shared.consuming").joinpath("subscription.sql").read_text()
    + """
    CREATE TABLE applied (number bigserial, tenant text, position bigint, stream text, stream_version bigint)"""
)
NOTE: Final = """
    INSERT INTO applied (tenant, position, stream, stream_version)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[])"""
COMPARE_SECONDS: Final = 0.5


@asynccontextmanager
async def new_database(admin_url: str) -> AsyncIterator[SecretStr]:
    name = f"reader_{uuid4().hex}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        yield SecretStr(urlsplit(admin_url)._replace(path=f"/{name}").geturl())
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


class Reader:
    def __init__(
        self,
        pool: Pool,
        own_pool: Pool,
        event_log: EventLog,
        bootstrap: str,
        topic: str,
        group: str,
        security: kafka.Security,
    ) -> None:
        self.pool = pool
        """For the test to look at what the reader does on its own."""
        self.subscription = Subscription(
            own_pool,
            event_log,
            self.apply,
            bootstrap=bootstrap,
            security=security,
            topic=topic,
            group=group,
            compare_seconds=COMPARE_SECONDS,
        )
        self.poison: dict[str, Exception] = {}
        """What applying an event of a stream raises."""
        self.attempts = 0
        self.batches: list[int] = []

    async def apply(self, connection: Connection, events: Sequence[Recorded[Event]]) -> None:
        self.attempts += 1
        rows = [(event.tenant, event.position, event.stream, event.stream_version) for event in events]
        await connection.execute(NOTE, *columns(rows, 4))
        for event in events:
            if event.stream in self.poison:
                raise self.poison[event.stream]
        self.batches.append(len(events))

    async def position(self, tenant: str) -> int:
        return await self.pool.fetchval("SELECT position FROM subscription WHERE tenant = $1", tenant) or 0

    async def reached(self, tenant: str, position: int) -> None:
        async def there() -> bool:
            return await self.position(tenant) >= position

        await until(there)

    async def has_joined(self) -> bool:
        """Whether it has been given partitions, ever: a new reader begins them at their ends."""
        return bool(await self.pool.fetchval("SELECT EXISTS (SELECT FROM subscription_offset)"))

    async def applied(self, tenant: str) -> list[int]:
        rows = await self.pool.fetch("SELECT position FROM applied WHERE tenant = $1 ORDER BY number", tenant)
        return [row["position"] for row in rows]

    async def is_held(self, tenant: str) -> bool:
        return await self.pool.fetchval("SELECT held FROM subscription WHERE tenant = $1", tenant) is not None

    async def parked(self) -> list[tuple[int, str]]:
        return [(row["position"], row["reason"]) for row in await self.pool.fetch("TABLE parked ORDER BY position")]


def linked() -> ContactLinked:
    return ContactLinked(account_id=AccountId(uuid4()), contact_id=ContactId(uuid4()))


def one_by_one(log: Log, count: int) -> Sequence[bytes]:
    """The lines of so many more commits of one event each."""
    for _ in range(count):
        log.commit(linked())
    return log.lines[-count:]


@asynccontextmanager
async def opened(
    url: SecretStr,
    bootstrap: str,
    topic: str,
    log_url: str,
    folder: Path,
    group: str = "reader",
    security: kafka.Security = kafka.OPEN,
    statement_timeout_ms: int = 30_000,
) -> AsyncIterator[Reader]:
    (folder / "token").write_text("token")
    async with (
        await connect_pool(url, application_name="test", size=2, unsafe_durability=True) as pool,
        await connect_pool(
            url,
            application_name="reader",
            size=4,
            statement_timeout_ms=statement_timeout_ms,
            lock_timeout_ms=500,
            unsafe_durability=True,
        ) as own_pool,
        open_log(log_url, TokenFile(folder / "token")) as event_log,
    ):
        yield Reader(pool, own_pool, event_log, bootstrap, topic, group, security)


@asynccontextmanager
async def running(reader: Reader) -> AsyncIterator[Reader]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(reader.subscription.run(stop))
        try:
            yield reader
        finally:
            stop.set()


async def publish(
    bootstrap: str, topic: str, tenant: str, lines: Sequence[bytes], security: kafka.Security = kafka.OPEN
) -> None:
    producer = kafka.producer(bootstrap, "test", security)
    await producer.start()
    try:
        for line in lines:
            await producer.send(topic, line, key=tenant.encode())
        await producer.flush()
    finally:
        await producer.stop()
