"""Postgres, Kafka and other processes: started, found again, stopped and killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from vinculum_devstack import ports
from vinculum_devstack.folder import prepare, read_json, write_json
from vinculum_devstack.kafka import Kafka
from vinculum_devstack.postgres import Postgres
from vinculum_devstack.problems import StackError
from vinculum_devstack.processes import Part, Processes, Program

pytestmark = pytest.mark.integration

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]


async def at_once() -> bool:
    return True


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    prepare(tmp_path)
    processes = Processes(tmp_path)
    yield processes
    await processes.stop(*processes.names())


def kill(processes: Processes, name: str) -> None:
    process = processes.running(name)
    assert process
    process.send_signal(signal.SIGKILL)


async def test_another_one_finds_and_stops_what_was_started(processes: Processes) -> None:
    await processes.bring_up(Part(Program("sleeper", FOREVER), at_once))
    other = Processes(processes.data)
    assert other.running("sleeper")
    await other.stop("sleeper")
    assert processes.running("sleeper") is None
    assert processes.names() == []


async def test_a_pid_that_has_gone_to_somebody_else_is_left_alone(processes: Processes) -> None:
    own = psutil.Process()
    record = {"pid": own.pid, "started": own.create_time() - 3_600, "stop_signal": signal.SIGKILL, "digest": ""}
    write_json(processes.data / "run" / "sleeper.json", record)
    assert processes.running("sleeper") is None
    await processes.stop("sleeper")
    assert os.getpid() == own.pid


async def test_other_settings_are_told_from_the_same(processes: Processes) -> None:
    await processes.bring_up(Part(Program("sleeper", FOREVER, {"A": "1"}), at_once))
    assert processes.runs_as(Program("sleeper", FOREVER, {"A": "1"}))
    assert not processes.runs_as(Program("sleeper", FOREVER, {"A": "2"}))


async def test_what_ends_while_it_starts_leaves_its_last_words(processes: Processes) -> None:
    async def never() -> bool:
        return False

    failing = Program("failing", [sys.executable, "-c", "raise SystemExit('out of luck')"])
    with pytest.raises(StackError, match="out of luck"):
        await processes.bring_up(Part(failing, never))


async def test_postgres_keeps_its_data_over_kill_9_even_with_a_backend_left_busy(processes: Processes) -> None:
    server = Postgres(processes.data / "postgres", ports.free(), password="pass-phrase")
    await processes.bring_up(server.part)
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    busy = await asyncpg.connect(server.url)
    working = asyncio.create_task(busy.execute("DO $$ BEGIN LOOP END LOOP; END $$", timeout=60))

    kill(processes, "postgres")
    await processes.bring_up(server.part)

    again = await asyncpg.connect(server.url)
    assert await again.fetchval("SELECT answer FROM kept") == 42
    assert await again.fetchval("SHOW fsync") == "on"
    await again.close()
    connection.terminate()
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await working


async def test_postgres_asks_for_a_password(processes: Processes) -> None:
    server = Postgres(processes.data / "postgres", ports.free(), password="right", durable=False)
    await processes.bring_up(server.part)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url.replace("right", "wrong"))


async def test_kafka_comes_back_after_kill_9(processes: Processes) -> None:
    server = Kafka(processes.data / "kafka", ports.free(), ports.free())
    await processes.bring_up(server.part)
    first = read_json(processes.data / "run" / "kafka.json")["pid"]
    kill(processes, "kafka")
    await processes.bring_up(server.part)
    assert read_json(processes.data / "run" / "kafka.json")["pid"] != first
    assert await server.is_ready()
