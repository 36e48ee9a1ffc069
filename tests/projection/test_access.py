"""Who may enter an account now, and because of what."""

from typing import Any

import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_shared.contracts.accounts import AccountArchived
from vinculum_shared.contracts.contacts import ContactDeactivated
from vinculum_shared.contracts.links import AccessState, ContactUnlinked, LinkTerms, PermissionsChanged
from vinculum_shared.contracts.topics import FEATURES

pytestmark = pytest.mark.integration


async def entries(projection: Projection, account_id: object) -> list[dict[str, Any]]:
    return await projection.items(f"/v1/accounts/{account_id}/access", projection.service("acme"), limit=1)


async def test_who_may_enter_is_told_with_the_address_the_features_and_the_events_that_made_it_so(
    projection: Projection,
) -> None:
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com", "ann@example.org")
    firm.link(account_id, ann)
    linked = firm.log.recorded[-1]
    firm.access(account_id, ann, "invited", "invited", number=1)
    firm.access(account_id, ann, "active", "accepted", number=1)
    accepted = firm.log.recorded[-1]
    firm.log.commit(
        PermissionsChanged(account_id=account_id, contact_id=ann, before=FEATURES, after=("invoices", "support"))
    )
    await projection.deliver(firm.log)

    assert await entries(projection, account_id) == [
        {
            "contact_id": str(ann),
            "name": "Ann Smith",
            "email_id": str(firm.emails(ann)[1]),
            "address": "ann@example.org",
            "features": ["invoices", "support"],
            "because": [
                {
                    "event_id": str(linked.id),
                    "type": "ContactLinked",
                    "position": 6,
                    "recorded_at": "2026-01-01T00:00:04Z",
                },
                {
                    "event_id": str(accepted.id),
                    "type": "PortalAccessChanged",
                    "position": 8,
                    "recorded_at": "2026-01-01T00:00:06Z",
                },
            ],
        }
    ]


async def test_an_invitation_opens_nothing_yet_and_a_revocation_nothing_more(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Initech")
    histories: dict[str, list[AccessState]] = {
        "Invited": ["invited"],
        "Revoked": ["active", "off"],
        "Suspended": ["active", "suspended"],
    }
    for name, states in histories.items():
        contact_id = firm.contact(name, None, f"{name}@example.com")
        firm.link(account_id, contact_id)
        for state in states:
            firm.access(account_id, contact_id, state)
            await projection.deliver(firm.log)

    assert await entries(projection, account_id) == []


async def test_entries_come_by_name_then_address_page_after_page(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Initech")
    for last_name in ("Young", "Abel"):
        contact_id = firm.contact("Ann", last_name, "one@example.com", "two@example.com")
        firm.link(account_id, contact_id)
        firm.access(account_id, contact_id, "active", number=0)
        firm.access(account_id, contact_id, "active", number=1)
    await projection.deliver(firm.log)

    found = await entries(projection, account_id)

    assert [entry["name"] for entry in found] == ["Ann Abel", "Ann Abel", "Ann Young", "Ann Young"]
    assert len({entry["email_id"] for entry in found}) == 4


async def test_unlinking_takes_access_away_even_before_the_event_that_says_so(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    other = firm.account("Globex")
    for each in (account_id, other):
        firm.link(each, ann)
        firm.access(each, ann, "active")
    firm.log.commit(ContactUnlinked(account_id=account_id, contact_id=ann, before=LinkTerms()))
    await projection.deliver(firm.log)
    assert await entries(projection, account_id) == []
    assert len(await entries(projection, other)) == 1

    firm.link(account_id, ann)
    await projection.deliver(firm.log)
    assert await entries(projection, account_id) == []


@pytest.mark.parametrize("closed", ["account", "contact"])
async def test_an_archived_account_or_an_inactive_contact_opens_nothing_whatever_its_access_says(
    projection: Projection, closed: str
) -> None:
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    firm.link(account_id, ann)
    firm.access(account_id, ann, "active")
    firm.log.commit(
        AccountArchived(account_id=account_id) if closed == "account" else ContactDeactivated(contact_id=ann)
    )
    await projection.deliver(firm.log)

    assert await entries(projection, account_id) == []
