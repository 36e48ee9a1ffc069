"""Whose request begins when."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from support.tokens import Issuer
from vinculum_shared.http.entrance import Entrance
from vinculum_shared.http.principals import Verifier

pytestmark = pytest.mark.unit


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.make(tmp_path)


async def begun(issuer: Issuer, tenants: Sequence[str]) -> list[str]:
    """Ask for something with a token of each tenant, all at once. Return the order in which the requests begin."""
    order = []
    verifier = Verifier(str(issuer.jwks), "vinculum")
    tokens = {tenant: issuer.token(kind="service", sub="one", tenant=tenant) for tenant in set(tenants)}
    for token in tokens.values():
        await verifier.verify(token)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        order.append(scope["tenant"])

    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    entrance = Entrance(app)

    async def ask(tenant: str, authorization: str) -> None:
        headers = [(b"authorization", authorization.encode())]
        scope = {"type": "http", "headers": headers, "state": {"verifier": verifier}, "tenant": tenant}
        await entrance(scope, receive, send)

    known = [ask(tenant, f"Bearer {tokens[tenant]}") for tenant in tenants]
    await asyncio.gather(*known, ask("stranger", "Bearer unknown"))
    return order


async def test_many_requests_that_come_at_once_are_in_front_of_their_own_tenants_alone(issuer: Issuer) -> None:
    order = await begun(issuer, ["acme"] * 100 + ["bolt", "bolt"])
    assert order.index("bolt") <= 3
    assert order.index("stranger") <= 3
    assert order.count("acme") == 100
    assert order.count("bolt") == 2


async def test_what_is_under_way_goes_on_between_two_requests_that_begin(issuer: Issuer) -> None:
    goes_on, going_on = 0, True

    async def under_way() -> None:
        nonlocal goes_on
        while going_on:
            goes_on += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(under_way())
    await begun(issuer, ["acme"] * 100)
    going_on = False
    await running
    assert goes_on >= 99
