"""Contacts: as their events say, in order, and found by name, letter and address."""

import pytest

from support.firms import Firm, an_email
from support.projection import Projection
from vinculum_shared.contracts.contacts import (
    ContactChanged,
    ContactDeactivated,
    ContactProfile,
    EmailAdded,
    EmailChanged,
    EmailRemoved,
)
from vinculum_shared.contracts.events import Event

pytestmark = pytest.mark.integration


async def test_a_contact_is_as_its_last_event_says(projection: Projection) -> None:
    firm = Firm.registered()
    contact_id = firm.contact("Ann", "Smith", "ann@example.com", "old@example.com")
    first, second = firm.emails(contact_id)
    third = an_email("third@example.com", primary=False)
    primary = an_email("ann@example.org", primary=True).model_copy(update={"email_id": first})
    firm.log.commit(EmailAdded.of(third, contact_id=contact_id))
    firm.log.commit(
        EmailChanged(
            contact_id=contact_id, email_id=first, before=an_email("ann@example.com", primary=True), after=primary
        )
    )
    firm.log.commit(EmailRemoved.of(an_email("old@example.com", primary=False), contact_id=contact_id, email_id=second))
    firm.log.commit(
        ContactChanged(
            contact_id=contact_id,
            before=ContactProfile(first_name="Ann", last_name="Smith"),
            after=ContactProfile(first_name="Ann", last_name="Jones", phones=("+44 1",), locale="en"),
        )
    )
    firm.log.commit(ContactDeactivated(contact_id=contact_id))
    await projection.deliver(firm.log)

    answer = await projection.get(f"/v1/contacts/{contact_id}", projection.service("acme"))

    assert answer.headers["etag"] == '"6"'
    assert answer.json() == {
        "id": str(contact_id),
        "name": "Ann Jones",
        "first_name": "Ann",
        "last_name": "Jones",
        "emails": [
            {"email_id": str(first), "address": "ann@example.org", "label": None, "primary": True},
            {"email_id": str(third.email_id), "address": "third@example.com", "label": None, "primary": False},
        ],
        "phones": ["+44 1"],
        "locale": "en",
        "external_ids": {},
        "active": False,
        "created_at": "2026-01-01T00:00:02Z",
        "version": 6,
        "held": False,
        "parked": False,
    }


async def test_contacts_come_by_last_name_then_first_name(projection: Projection) -> None:
    firm = Firm.registered()
    for first_name, last_name in (("Zoë", "Abel"), ("Ann", "Abel"), ("Bob", "Ábel"), ("Cher", None), (None, "Abc")):
        firm.contact(first_name, last_name)
    await projection.deliver(firm.log)

    items = await projection.items("/v1/contacts", projection.service("acme"), limit=2)

    assert [item["name"] for item in items] == ["Abc", "Ann Abel", "Bob Ábel", "Zoë Abel", "Cher"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"query": "ann sm"}, ["Ann Smith"]),
        ({"query": "smith an"}, ["Ann Smith"]),
        ({"query": "SMI"}, ["Ann Smith", "Zoë Smithers"]),
        ({"query": "mith"}, []),
        ({"query": "isik o'br"}, ["I\u015f\u0131k O\u2019Brien"]),
        ({"query": "Smith, Ann"}, ["Ann Smith"]),
        ({"query": "\u200b"}, []),
        ({"letter": "s"}, ["Ann Smith", "Zoë Smithers"]),
        ({"letter": "#"}, ["Cher"]),
        ({"email": "ANN@example.com"}, ["Ann Smith"]),
        ({"email": "nn@example.com"}, []),
        ({"email": "STRAßE@xn--mnchen-3ya.example"}, ["Zoë Smithers"]),
        ({"email": "strasse@münchen.example"}, []),
        ({"email": "ann@example.com", "letter": "#"}, []),
    ],
)
async def test_contacts_are_found_by_name_letter_and_address(
    projection: Projection, query: dict[str, str], found: list[str]
) -> None:
    firm = Firm.registered()
    firm.contact("Ann", "Smith", "Ann@Example.com")
    firm.contact("Zoë", "Smithers", "straße@münchen.example")
    firm.contact("Cher", None)
    firm.contact("I\u015f\u0131k", "O\u2019Brien")
    await projection.deliver(firm.log)

    items = await projection.items("/v1/contacts", projection.service("acme"), **query)

    assert [item["name"] for item in items] == found


async def test_a_removed_address_finds_nobody(projection: Projection) -> None:
    firm = Firm.registered()
    contact_id = firm.contact("Ann", "Smith", "ann@example.com")
    event: Event = EmailRemoved.of(
        an_email("ann@example.com", primary=True), contact_id=contact_id, email_id=firm.emails(contact_id)[0]
    )
    firm.log.commit(event)
    await projection.deliver(firm.log)

    assert await projection.items("/v1/contacts", projection.service("acme"), email="ann@example.com") == []
