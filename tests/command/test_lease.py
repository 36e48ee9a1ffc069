"""The relay's lease: who has it, when another may take it, and what its holder may do."""

from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest

from support.commands import Store, event_store
from support.databases import as_admin
from vinculum_command import lease
from vinculum_command.database import log_pool
from vinculum_command.lease import Lease, LeaseLostError
from vinculum_command.relay import MOVE

pytestmark = pytest.mark.integration


@pytest.fixture
async def store(postgres: str) -> AsyncIterator[Store]:
    async with event_store(postgres) as store:
        yield store


@pytest.fixture
async def new_lease(store: Store) -> AsyncIterator[Callable[[], Lease]]:
    async with await log_pool(store.url, size=1, unsafe_durability=True) as pool:
        yield lambda: Lease(pool, uuid4())


async def expire(store: Store, postgres: str) -> None:
    async with as_admin(postgres, store.url) as admin:
        await admin.execute("UPDATE relay_lease SET expires_at = clock_timestamp() - interval '1 ms'")


async def test_one_relay_has_it_until_it_is_released(new_lease: Callable[[], Lease]) -> None:
    active, standby = new_lease(), new_lease()
    assert await active.take()
    assert not await standby.take()
    assert await active.take()
    await standby.release()
    assert not await standby.take()
    await active.release()
    assert await standby.take()


async def test_once_expired_it_is_anybody_s(store: Store, postgres: str, new_lease: Callable[[], Lease]) -> None:
    active, standby = new_lease(), new_lease()
    assert await active.take()
    await expire(store, postgres)
    assert await standby.take()
    assert not await active.take()


async def test_a_holder_that_lost_it_is_told_and_moves_no_position(
    store: Store, postgres: str, new_lease: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.0)
    paused, standby = new_lease(), new_lease()
    assert await paused.take()
    await expire(store, postgres)
    assert await standby.take()
    with pytest.raises(LeaseLostError):
        await paused.keep()
    async with await log_pool(store.url, size=1, unsafe_durability=True) as pool:
        assert await pool.execute(MOVE, ["a"], [7], paused.holder) == "INSERT 0 0"
        assert await pool.execute(MOVE, ["a"], [3], standby.holder) == "INSERT 0 1"
        assert await pool.fetchval("SELECT position FROM relayed") == 3
        await standby.release()
        assert await pool.execute(MOVE, ["a"], [7], paused.holder) == "INSERT 0 0"
