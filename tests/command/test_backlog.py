"""Who is decided next, of those who wait."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from support.commands import SERVICE
from vinculum_command.backlog import BATCHED_MAX, GROUP_MAX, QUANTUM, WAITING_MAX, Backlogs, Lane
from vinculum_command.domain.accounts import CreateAccount
from vinculum_command.domain.commands import Order
from vinculum_command.event_store import Key
from vinculum_command.group import EVENTS_MAX, LIGHT_MAX
from vinculum_command.outcomes import Waiting

pytestmark = pytest.mark.unit

COMMAND = CreateAccount(name="A")


@pytest.fixture
def backlogs() -> Backlogs:
    return Backlogs()


def waiting(tenant: str, cost: int = 1) -> Waiting:
    answer = asyncio.get_running_loop().create_future()
    return Waiting(Order(tenant, COMMAND, SERVICE, datetime.now(UTC)), Key(tenant, "", ""), answer, cost=cost)


def put(backlogs: Backlogs, tenant: str, count: int = 1, cost: int = 1) -> list[Waiting]:
    added = [waiting(tenant, cost) for _ in range(count)]
    for each in added:
        backlogs.put(each)
    return added


def take(backlogs: Backlogs, lane: Lane) -> list[Waiting]:
    return backlogs.take(lane, half=False)


def seen(backlogs: Backlogs) -> None:
    """Have the light lane see who has too much for it."""
    assert not take(backlogs, backlogs.light)


def tenants(group: Iterable[Waiting]) -> Counter[str]:
    return Counter(each.order.tenant for each in group)


async def test_small_commands_of_many_tenants_share_a_group(backlogs: Backlogs) -> None:
    for number in range(10):
        put(backlogs, f"t-{number}", 3)
    assert tenants(take(backlogs, backlogs.light)) == {f"t-{number}": 3 for number in range(10)}
    assert not take(backlogs, backlogs.bulk)


async def test_a_tenant_with_much_waiting_is_in_the_bulk_lane(backlogs: Backlogs) -> None:
    put(backlogs, "much", LIGHT_MAX + 1)
    put(backlogs, "large", cost=LIGHT_MAX + 1)
    put(backlogs, "little")
    assert tenants(take(backlogs, backlogs.light)) == {"little": 1}
    assert tenants(take(backlogs, backlogs.bulk)) == {"much": LIGHT_MAX + 1, "large": 1}


async def test_a_tenant_s_commands_keep_their_order(backlogs: Backlogs) -> None:
    every = put(backlogs, "acme", 300)
    taken: list[Waiting] = []
    while group := take(backlogs, backlogs.light) or take(backlogs, backlogs.bulk):
        left = group[len(group) // 2 :] if len(taken) < 100 else []
        backlogs.give_back(left)
        taken += group[: len(group) - len(left)]
        backlogs.finish(group)
    assert taken == every
    assert backlogs.idle


async def test_tenants_take_turns_by_cost(backlogs: Backlogs) -> None:
    """The one with large commands gets as much done as the other, not as many."""
    put(backlogs, "large", 100, cost=20)
    put(backlogs, "small", 1_000)
    seen(backlogs)
    cost: Counter[str] = Counter()
    for _ in range(8):
        group = take(backlogs, backlogs.bulk)
        assert len(group) <= GROUP_MAX
        assert sum(each.cost for each in group) <= EVENTS_MAX
        for each in group:
            cost[each.order.tenant] += each.cost
        backlogs.finish(group)
    assert sum(cost.values()) > EVENTS_MAX
    assert abs(cost["large"] - cost["small"]) <= 2 * QUANTUM


async def test_a_command_larger_than_a_group_is_alone_in_one(backlogs: Backlogs) -> None:
    put(backlogs, "acme", 2, cost=10 * EVENTS_MAX)
    for _ in range(2):
        group = take(backlogs, backlogs.bulk)
        assert len(group) == 1
        backlogs.finish(group)


async def test_a_tenant_changes_lanes_only_with_nothing_under_way(backlogs: Backlogs) -> None:
    """Else what is taken later, in the other lane, could be written first."""
    put(backlogs, "acme", 2)
    light = take(backlogs, backlogs.light)
    assert len(light) == 2
    put(backlogs, "acme", 2 * LIGHT_MAX)
    assert not take(backlogs, backlogs.light)
    assert not take(backlogs, backlogs.bulk)
    backlogs.finish(light)
    bulk = take(backlogs, backlogs.bulk)
    assert len(bulk) == 2 * LIGHT_MAX
    put(backlogs, "acme")
    assert not take(backlogs, backlogs.light)
    last = take(backlogs, backlogs.bulk)
    assert len(last) == 1
    for group in (bulk, last):
        backlogs.finish(group)
    put(backlogs, "acme")
    assert len(take(backlogs, backlogs.light)) == 1


async def test_a_command_that_proves_large_goes_on_in_the_bulk_lane(backlogs: Backlogs) -> None:
    put(backlogs, "acme", 3)
    first, *left = group = take(backlogs, backlogs.light)
    left[0].cost = LIGHT_MAX + 1
    backlogs.give_back(left)
    assert not take(backlogs, backlogs.light)
    backlogs.finish(group)
    assert first not in left
    assert take(backlogs, backlogs.bulk) == left


async def test_half_is_left_while_nothing_is_written(backlogs: Backlogs) -> None:
    put(backlogs, "acme", 9)
    assert len(backlogs.take(backlogs.light, half=True)) == 5


async def test_each_tenant_has_a_limit_of_its_own(backlogs: Backlogs) -> None:
    put(backlogs, "acme", WAITING_MAX)
    assert backlogs.is_full("acme")
    assert not backlogs.is_full("bolt")


async def test_lines_of_batches_wait_for_room(backlogs: Backlogs) -> None:
    await backlogs.room("acme")
    put(backlogs, "acme", BATCHED_MAX)
    seen(backlogs)
    room = asyncio.create_task(backlogs.room("acme"))
    await asyncio.sleep(0)
    assert not room.done()
    assert take(backlogs, backlogs.bulk)
    await room


async def test_what_is_emptied_keeps_nobody_waiting(backlogs: Backlogs) -> None:
    every = put(backlogs, "acme", BATCHED_MAX)
    room = asyncio.create_task(backlogs.room("acme"))
    await asyncio.sleep(0)
    assert backlogs.clear() == every
    await room
    assert backlogs.idle
    assert not take(backlogs, backlogs.bulk)
