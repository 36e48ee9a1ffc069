"""Answers that need not be kept any longer are deleted beside the commands, and never at their cost."""

import asyncio

import asyncpg
import pytest

from support.commands import event_store
from support.waiting import until
from vinculum_command import reading
from vinculum_command.app import forget_requests

pytestmark = pytest.mark.integration

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'"


async def test_an_outage_while_answers_are_forgotten_ends_nothing(postgres: str) -> None:
    """The backend is terminated in the middle of its statement."""
    stop = asyncio.Event()
    async with event_store(postgres) as store, await reading.open_log(store.url, unsafe_durability=True) as pool:
        database = store.url.get_secret_value().rpartition("/")[2]
        admin, blocking = await asyncpg.connect(postgres), await asyncpg.connect(postgres, database=database)
        async with blocking.transaction():
            await blocking.execute("LOCK TABLE requests")
            forgetting = asyncio.create_task(forget_requests(pool, stop))

            async def waiting() -> bool:
                return bool(await admin.fetchval(WAITING, database))

            await until(waiting)
            await admin.execute(TERMINATE, database)

            async def given_up() -> bool:
                return not await waiting()

            await until(given_up)
        stop.set()
        await forgetting
        await admin.close()
        await blocking.close()
