"""An answer is kept for its key for 72 hours, and then deleted beside the commands, never at their cost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from support.commands import Store, event_store
from support.databases import name_of
from support.waiting import until
from vinculum_command.database import log_pool
from vinculum_command.domain.accounts import CreateAccount
from vinculum_command.upkeep import forget_requests

pytestmark = pytest.mark.integration

PASS = "UPDATE requests SET expires_at = expires_at - $1::text::interval"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'"


@asynccontextmanager
async def forgetting(store: Store) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with await log_pool(store.url, unsafe_durability=True) as pool:
        task = asyncio.create_task(forget_requests(pool, stop))
        try:
            yield
        finally:
            stop.set()
            await task


async def test_an_answer_is_kept_for_its_key_for_72_hours(postgres: str) -> None:
    async with event_store(postgres) as store:
        await store.register("acme", "dynamics")
        first = await store.give("acme", CreateAccount(name="A"), "k")
        db = await asyncpg.connect(postgres, database=name_of(store.url))

        async def pass_until_kept(interval: str, kept: int) -> None:
            await db.execute(PASS, interval)
            async with forgetting(store):

                async def as_many() -> bool:
                    return bool(await db.fetchval("SELECT count(*) FROM requests") == kept)

                await until(as_many)

        await pass_until_kept("71 hours 59 minutes", 1)  # what came without a key is not kept that long
        again = await store.give("acme", CreateAccount(name="A"), "k")
        assert (again.id, again.replayed) == (first.id, True)
        await pass_until_kept("1 minute", 0)
        anew = await store.give("acme", CreateAccount(name="A"), "k")
        assert anew.id != first.id
        await db.close()


async def test_an_outage_while_answers_are_forgotten_ends_nothing(postgres: str) -> None:
    """The backend is terminated in the middle of its statement."""
    async with event_store(postgres) as store:
        admin, blocking = await asyncpg.connect(postgres), await asyncpg.connect(postgres, database=name_of(store.url))
        async with blocking.transaction():
            await blocking.execute("LOCK TABLE requests")
            async with forgetting(store):

                async def waiting() -> bool:
                    return bool(await admin.fetchval(WAITING, name_of(store.url)))

                await until(waiting)
                await admin.execute(TERMINATE, name_of(store.url))

                async def given_up() -> bool:
                    return not await waiting()

                await until(given_up)
        await admin.close()
        await blocking.close()
