"""What can't be applied: what it holds up, who sees it, and who replays it."""

from uuid import uuid4

import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_shared.contracts.links import LinkChanged, LinkTerms
from vinculum_shared.contracts.values import AccountId, ContactId

pytestmark = pytest.mark.integration


async def test_a_link_whose_account_is_not_there_is_parked_not_invented(projection: Projection) -> None:
    firm = Firm.registered()
    ann = firm.contact("Ann", "Smith")
    firm.link(AccountId(uuid4()), ann)
    await projection.deliver(firm.log)
    token = projection.service("acme")

    (parked,) = await projection.items("/v1/parked", token)
    answer = (await projection.get(f"/v1/contacts/{ann}/accounts", token)).json()

    assert (parked["id"], parked["position"]) == (str(firm.log.recorded[-1].id), 5)
    assert parked["type"] == "ContactLinked"
    assert "links account_name" in parked["reason"]
    assert (answer["items"], answer["parked"]) == ([], True)


async def a_parked_link(projection: Projection, *, limited: bool = False) -> tuple[Firm, AccountId, ContactId]:
    """Its role was changed, which this version can't read, and changed again."""
    firm = Firm.registered(manager_limits_access=limited)
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    firm.link(account_id, ann)
    firm.access(account_id, ann, "active")
    for role in ("clerk", "owner"):
        after = LinkTerms(role=role)
        firm.log.commit(LinkChanged(account_id=account_id, contact_id=ann, before=LinkTerms(), after=after))
    bob = firm.contact("Bob", "Abel", "bob@example.com")
    firm.link(account_id, bob)
    firm.access(account_id, bob, "active")
    await projection.deliver(firm.log, damaged={8})
    return firm, account_id, ann


async def test_only_the_stream_at_fault_is_parked_and_lists_say_so(projection: Projection) -> None:
    _, account_id, ann = await a_parked_link(projection)
    token = projection.service("acme")

    assert [item["position"] for item in await projection.items("/v1/parked", token, limit=1)] == [8, 9]
    contacts = (await projection.get(f"/v1/accounts/{account_id}/contacts", token)).json()
    accounts = (await projection.get(f"/v1/contacts/{ann}/accounts", token)).json()

    assert [(item["name"], item["parked"]) for item in contacts["items"]] == [("Bob Abel", False), ("Ann Smith", True)]
    assert [item["parked"] for item in accounts["items"]] == [True]
    assert contacts["parked"]
    assert accounts["parked"]


async def test_a_parked_link_opens_nothing(projection: Projection) -> None:
    _, account_id, _ = await a_parked_link(projection)

    answer = (await projection.get(f"/v1/accounts/{account_id}/access", projection.service("acme"))).json()

    assert [entry["name"] for entry in answer["items"]] == ["Bob Abel"]
    assert answer["parked"]


async def test_an_operator_replays_a_stream_in_order(projection: Projection) -> None:
    firm, account_id, _ = await a_parked_link(projection)
    operator = projection.staff("acme", firm.staff_user("operator"), "operator")
    await projection.deliver(firm.log)
    event_id = firm.log.recorded[8].id

    answer = await projection.post(f"/v1/parked/{event_id}/replay", operator)

    assert answer.status_code == 200
    assert answer.json()["left"] == 0
    assert await projection.items("/v1/parked", operator) == []
    contacts = await projection.items(f"/v1/accounts/{account_id}/contacts", projection.service("acme"))
    assert [(item["role"], item["version"], item["parked"]) for item in contacts] == [
        (None, 2, False),
        ("owner", 4, False),
    ]
    assert len(await projection.items(f"/v1/accounts/{account_id}/access", projection.service("acme"))) == 2
    assert (await projection.post(f"/v1/parked/{event_id}/replay", operator)).status_code == 404


async def test_an_operator_whose_access_is_limited_sees_all_that_he_may_replay(projection: Projection) -> None:
    firm, *_ = await a_parked_link(projection, limited=True)
    operator = projection.staff("acme", firm.staff_user("agent", "operator"), "agent", "operator")
    await projection.deliver(firm.log)

    assert [item["position"] for item in await projection.items("/v1/parked", operator)] == [8, 9]
    assert await projection.items("/v1/accounts", operator) == []


async def test_nobody_else_replays(projection: Projection) -> None:
    firm, *_ = await a_parked_link(projection)
    other = Firm.registered("other")
    manager = firm.staff_user("manager", "viewer")
    await projection.deliver(firm.log)
    await projection.deliver(other.log)
    path = f"/v1/parked/{firm.log.recorded[7].id}/replay"

    for token, status in (
        (projection.service("acme", "queries personal log all_tenants"), 403),
        (projection.staff("acme", manager, "manager", "viewer", "admin"), 403),
        (projection.staff("other", other.admin_id, "admin"), 404),
    ):
        assert (await projection.post(path, token)).status_code == status
    assert len(await projection.items("/v1/parked", projection.service("acme"))) == 2
