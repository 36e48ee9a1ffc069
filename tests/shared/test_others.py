"""When the long work of one tenant leaves room for others."""

from uuid import uuid4

import pytest

from support.waiting import until
from vinculum_shared import others

pytestmark = pytest.mark.unit


async def test_long_work_rests_while_another_tenant_asks_for_something() -> None:
    acme, bolt = (f"{name}-{uuid4()}" for name in ("acme", "bolt"))

    async def nobody_else_asks() -> bool:
        return others.rest_seconds({acme}, 1.0) == 0.0

    await until(nobody_else_asks)
    others.asks(acme)
    assert others.rest_seconds({acme}, 1.0) == 0.0
    others.asks(bolt)
    others.asks(acme)
    assert others.rest_seconds({acme}, 0.1) == pytest.approx(0.1 * others.REST)
    assert others.rest_seconds({acme}, 60.0) == others.REST_SECONDS_MAX
    assert others.rest_seconds({acme, bolt}, 1.0) == 0.0
    await until(nobody_else_asks)


def test_only_so_many_tenants_are_known() -> None:
    for number in range(others.TENANTS_MAX + 1):
        others.asks(f"tenant-{number}")
    assert len(others._asked) == others.TENANTS_MAX
