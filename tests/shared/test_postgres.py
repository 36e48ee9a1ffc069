"""Connections: their limits, their roles, and the servers that they refuse."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from support.paused import PausablePostgres
from vinculum_notifier.database import WORK_MS_MAX
from vinculum_projection.database import APPLY_MS_MAX
from vinculum_shared import postgres as module
from vinculum_shared.deadlines import Deadline
from vinculum_shared.postgres import (
    GRACE_SECONDS,
    OUTAGE,
    Connection,
    Loan,
    RefusedByPostgresError,
    UnsafePostgresError,
    columns,
    connect_pool,
    lent,
)
from vinculum_shared.supervision import HEARTBEAT_SECONDS_MAX

pytestmark = pytest.mark.integration


@pytest.fixture
def url(postgres: str) -> SecretStr:
    return SecretStr(postgres)


async def test_a_connection_has_its_name_and_its_limits(url: SecretStr) -> None:
    async with await connect_pool(url, application_name="tests", size=1, unsafe_durability=True) as pool:
        rows = await pool.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1)",
            [
                "application_name",
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
                "TimeZone",
            ],
        )
    assert {row["name"]: row["setting"] for row in rows} == {
        "application_name": "tests",
        "statement_timeout": "30000",
        "lock_timeout": "10000",
        "idle_in_transaction_session_timeout": "30000",
        "TimeZone": "UTC",
    }


async def test_a_pool_may_act_under_another_role_and_stays_there(url: SecretStr) -> None:
    pool = await connect_pool(url, application_name="tests", size=1, role="pg_monitor", unsafe_durability=True)
    async with pool:
        async with pool.acquire() as connection:
            await connection.execute("RESET ROLE")
        assert await pool.fetchval("SELECT current_user") == "pg_monitor"


async def test_settings_of_the_server_can_be_given(url: SecretStr) -> None:
    pool = await connect_pool(
        url,
        application_name="tests",
        size=1,
        unsafe_durability=True,
        server_settings={"search_path": "projection_v1", "jit": "on"},
    )
    async with pool:
        assert await pool.fetchval("SHOW search_path") == "projection_v1"
        assert await pool.fetchval("SHOW jit") == "on"


async def test_a_server_that_may_forget_commits_is_refused(url: SecretStr) -> None:
    """The tests' own server is one, by each of its settings."""
    with pytest.raises(UnsafePostgresError, match="fsync = off, full_page_writes = off, synchronous_commit = off"):
        await connect_pool(url, application_name="tests", size=1)


async def test_a_session_that_may_forget_commits_is_refused(url: SecretStr) -> None:
    with pytest.raises(UnsafePostgresError, match="synchronous_commit = local"):
        await connect_pool(url, application_name="tests", size=1, server_settings={"synchronous_commit": "local"})


async def test_a_server_that_is_not_up_yet_is_waited_for(url: SecretStr) -> None:
    """A port opens only after a while, and leads to the server."""
    server = urlsplit(url.get_secret_value())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    late = SecretStr(server._replace(netloc=f"{server.username}:{server.password}@127.0.0.1:{port}").geturl())
    refused = asyncio.Event()

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
        target.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(server.hostname, server.port)
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    async def connect() -> Connection:
        try:
            return await asyncpg.connect(late.get_secret_value())
        except OSError:
            refused.set()
            raise

    connecting = asyncio.create_task(module.when_up(connect))
    await refused.wait()
    async with await asyncio.start_server(forward, "127.0.0.1", port):
        connection = await connecting
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_a_wrong_password_is_not_waited_for(url: SecretStr) -> None:
    server = urlsplit(url.get_secret_value())
    wrong = server._replace(netloc=f"{server.username}:wrong@{server.hostname}:{server.port}").geturl()
    with pytest.raises(RefusedByPostgresError, match="password authentication failed"):
        await connect_pool(SecretStr(wrong), application_name="tests", size=1)


def test_rows_become_the_arrays_of_unnest() -> None:
    assert columns([(1, "a"), (2, "b")], 2) == [[1, 2], ["a", "b"]]
    assert columns([], 3) == [[], [], []]
    with pytest.raises(ValueError, match="zip"):
        columns([(1, 2), (3,)], 2)


Use = Callable[[Connection, Callable[[], None]], Awaitable[None]]


async def begin(db: Connection, pause: Callable[[], None]) -> None:
    pause()
    async with db.transaction():
        pass


async def ask(db: Connection, pause: Callable[[], None]) -> None:
    async with db.transaction():
        pause()
        await db.execute("SELECT 1")


async def commit(db: Connection, pause: Callable[[], None]) -> None:
    async with db.transaction():
        pause()


async def give_back(db: Connection, pause: Callable[[], None]) -> None:
    pause()


async def do_something_else(db: Connection, pause: Callable[[], None]) -> None:
    async with db.transaction():
        pause()
        await asyncio.Event().wait()


@pytest.mark.parametrize("use", [begin, ask, commit, do_something_else])
async def test_at_the_deadline_a_connection_is_cut_off_whatever_it_waits_for(
    pausable_postgres: PausablePostgres, use: Use
) -> None:
    url = SecretStr(pausable_postgres.url)
    async with await connect_pool(url, application_name="tests", size=1, unsafe_durability=True) as pool:
        with ExitStack() as paused:

            def pause() -> None:
                paused.enter_context(pausable_postgres.paused())

            async def until_the_deadline(use: Use) -> None:
                with Deadline(0.5):
                    async with lent(pool) as db:
                        await use(db, pause)

            async with asyncio.timeout(60):
                with pytest.raises(OUTAGE):
                    await until_the_deadline(use)
                with pytest.raises(OUTAGE):  # the next has to be made anew, which hangs too
                    await until_the_deadline(give_back)
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_connection_that_is_given_back_in_time_is_kept(url: SecretStr) -> None:
    async with await connect_pool(url, application_name="tests", size=1, unsafe_durability=True) as pool:
        pids = set()
        for _ in range(3):
            with Deadline(60) as deadline:
                async with lent(pool) as db:
                    pids.add(await db.fetchval("SELECT pg_backend_pid()"))
            assert not deadline.expired
        assert len(pids) == 1


async def test_a_deadline_that_ends_just_after_a_connection_was_given_back_leaves_it_alone(url: SecretStr) -> None:
    async with await connect_pool(url, application_name="tests", size=1, unsafe_durability=True) as pool:
        db = await pool.acquire()
        loan = Loan(db)
        await pool.release(db)
        loan.terminate()
        assert await pool.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("statement_ms_max", [APPLY_MS_MAX, WORK_MS_MAX])
def test_a_reader_that_waits_for_a_paused_postgres_is_not_taken_for_one_that_hangs(statement_ms_max: int) -> None:
    assert statement_ms_max / 1_000 + GRACE_SECONDS < HEARTBEAT_SECONDS_MAX
