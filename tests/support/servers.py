"""One Postgres and one Kafka for the whole test session, however many processes it runs in.

They are thrown away at its end. To use servers that are there already, set VINCULUM_TEST_POSTGRES_URL (of a role that
may create roles and databases) and VINCULUM_TEST_KAFKA_BOOTSTRAP; to use containers, set VINCULUM_TEST_CONTAINERS=1.
"""

import asyncio
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil
import pytest

from vinculum_devstack import ports, stack
from vinculum_devstack.folder import only_one, prepare
from vinculum_devstack.kafka import Kafka
from vinculum_devstack.postgres import Postgres
from vinculum_devstack.processes import Part, Processes

POSTGRES_URL: Final = "VINCULUM_TEST_POSTGRES_URL"
KAFKA_BOOTSTRAP: Final = "VINCULUM_TEST_KAFKA_BOOTSTRAP"
CONTAINERS: Final = "VINCULUM_TEST_CONTAINERS"
FOLDER: Final = "VINCULUM_TEST_FOLDER"  # set by the session's first process, and inherited by its workers

MEMORY: Final = Path("/dev/shm")  # noqa: S108  each session makes a folder of its own there
MEMORY_FREE_BYTES_MIN: Final = 4_000_000_000


def pytest_configure(config: pytest.Config) -> None:
    if FOLDER in os.environ:
        return
    clear_away_the_dead()
    folder = Path(tempfile.mkdtemp(prefix=f"vinculum-tests-{os.getpid()}-", dir=base()))
    os.environ[FOLDER] = str(folder)
    config.add_cleanup(lambda: remove(folder))
    if os.environ.get(CONTAINERS) == "1":
        from support import containers  # noqa: PLC0415  it needs Docker where it is imported

        running = ExitStack()
        config.add_cleanup(running.close)
        os.environ[POSTGRES_URL] = running.enter_context(containers.postgres())
        os.environ[KAFKA_BOOTSTRAP] = running.enter_context(containers.kafka())


@pytest.fixture(scope="session")
async def postgres() -> str:
    """The URL of an admin, for a server on which nothing has to last."""
    return os.environ.get(POSTGRES_URL) or await own_postgres(Path(os.environ[FOLDER]))


@pytest.fixture(scope="session")
async def kafka() -> str:
    return os.environ.get(KAFKA_BOOTSTRAP) or await own_kafka(Path(os.environ[FOLDER]))


async def own_postgres(folder: Path) -> str:
    server = Postgres(folder / "postgres", settled(folder)["postgres"], password="throw-away", durable=False)
    await once(folder, server.part)
    return server.url


async def own_kafka(folder: Path) -> str:
    numbers = settled(folder)
    server = Kafka(folder / "kafka", numbers["kafka"], numbers["kafka_controller"])
    await once(folder, server.part)
    return server.bootstrap


def settled(folder: Path) -> dict[str, int]:
    prepare(folder)
    with only_one(folder / "run" / "ports.lock"):
        return ports.settled(folder)


async def once(folder: Path, part: Part) -> None:
    processes = Processes(folder)
    with only_one(folder / "run" / f"{part.program.name}.lock"):
        if processes.running(part.program.name) is None:
            await processes.bring_up(part)


def base() -> Path:
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_FREE_BYTES_MIN
    return MEMORY if roomy else Path(tempfile.gettempdir())


def clear_away_the_dead() -> None:
    """What a session left that was killed."""
    for folder in base().glob("vinculum-tests-*"):
        if not psutil.pid_exists(int(folder.name.split("-")[2])):
            remove(folder)


def remove(folder: Path) -> None:
    for data in (folder / "stack", folder):
        asyncio.run(stack.down(data))
    shutil.rmtree(folder)
