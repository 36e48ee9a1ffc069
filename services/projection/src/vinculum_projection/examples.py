"""An example of each answer, for OpenAPI, by the operation."""

from typing import Any, Final

ACCOUNT: Final = "01980000-0000-7000-8000-000000000002"
CONTACT: Final = "01980000-0000-7000-8000-000000000003"
EMAIL: Final = "01980000-0000-7000-8000-000000000004"
OTHER_ACCOUNT: Final = "01980000-0000-7000-8000-000000000005"
EVENT: Final = "01980000-0000-7000-8000-000000000008"
TIME: Final = "2026-03-02T09:30:00.123456Z"
NAME: Final = "Ada Lovelace"
ADDRESS: Final = "ada@example.com"


def page(*items: Any) -> dict[str, Any]:
    return {"items": list(items), "next_cursor": None, "position": 10234, "parked": False, "held": False}


ACCOUNT_SHOWN: Final = {
    "id": ACCOUNT,
    "name": "Lovelace S.r.l.",
    "kind": "company",
    "details": {"vat": "IT01234567890"},
    "external_ids": {"crm": "A-17"},
    "archived": False,
    "created_at": TIME,
    "version": 3,
    "parked": False,
    "held": False,
}
CONTACT_SHOWN: Final = {
    "id": CONTACT,
    "name": NAME,
    "first_name": "Ada",
    "last_name": "Lovelace",
    "emails": [{"email_id": EMAIL, "address": ADDRESS, "label": "office", "primary": True}],
    "phones": ["+39 06 5550100"],
    "locale": "it",
    "external_ids": {},
    "active": True,
    "created_at": TIME,
    "version": 2,
    "parked": False,
    "held": False,
}
TOPICS: Final = {
    "invoice": True,
    "estimate": False,
    "credit_note": True,
    "contract": False,
    "task": False,
    "project": False,
    "ticket": True,
}
LINK: Final = {
    "role": "owner",
    "job_title": "Director",
    "primary": True,
    "since": TIME,
    "version": 4,
    "emails": [{"email_id": EMAIL, "address": ADDRESS, "primary": True, "access": "active", "topics": TOPICS}],
    "features": ["invoices", "support"],
    "topics": TOPICS,
    "parked": False,
}
BECAUSE: Final = {"event_id": EVENT, "type": "PortalAccessChanged", "position": 10234, "recorded_at": TIME}
ENTRY: Final = {
    "position": 10234,
    "event_id": EVENT,
    "type": "ContactUnlinked",
    "recorded_at": TIME,
    "effective_at": TIME,
    "actor": {"kind": "staff", "id": "01980000-0000-7000-8000-000000000001"},
    "reason": "left_the_company",
    "summary": "Contact unlinked",
    "data": {"account_id": ACCOUNT, "contact_id": CONTACT},
    "personal": None,
}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    operation: {"answer": answer}
    for operation, answer in {
        "ListAccounts": page(ACCOUNT_SHOWN),
        "GetAccount": ACCOUNT_SHOWN,
        "ListContacts": page(CONTACT_SHOWN),
        "GetContact": CONTACT_SHOWN,
        "ListContactsOfAccount": page({"contact_id": CONTACT, "name": NAME, **LINK}),
        "ListAccountsOfContact": page({"account_id": ACCOUNT, "name": "Lovelace S.r.l.", **LINK}),
        "ListRelatedAccounts": page(
            {
                "account": {"id": OTHER_ACCOUNT, "name": "Babbage & Co."},
                "via": [{"contact_id": CONTACT, "name": NAME, "since": TIME}],
                "parked": False,
            }
        ),
        "ListAccessToAccount": page(
            {
                "contact_id": CONTACT,
                "name": NAME,
                "email_id": EMAIL,
                "address": ADDRESS,
                "features": ["invoices", "support"],
                "because": [BECAUSE],
            }
        ),
        "ListAccountHistory": page(ENTRY),
        "ListContactHistory": page(ENTRY),
        "GetRecipients": {
            **page({"contact_id": CONTACT, "name": NAME, "email_id": EMAIL, "address": ADDRESS, "parked": False}),
            "uncovered": False,
        },
        "GetFreshness": {
            "position": 10234,
            "recorded_at": TIME,
            "applied_at": TIME,
            "lag_events": 0,
            "lag_seconds": 0.0,
            "parked_events": 0,
            "held": False,
            "held_reason": None,
            "held_since": None,
        },
    }.items()
}
