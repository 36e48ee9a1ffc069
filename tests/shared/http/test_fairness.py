"""What one tenant may take at a time."""

import asyncio
from contextlib import ExitStack
from itertools import pairwise
from time import monotonic

import pytest

from support.waiting import until
from vinculum_shared import others
from vinculum_shared.deadlines import Deadline
from vinculum_shared.http.fairness import Quota, Turns
from vinculum_shared.http.principals import Principal
from vinculum_shared.problems import TooMany, Unavailable

pytestmark = pytest.mark.unit

ONE, TWO, THREE = (Principal(kind="service", sub=sub, tenant="acme") for sub in ("one", "two", "three"))
OTHER, ANOTHER = (Principal(kind="service", sub="one", tenant=tenant) for tenant in ("other", "another"))


def test_a_quota_is_kept_by_principal_by_tenant_and_in_all() -> None:
    quota = Quota(of_principal=2, of_tenant=3, in_all=5)
    with ExitStack() as under_way:

        def admit(principal: Principal) -> None:
            under_way.enter_context(quota.admit(principal))

        for _ in range(2):
            admit(ONE)
        with pytest.raises(TooMany, match="2 of your requests"):
            admit(ONE)
        admit(TWO)
        with pytest.raises(TooMany, match="3 of the tenant's requests"):
            admit(THREE)
        for _ in range(2):
            admit(OTHER)
        with pytest.raises(TooMany):
            admit(ANOTHER)
    with quota.admit(ONE), quota.admit(ONE), quota.admit(THREE):
        pass


def test_who_is_refused_is_told_when_to_come_back_and_not_all_at_once() -> None:
    quota, told = Quota(of_principal=0, of_tenant=1, again_seconds=15), set[str]()
    for _ in range(200):
        with pytest.raises(TooMany) as refused, quota.admit(ONE):
            pass
        told.add(refused.value.headers()["Retry-After"])
    assert told <= {str(seconds) for seconds in range(1, 16)}
    assert len(told) > 5


async def test_a_tenant_that_takes_all_of_its_turns_leaves_another_that_asks_the_time_between_them() -> None:
    turns, working = Turns(1, resting=True), list[tuple[float, float]]()

    async def work() -> None:
        async with turns.of("acme"):
            began = monotonic()
            others.asks("bolt")
            await asyncio.sleep(0.02)
            working.append((began, monotonic()))

    await asyncio.gather(work(), work(), work())
    for (began, ended), (next_began, _) in pairwise(working):
        assert next_began - ended >= others.REST * (ended - began) * 0.9


async def test_each_tenant_has_its_turns() -> None:
    turns, go_on = Turns(2), asyncio.Event()
    begun: list[str] = []

    async def take(tenant: str, name: str) -> None:
        async with turns.of(tenant):
            begun.append(name)
            await go_on.wait()

    async def b_has_begun() -> bool:
        return "b1" in begun

    async with asyncio.TaskGroup() as group:
        for name in ("a1", "a2", "a3", "a4"):
            group.create_task(take("a", name))
        group.create_task(take("b", "b1"))
        impatient = group.create_task(take("a", "a5"))
        await until(b_has_begun)
        assert begun == ["a1", "a2", "b1"]
        impatient.cancel()
        go_on.set()
    assert begun == ["a1", "a2", "b1", "a3", "a4"]


async def test_a_turn_is_waited_for_no_longer_than_leaves_time_to_use_it() -> None:
    turns = Turns(1)
    async with turns.of("a"):
        with pytest.raises(Unavailable), Deadline(0.2):
            async with turns.of("a"):
                pass
        with Deadline(60):
            async with turns.of("b"):
                pass
    async with turns.of("a"):
        pass
