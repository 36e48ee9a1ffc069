"""Who gets mail about a topic, if nobody is chosen by hand."""

import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_shared.contracts.contacts import ContactDeactivated
from vinculum_shared.contracts.links import (
    NotificationPreferences,
    NotificationPreferencesChanged,
    PermissionsChanged,
)
from vinculum_shared.contracts.topics import FEATURES

pytestmark = pytest.mark.integration


async def test_those_with_the_topic_on_are_the_recipients(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Initech")
    ann, bob, eve, dan = (
        firm.contact(name, "Smith", f"{name}@example.com", f"{name}@example.org")
        for name in ("Ann", "Bob", "Eve", "Dan")
    )
    firm.link(account_id, eve, "invoice", "ticket")
    firm.link(account_id, bob, "ticket")
    firm.link(account_id, ann)
    firm.link(account_id, dan, "invoice")
    second = firm.emails(ann)[1]
    firm.log.commit(
        NotificationPreferencesChanged(
            account_id=account_id,
            contact_id=ann,
            before=NotificationPreferences(),
            after=NotificationPreferences(by_email={second: {"invoice": True}}),
        )
    )
    firm.log.commit(ContactDeactivated(contact_id=dan))
    await projection.deliver(firm.log)
    path, token = f"/v1/accounts/{account_id}/recipients", projection.service("acme")

    answer = (await projection.get(path, token, topic="invoice")).json()

    assert answer["uncovered"] is False
    assert answer["items"] == [
        {
            "contact_id": str(ann),
            "name": "Ann Smith",
            "email_id": str(second),
            "address": "Ann@example.org",
            "parked": False,
        },
        {
            "contact_id": str(eve),
            "name": "Eve Smith",
            "email_id": str(firm.emails(eve)[0]),
            "address": "Eve@example.com",
            "parked": False,
        },
    ]
    assert await projection.items(path, token, topic="invoice", limit=1) == answer["items"]


async def test_a_topic_that_reaches_nobody_is_uncovered(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Initech")
    firm.link(account_id, firm.contact("Ann", "Smith", "ann@example.com"), "ticket")
    await projection.deliver(firm.log)

    answer = await projection.get(f"/v1/accounts/{account_id}/recipients", projection.service("acme"), topic="invoice")

    assert (answer.json()["items"], answer.json()["uncovered"]) == ([], True)


@pytest.mark.parametrize(("rule", "count"), [("send", 1), ("hold", 0)])
async def test_mail_about_what_a_contact_may_not_see_goes_out_as_the_policy_says(
    projection: Projection, rule: str, count: int
) -> None:
    firm = Firm.registered(mail_without_permission=rule)
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    firm.link(account_id, ann, "invoice")
    firm.log.commit(PermissionsChanged(account_id=account_id, contact_id=ann, before=FEATURES, after=("support",)))
    await projection.deliver(firm.log)

    items = await projection.items(f"/v1/accounts/{account_id}/recipients", projection.service("acme"), topic="invoice")

    assert len(items) == count


async def test_a_topic_that_is_none_is_refused(projection: Projection) -> None:
    firm = Firm.registered()
    account_id = firm.account("Initech")
    await projection.deliver(firm.log)
    path, token = f"/v1/accounts/{account_id}/recipients", projection.service("acme")

    assert (await projection.get(path, token, topic="gossip")).status_code == 422
    assert (await projection.get(path, token)).status_code == 422
