"""A tenant of which something was applied that its log does not have: what answers say, and the way back."""

from copy import deepcopy
from typing import Any

import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_projection.rebuild import rebuild
from vinculum_projection.settings import Settings
from vinculum_shared.contracts.values import AccountId, ContactId

pytestmark = pytest.mark.integration

HOLD = "UPDATE subscription SET held = 'diverged', held_at = now() WHERE tenant = $1"
TABLES = """
    SELECT table_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND column_name = 'tenant' AND table_name <> 'subscription' ORDER BY 1"""


async def a_firm(projection: Projection, tenant: str = "acme") -> tuple[Firm, AccountId, ContactId]:
    firm = Firm.registered(tenant)
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    firm.link(account_id, ann)
    firm.access(account_id, ann, "active")
    await projection.deliver(firm.log)
    return firm, account_id, ann


async def rows_of(projection: Projection, tenant: str) -> dict[str, list[Any]]:
    """What all tables have of a tenant."""
    return {
        table: await projection.consumer.fetch(
            f"SELECT to_jsonb({table})::text FROM {table} WHERE tenant = $1 ORDER BY 1",  # noqa: S608  from the catalogue
            tenant,
        )
        for (table,) in await projection.consumer.fetch(TABLES)
    }


async def test_every_answer_says_that_its_tenant_is_held(projection: Projection) -> None:
    _, account_id, ann = await a_firm(projection)
    await a_firm(projection, "other")
    paths = (
        "/v1/accounts",
        f"/v1/accounts/{account_id}",
        f"/v1/accounts/{account_id}/contacts",
        f"/v1/accounts/{account_id}/related",
        f"/v1/accounts/{account_id}/access",
        f"/v1/accounts/{account_id}/history",
        f"/v1/accounts/{account_id}/recipients",
        "/v1/contacts",
        f"/v1/contacts/{ann}",
        f"/v1/contacts/{ann}/accounts",
        f"/v1/contacts/{ann}/history",
        "/v1/parked",
        "/v1/freshness",
    )

    async def held(tenant: str, *paths: str) -> list[bool]:
        token = projection.service(tenant)
        answers = [
            await projection.get(path, token, **{"topic": "invoice"} if path.endswith("recipients") else {})
            for path in paths
        ]
        return [answer.json()["held"] for answer in answers]

    assert await held("acme", *paths) == [False] * len(paths)
    await projection.consumer.execute(HOLD, "acme")
    assert await held("acme", *paths) == [True] * len(paths)
    assert await held("other", "/v1/accounts", "/v1/parked", "/v1/freshness") == [False] * 3
    freshness = (await projection.get("/v1/freshness", projection.service("acme"))).json()
    assert freshness["held_reason"] == "diverged"
    assert freshness["held_since"]


async def test_nothing_parked_is_replayed_while_its_tenant_is_held(projection: Projection) -> None:
    firm, _, _ = await a_firm(projection)
    operator = projection.staff("acme", firm.staff_user("operator"), "operator")
    await projection.deliver(firm.log)
    firm.account("Can't be read")
    await projection.deliver(firm.log, damaged={len(firm.log.lines)})
    await projection.consumer.execute(HOLD, "acme")

    answer = await projection.post(f"/v1/parked/{firm.log.recorded[-1].id}/replay", operator)

    assert (answer.status_code, answer.json()["code"]) == (409, "tenant_held")


async def test_a_rebuilt_tenant_is_what_its_log_makes_it(projection: Projection, settings: Settings) -> None:
    firm, account_id, _ = await a_firm(projection)
    await a_firm(projection, "other")
    true, before, others = deepcopy(firm.log), await rows_of(projection, "acme"), await rows_of(projection, "other")
    bob = firm.contact("Bob", "Forger", "bob@example.com")
    firm.link(account_id, bob)
    firm.access(account_id, bob, "active")
    firm.account("Can't be read")
    await projection.deliver(firm.log, damaged={len(firm.log.lines)})
    await projection.consumer.execute(HOLD, "acme")

    projection.log_server.logs["acme"] = true
    assert await rebuild(settings, "acme") == 0

    assert await rows_of(projection, "acme") == before
    assert await rows_of(projection, "other") == others
    freshness = (await projection.get("/v1/freshness", projection.service("acme"))).json()
    assert (freshness["held"], freshness["position"]) == (False, len(true.lines))
