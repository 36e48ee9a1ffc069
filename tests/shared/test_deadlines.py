"""Deadlines of work that may hang."""

import asyncio

import pytest

from vinculum_shared import deadlines
from vinculum_shared.deadlines import Deadline

pytestmark = pytest.mark.unit


async def hang() -> None:
    await asyncio.Event().wait()


class Used:
    """Something whose end takes long, unless it is terminated."""

    def __init__(self) -> None:
        self.terminated = asyncio.Event()

    def terminate(self) -> None:
        self.terminated.set()


async def test_what_hangs_is_given_up_and_the_task_goes_on() -> None:
    for _ in range(2):
        with pytest.raises(TimeoutError), Deadline(0.1):
            await hang()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task
    assert not task.cancelling()


async def test_what_is_used_is_terminated_first() -> None:
    used = Used()

    async def work() -> None:
        with Deadline(0.1) as deadline:
            deadline.using.append(used)
            try:
                await hang()
            finally:
                await asyncio.wait_for(used.terminated.wait(), 90)

    with pytest.raises(TimeoutError):
        await work()


async def test_what_cannot_be_terminated_keeps_no_other_deadline_from_being_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def terminate(self) -> None:
            raise LookupError

    async def work(deadline: Deadline) -> None:
        with deadline:
            await hang()

    first, second, third = (Deadline(seconds) for seconds in (0.1, 0.1, 0.4))
    for each in (first, second):
        each.using.append(Broken())
    tasks = [asyncio.create_task(work(each)) for each in (first, second, third)]
    async with asyncio.timeout(60):
        assert all(isinstance(each, TimeoutError) for each in await asyncio.gather(*tasks, return_exceptions=True))
    assert "LookupError" in caplog.text


async def test_an_error_that_the_end_brings_about_is_told_as_it_is() -> None:
    async def work() -> None:
        with Deadline(0.1):
            try:
                await hang()
            except asyncio.CancelledError:
                raise LookupError from None

    with pytest.raises(LookupError):
        await work()


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def work() -> None:
        with Deadline(60):
            await hang()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_of_two_deadlines_the_first_counts_and_each_ends_its_own_work() -> None:
    with Deadline(60) as outer:
        with pytest.raises(TimeoutError), Deadline(0.1):
            await hang()
        assert deadlines.current() is outer
    with pytest.raises(TimeoutError), Deadline(0.1), Deadline(60):
        await hang()
    assert deadlines.current() is None


async def test_a_deadline_may_be_put_off() -> None:
    with Deadline(0.1) as deadline:
        deadlines.extend(60)
        with pytest.raises(TimeoutError), Deadline(0.3):
            await hang()
    assert not deadline.expired


def test_each_loop_has_its_clock() -> None:
    """The second would be without one if the first had left it ticking."""

    async def work() -> None:
        with pytest.raises(TimeoutError), Deadline(0.1):
            await hang()

    async def leave() -> None:
        with Deadline(60):
            await asyncio.sleep(0)

    asyncio.run(leave())
    asyncio.run(work())
