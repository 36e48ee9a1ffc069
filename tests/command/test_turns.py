"""Who has the event loop, of those with long work."""

import asyncio
import time
from functools import partial

import pytest

from vinculum_command.turns import LONG_SECONDS, Pace, Turns

pytestmark = pytest.mark.unit


async def test_tenants_go_round_however_much_each_of_them_has() -> None:
    turns, had = Turns(), list[str]()

    async def work(tenant: str) -> None:
        for _ in range(2):
            await turns.wait(tenant)
            had.append(tenant)

    await asyncio.gather(*map(work, ["acme", "acme", "acme", "bolt"]))
    assert had[:4] == ["acme", "bolt", "acme", "bolt"]
    assert had.count("acme") == 6


async def test_after_a_long_slice_everything_else_has_the_loop() -> None:
    pace, others, between = Pace(partial(Turns().wait, "acme")), 0, list[int]()

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    for _ in range(5):
        await pace.turn()
        before = others
        time.sleep(5 * LONG_SECONDS)  # noqa: ASYNC251  work that can't be cut
        await pace.turn()
        between.append(others - before)
    running.cancel()
    assert max(between) > 10


async def test_who_has_left_has_no_turn() -> None:
    turns = Turns()
    gone, stays = [asyncio.create_task(turns.wait("acme")) for _ in range(2)]
    await asyncio.sleep(0)
    gone.cancel()
    await stays
