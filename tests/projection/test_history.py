"""What has happened to an account or a contact."""

from uuid import uuid4

import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_shared.contracts.events import Actor
from vinculum_shared.contracts.links import ContactUnlinked, LinkTerms
from vinculum_shared.contracts.records import RecordCreated
from vinculum_shared.contracts.values import RecordId

pytestmark = pytest.mark.integration


async def test_an_account_has_the_history_of_itself_its_links_and_its_records(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    firm.link(account_id, ann)
    firm.access(account_id, ann, "active")
    firm.log.commit(RecordCreated(record_id=RecordId(uuid4()), account_id=account_id, type="invoice", title="For Ann"))
    unlinked = ContactUnlinked(account_id=account_id, contact_id=ann, before=LinkTerms(), comment="She left")
    firm.log.commit(unlinked, actor=Actor(kind="staff", id=str(firm.admin_id)), reason="left_company")
    await projection.deliver(firm.log)
    token = projection.service("acme")

    items = await projection.items(f"/v1/accounts/{account_id}/history", token, limit=2)

    assert [(item["position"], item["type"], item["summary"]) for item in items] == [
        (4, "AccountCreated", "Account created"),
        (6, "ContactLinked", "Contact linked"),
        (7, "PortalAccessChanged", "Portal access off → active (granted)"),
        (8, "RecordCreated", "Invoice created"),
        (9, "ContactUnlinked", "Contact unlinked"),
    ]
    assert items[-1] == {
        "position": 9,
        "event_id": str(firm.log.recorded[-1].id),
        "type": "ContactUnlinked",
        "recorded_at": "2026-01-01T00:00:07Z",
        "effective_at": "2026-01-01T00:00:07Z",
        "actor": {"kind": "staff", "id": str(firm.admin_id)},
        "reason": "left_company",
        "summary": "Contact unlinked",
        "data": {
            "account_id": str(account_id),
            "contact_id": str(ann),
            "before": {"role": None, "primary": False},
            "features": [],
            "preferences": {"topics": [], "by_email": {}},
        },
        "personal": {"subject": f"contact/{ann}", "comment": "She left"},
    }


async def test_a_contact_has_the_history_of_itself_and_its_links(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, ann, bob = firm.account("Initech"), firm.contact("Ann", "Smith"), firm.contact("Bob", "Abel")
    firm.link(account_id, bob)
    firm.link(account_id, ann)
    await projection.deliver(firm.log)

    items = await projection.items(f"/v1/contacts/{ann}/history", projection.service("acme"))

    assert [(item["position"], item["type"]) for item in items] == [(5, "ContactCreated"), (8, "ContactLinked")]
