"""Links, from either side, and the accounts that are related by them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_shared.contracts.accounts import AccountChanged, AccountProfile
from vinculum_shared.contracts.links import (
    ContactUnlinked,
    LinkChanged,
    LinkTerms,
    NotificationPreferences,
    NotificationPreferencesChanged,
    PermissionsChanged,
)
from vinculum_shared.contracts.topics import FEATURES, TOPICS

pytestmark = pytest.mark.integration


def rename(firm: Firm, account_id: Any, before: str, after: str) -> None:
    firm.log.commit(
        AccountChanged(
            account_id=account_id, before=AccountProfile(name=before), after=AccountProfile(name=after, kind="company")
        )
    )


async def test_an_account_lists_its_contacts_with_what_each_link_says(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Initech")
    ann, bob = firm.contact("Ann", "Zorn", "ann@example.com", "ann@example.org"), firm.contact("Bob", "Young")
    firm.link(account_id, ann, "invoice", role="owner")
    firm.link(account_id, bob)
    firm.access(account_id, ann, "active", number=1)
    await projection.deliver(firm.log)
    first, second = map(str, firm.emails(ann))
    on = dict.fromkeys(TOPICS, False) | {"invoice": True}

    young, zorn = await projection.items(f"/v1/accounts/{account_id}/contacts", projection.service("acme"), limit=1)

    assert young["name"] == "Bob Young"
    assert young["emails"] == []
    assert zorn == {
        "contact_id": str(ann),
        "name": "Ann Zorn",
        "role": "owner",
        "job_title": "CFO",
        "primary": False,
        "since": "2026-01-01T00:00:05Z",
        "version": 2,
        "emails": [
            {"email_id": first, "address": "ann@example.com", "primary": True, "access": "off", "topics": on},
            {
                "email_id": second,
                "address": "ann@example.org",
                "primary": False,
                "access": "active",
                "topics": dict.fromkeys(TOPICS, False),
            },
        ],
        "features": list(FEATURES),
        "topics": on,
        "parked": False,
    }


async def test_contacts_of_an_account_come_by_last_name_page_after_page(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Initech")
    for first_name, last_name in (("Ann", "Zorn"), ("Bob", "Young"), ("Cid", "Xu"), ("Dan", "Xu"), ("Eve", None)):
        firm.link(account_id, firm.contact(first_name, last_name))
    await projection.deliver(firm.log)

    items = await projection.items(f"/v1/accounts/{account_id}/contacts", projection.service("acme"), limit=1)

    assert [item["name"] for item in items] == ["Eve", "Cid Xu", "Dan Xu", "Bob Young", "Ann Zorn"]


async def test_a_contact_lists_its_accounts_by_name(projection: Projection) -> None:
    firm = Firm.registered()
    ann = firm.contact("Ann", "Smith", "ann@example.com")
    for name in ("Zeta", "élan", "Beta", "Elan vital"):
        firm.link(firm.account(name), ann)
    await projection.deliver(firm.log)

    items = await projection.items(f"/v1/contacts/{ann}/accounts", projection.service("acme"), limit=1)

    assert [item["name"] for item in items] == ["Beta", "élan", "Elan vital", "Zeta"]
    assert all("account_id" in item and item["emails"][0]["access"] == "off" for item in items)


async def test_a_link_is_as_its_last_events_say(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com", "ann@example.org")
    _, second = firm.emails(ann)
    firm.link(account_id, ann)
    await projection.deliver(firm.log)
    preferences = NotificationPreferences(topics=("ticket",), by_email={second: {"invoice": True, "ticket": False}})
    ids: Any = {"account_id": account_id, "contact_id": ann}
    firm.log.commit(LinkChanged(**ids, before=LinkTerms(), after=LinkTerms(role="owner", primary=True)))
    firm.log.commit(PermissionsChanged(**ids, before=FEATURES, after=("support",)))
    firm.log.commit(NotificationPreferencesChanged(**ids, before=NotificationPreferences(), after=preferences))
    await projection.deliver(firm.log)

    (item,) = await projection.items(f"/v1/accounts/{account_id}/contacts", projection.service("acme"))

    assert (item["role"], item["job_title"], item["primary"], item["version"]) == ("owner", None, True, 4)
    assert item["features"] == ["support"]
    assert [topic for topic, on in item["topics"].items() if on] == ["invoice", "ticket"]
    assert [[topic for topic, on in email["topics"].items() if on] for email in item["emails"]] == [
        ["ticket"],
        ["invoice"],
    ]


async def test_who_is_unlinked_is_listed_no_more_and_starts_afresh_when_linked_again(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    path, token = f"/v1/accounts/{account_id}/contacts", projection.service("acme")
    firm.link(account_id, ann, "invoice", role="owner")
    firm.access(account_id, ann, "active")
    firm.log.commit(ContactUnlinked(account_id=account_id, contact_id=ann, before=LinkTerms(role="owner")))
    firm.access(account_id, ann, "off", "unlinked")
    await projection.deliver(firm.log)

    assert await projection.items(path, token) == []
    assert await projection.items(f"/v1/contacts/{ann}/accounts", token) == []

    firm.link(account_id, ann)
    await projection.deliver(firm.log)
    (again,) = await projection.items(path, token)

    assert (again["role"], again["version"], again["emails"][0]["access"]) == (None, 5, "off")
    assert not any(again["topics"].values())


async def test_a_link_dates_from_when_it_was_true(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith")
    firm.link(account_id, ann)
    backdated = firm.account("Globex")
    firm.link(backdated, ann, effective_at=datetime(2020, 1, 1, tzinfo=UTC))
    await projection.deliver(firm.log)

    globex, initech = await projection.items(f"/v1/contacts/{ann}/accounts", projection.service("acme"))

    assert (globex["since"], initech["since"]) == ("2020-01-01T00:00:00Z", "2026-01-01T00:00:04Z")


@pytest.mark.parametrize("together", [True, False])
async def test_lists_follow_a_renamed_account(projection: Projection, *, together: bool) -> None:
    firm = Firm.registered()
    ann = firm.contact("Ann", "Smith")
    alpha, beta = firm.account("Alpha"), firm.account("Beta")
    firm.link(alpha, ann)
    firm.link(beta, ann)
    if not together:
        await projection.deliver(firm.log)
    rename(firm, alpha, "Alpha", "Omega")
    await projection.deliver(firm.log)

    items = await projection.items(f"/v1/contacts/{ann}/accounts", projection.service("acme"), limit=1)

    assert [item["name"] for item in items] == ["Beta", "Omega"]


async def test_related_accounts_are_those_that_share_a_contact_each_with_whom_and_since_when(
    projection: Projection,
) -> None:
    firm = Firm.registered()
    ann, bob, eve = firm.contact("Ann", "Smith"), firm.contact("Bob", "Abel"), firm.contact("Eve", "Jones")
    alpha, beta, gamma, delta = (firm.account(name) for name in ("Alpha", "Beta", "Gamma", "Delta"))
    firm.link(alpha, ann)
    firm.link(alpha, bob)
    firm.link(gamma, ann)
    firm.link(beta, ann)
    firm.link(beta, bob)
    firm.link(delta, eve)
    await projection.deliver(firm.log)

    items = await projection.items(f"/v1/accounts/{alpha}/related", projection.service("acme"), limit=1)

    assert items == [
        {
            "account": {"id": str(beta), "name": "Beta"},
            "via": [
                {"contact_id": str(bob), "name": "Bob Abel", "since": "2026-01-01T00:00:13Z"},
                {"contact_id": str(ann), "name": "Ann Smith", "since": "2026-01-01T00:00:12Z"},
            ],
            "parked": False,
        },
        {
            "account": {"id": str(gamma), "name": "Gamma"},
            "via": [{"contact_id": str(ann), "name": "Ann Smith", "since": "2026-01-01T00:00:11Z"}],
            "parked": False,
        },
    ]
    assert await projection.items(f"/v1/accounts/{delta}/related", projection.service("acme")) == []


async def test_accounts_are_related_no_more_once_nobody_is_shared(projection: Projection) -> None:
    firm = Firm.registered()
    ann, alpha, beta = firm.contact("Ann", "Smith"), firm.account("Alpha"), firm.account("Beta")
    firm.link(alpha, ann)
    firm.link(beta, ann)
    firm.log.commit(ContactUnlinked(account_id=beta, contact_id=ann, before=LinkTerms()))
    await projection.deliver(firm.log)

    assert await projection.items(f"/v1/accounts/{alpha}/related", projection.service("acme")) == []
