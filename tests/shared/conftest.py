"""A reader, with what it reads: a topic and a log."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from support import reading
from support.log_server import LogServer
from support.waiting import until
from vinculum_shared.kafka import ensure_topic


@pytest.fixture(autouse=True, scope="session")
def plain_tracebacks() -> None:
    """The pretty ones take seconds."""
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.stdlib.add_log_level, renderer])


@pytest.fixture
async def database(postgres: str) -> AsyncIterator[SecretStr]:
    async with reading.new_database(postgres) as url:
        connection = await asyncpg.connect(url.get_secret_value())
        await connection.execute(reading.TABLES)
        await connection.close()
        yield url


@pytest.fixture
async def topic(kafka: str) -> str:
    name = f"events-{uuid4().hex}"
    await ensure_topic(kafka, name, partitions=2, replicas=1)
    return name


@pytest.fixture
async def reader(
    database: SecretStr, kafka: str, topic: str, log: LogServer, tmp_path: Path
) -> AsyncIterator[reading.Reader]:
    async with reading.opened(database, kafka, topic, log.url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def known(reader: reading.Reader, kafka: str, topic: str, log: LogServer) -> reading.Reader:
    """A reader that has been here before, has applied one event of acme, and does not compare with the log."""
    async with reading.running(reader):
        await reading.publish(kafka, topic, "acme", reading.one_by_one(log.log("acme"), 1))
        await reader.reached("acme", 1)
        await until(reader.has_joined)
    reader.subscription.compare_seconds = 3_600.0
    log.pages.clear()
    return reader


@pytest.fixture
def no_log(log: LogServer) -> None:
    """The log can't be asked: what is applied came by the topic."""
    log.available = False
