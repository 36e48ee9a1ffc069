"""Accounts: as their events say, in order, and found by name."""

import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_shared.contracts.accounts import AccountArchived, AccountChanged, AccountProfile, AccountRestored

pytestmark = pytest.mark.integration


def names(items: list[dict[str, object]]) -> list[object]:
    return [item["name"] for item in items]


async def test_an_account_is_as_its_last_event_says(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Müller")
    firm.log.commit(
        AccountChanged(
            account_id=account_id,
            before=AccountProfile(name="Müller", kind="company"),
            after=AccountProfile(name="Meier", kind="household", details={"vat": "1"}, external_ids={"crm": "7"}),
        )
    )
    firm.log.commit(AccountArchived(account_id=account_id))
    await projection.deliver(firm.log)

    answer = await projection.get(f"/v1/accounts/{account_id}", projection.service("acme"))

    assert answer.status_code == 200
    assert answer.headers["etag"] == '"3"'
    assert answer.headers["vinculum-position"] == "6"
    assert answer.json() == {
        "id": str(account_id),
        "name": "Meier",
        "kind": "household",
        "details": {"vat": "1"},
        "external_ids": {"crm": "7"},
        "archived": True,
        "created_at": "2026-01-01T00:00:02Z",
        "version": 3,
        "held": False,
        "parked": False,
    }


async def test_a_restored_account_is_no_longer_archived(projection: Projection) -> None:
    firm = Firm.registered()
    archived, restored = firm.account("Archived"), firm.account("Restored")
    for account_id in (archived, restored):
        firm.log.commit(AccountArchived(account_id=account_id))
    firm.log.commit(AccountRestored(account_id=restored))
    await projection.deliver(firm.log)
    token = projection.service("acme")

    assert names(await projection.items("/v1/accounts", token, archived=True)) == ["Archived"]
    assert names(await projection.items("/v1/accounts", token, archived=False)) == ["Restored"]


async def test_accounts_come_in_the_order_of_their_names_whatever_case_and_accents(projection: Projection) -> None:
    firm = Firm.registered()
    for name in ("Zeta", "émile", "Emil", "ÉMILE ET FILS", "Straße 7", "strasse 6", "Über", "uber alles"):
        firm.account(name)
    await projection.deliver(firm.log)

    expected = ["Emil", "émile", "ÉMILE ET FILS", "strasse 6", "Straße 7", "Über", "uber alles", "Zeta"]
    for limit in (1, 3, 200):
        assert names(await projection.items("/v1/accounts", projection.service("acme"), limit=limit)) == expected


async def test_accounts_of_one_name_are_all_listed_once(projection: Projection) -> None:
    firm = Firm.registered()
    ids = {str(firm.account("Same")) for _ in range(5)}
    await projection.deliver(firm.log)

    items = await projection.items("/v1/accounts", projection.service("acme"), limit=2)

    assert len(items) == 5
    assert {item["id"] for item in items} == ids


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("mul", ["Café Müller & Söhne"]),
        ("CAFE", ["Café Müller & Söhne", "Cafeteria"]),
        ("café mü", ["Café Müller & Söhne"]),
        ("soh", ["Café Müller & Söhne"]),
        ("ller", []),
        ("100%", ["100% Juice"]),
        ("%", []),
        ("_", []),
    ],
)
async def test_accounts_are_found_by_the_start_of_their_name_or_of_a_word_in_it(
    projection: Projection, query: str, found: list[str]
) -> None:
    firm = Firm.registered()
    for name in ("Café Müller & Söhne", "Cafeteria", "100% Juice"):
        firm.account(name)
    await projection.deliver(firm.log)

    assert names(await projection.items("/v1/accounts", projection.service("acme"), query=query)) == found


async def test_a_renamed_account_is_found_by_its_new_name_only(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Old Name")
    firm.log.commit(
        AccountChanged(
            account_id=account_id, before=AccountProfile(name="Old Name"), after=AccountProfile(name="New Words")
        )
    )
    await projection.deliver(firm.log)
    token = projection.service("acme")

    assert names(await projection.items("/v1/accounts", token, query="old")) == []
    assert names(await projection.items("/v1/accounts", token, query="words")) == ["New Words"]


async def test_accounts_are_listed_under_the_base_letter_of_their_name(projection: Projection) -> None:
    firm = Firm.registered()
    for name in ("Örtli", "otto", "7 Up", "Zeta"):
        firm.account(name)
    await projection.deliver(firm.log)
    token = projection.service("acme")

    assert names(await projection.items("/v1/accounts", token, letter="O")) == ["Örtli", "otto"]
    assert names(await projection.items("/v1/accounts", token, letter="ö")) == ["Örtli", "otto"]
    assert names(await projection.items("/v1/accounts", token, letter="#")) == ["7 Up"]
