"""An example of each request and answer, for OpenAPI, by the operation."""

from typing import Any, Final

TENANT: Final = "rossi"
STAFF: Final = "01980000-0000-7000-8000-000000000001"
ACCOUNT: Final = "01980000-0000-7000-8000-000000000002"
CONTACT: Final = "01980000-0000-7000-8000-000000000003"
EMAIL: Final = "01980000-0000-7000-8000-000000000004"
OTHER_ACCOUNT: Final = "01980000-0000-7000-8000-000000000005"
RECORD: Final = "01980000-0000-7000-8000-000000000007"
EVENT: Final = "01980000-0000-7000-8000-000000000008"
ADDRESS_HASH: Final = "0f" * 32
LINK: Final = f"{ACCOUNT}/{CONTACT}"

REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "CompareLogPositions": {"at": {TENANT: 10230}},
    "RegisterTenant": {
        "tenant": TENANT,
        "name": "Studio Rossi",
        "profile": "taxdome",
        "portal_url": "https://portal.example.com",
        "locale": "it",
        "admin": {"name": "Marta Rossi", "email": "marta@example.com"},
    },
    "ChangeTenant": {"locale": "en"},
    "ChangePolicy": {"profile": "taxdome", "overrides": {"unique_contact_email": True}},
    "AddStaffUser": {"name": "Luca Bianchi", "email": "luca@example.com", "roles": ["manager"]},
    "ChangeStaffUser": {"roles": ["agent"]},
    "DeactivateStaffUser": {},
    "CreateAccount": {
        "name": "Lovelace S.r.l.",
        "kind": "company",
        "external_ids": {"crm": "A-17"},
        "new_contacts": [
            {
                "first_name": "Ada",
                "last_name": "Lovelace",
                "emails": [{"address": "ada@example.com"}],
                "job_title": "Director",
                "primary": True,
            }
        ],
    },
    "ChangeAccount": {"name": "Lovelace & Figli S.r.l."},
    "CreateContact": {
        "first_name": "Ada",
        "last_name": "Lovelace",
        "emails": [{"address": "ada@example.com", "label": "office"}],
        "link_accounts": [{"account_id": ACCOUNT, "role": "owner"}],
    },
    "ChangeContact": {"phones": ["+39 06 5550100"]},
    "AddEmail": {"address": "ada@lovelace.example", "label": "home"},
    "ChangeEmail": {"address": "ada.lovelace@example.com"},
    "SuppressEmail": {"address_hash": ADDRESS_HASH},
    "ReleaseEmail": {"address_hash": ADDRESS_HASH},
    "LinkContacts": {"contacts": [{"contact_id": CONTACT, "job_title": "Director"}]},
    "LinkAccounts": {"accounts": [{"account_id": ACCOUNT}]},
    "PutLink": {"role": "owner", "primary": True},
    "ChangeLink": {"job_title": "Director"},
    "UnlinkContactByPost": {"reason": "left_the_company"},
    "TransferContact": {"from_account_id": ACCOUNT, "to_account_id": OTHER_ACCOUNT},
    "SetPortalAccess": {"login": True, "email_id": EMAIL},
    "SetPermissions": {"features": ["invoices", "support"]},
    "SetNotifications": {"topics": {"invoice": True, "ticket": False}},
    "Unsubscribe": {"topic": "invoice", "address_hash": ADDRESS_HASH},
    "CreateRecord": {
        "type": "invoice",
        "account_id": ACCOUNT,
        "number": "2026-001",
        "amount": "1250.00",
        "due": "2026-12-31",
    },
    "SendRecord": {},
    "RemindRecord": {"kind": "overdue"},
    "AcceptInvitation": {"token": "eyJ0ZW5hbnQiOiJyb3NzaSJ9.c2lnbmF0dXJl"},
    "RunBatch": {"command": "PutLink", "account_id": ACCOUNT, "contact_id": CONTACT, "idempotency_key": "row-17"},
}


def answer(id_: str, *types: str) -> dict[str, Any]:
    return {
        "id": id_,
        "version": 1,
        "position": 10233 + len(types),
        "events": [{"id": EVENT, "type": type_, "position": 10234 + n} for n, type_ in enumerate(types)],
        "warnings": [],
    }


ANSWERS: Final[dict[str, Any]] = {
    "RegisterTenant": answer(TENANT, "TenantRegistered", "PolicyChanged", "StaffUserAdded"),
    "ChangeTenant": answer(TENANT, "TenantChanged"),
    "ChangePolicy": answer(TENANT, "PolicyChanged"),
    "AddStaffUser": answer(STAFF, "StaffUserAdded"),
    "ChangeStaffUser": answer(STAFF, "StaffUserChanged"),
    "DeactivateStaffUser": answer(STAFF, "StaffUserDeactivated"),
    "CreateAccount": answer(ACCOUNT, "AccountCreated", "ContactCreated", "ContactLinked"),
    "ChangeAccount": answer(ACCOUNT, "AccountChanged"),
    "ArchiveAccount": answer(ACCOUNT, "AccountArchived", "PortalAccessChanged"),
    "RestoreAccount": answer(ACCOUNT, "AccountRestored", "PortalAccessChanged"),
    "CreateContact": answer(CONTACT, "ContactCreated", "ContactLinked"),
    "ChangeContact": answer(CONTACT, "ContactChanged"),
    "DeactivateContact": answer(CONTACT, "ContactDeactivated", "PortalAccessChanged"),
    "ReactivateContact": answer(CONTACT, "ContactReactivated", "PortalAccessChanged"),
    "AddEmail": answer(CONTACT, "EmailAdded"),
    "ChangeEmail": answer(CONTACT, "EmailChanged", "PortalAccessChanged"),
    "RemoveEmail": answer(CONTACT, "EmailRemoved", "PortalAccessChanged"),
    "SuppressEmail": answer(CONTACT, "EmailSuppressed"),
    "ReleaseEmail": answer(CONTACT, "EmailReleased"),
    "LinkContacts": answer(ACCOUNT, "ContactLinked"),
    "LinkAccounts": answer(CONTACT, "ContactLinked"),
    "PutLink": answer(LINK, "ContactLinked"),
    "ChangeLink": answer(LINK, "LinkChanged"),
    "UnlinkContact": answer(LINK, "ContactUnlinked", "PortalAccessChanged"),
    "UnlinkContactByPost": answer(LINK, "ContactUnlinked", "PortalAccessChanged"),
    "TransferContact": answer(CONTACT, "ContactUnlinked", "PortalAccessChanged", "ContactLinked"),
    "SetPortalAccess": answer(LINK, "PortalAccessChanged"),
    "SetPermissions": answer(LINK, "PermissionsChanged"),
    "SetNotifications": answer(LINK, "NotificationPreferencesChanged"),
    "Unsubscribe": answer(LINK, "NotificationPreferencesChanged"),
    "CreateRecord": answer(RECORD, "RecordCreated"),
    "SendRecord": answer(RECORD, "RecordSent"),
    "RemindRecord": answer(RECORD, "RecordReminded"),
    "RunBatch": {"status": 201} | answer(LINK, "ContactLinked"),
    "AcceptInvitation": answer(LINK, "PortalAccessChanged")
    | {"account_id": ACCOUNT, "contact_id": CONTACT, "email_id": EMAIL, "state": "active"},
    "GetAccess": {
        "allowed": True,
        "state": "active",
        "because": [
            {
                "event_id": EVENT,
                "type": "PortalAccessChanged",
                "position": 10234,
                "recorded_at": "2026-03-02T09:30:00.123456Z",
            }
        ],
    },
    "GetAsyncapi": {"asyncapi": "3.0.0", "info": {"title": "Vinculum: events", "version": "0.1.0"}},
    "GetSchema": {"$id": "urn:vinculum:schema:contact_linked:v1", "title": "ContactLinked", "type": "object"},
    "GetLogPositions": {"positions": {TENANT: 10234}},
    "CompareLogPositions": {"positions": {TENANT: 10234}, "ids": {TENANT: EVENT}},
    "GetPolicy": {
        "profile": "taxdome",
        "max_accounts_per_contact": None,
        "min_contacts_per_account": 1,
        "contact_requires_account": False,
        "primary_contact": "optional",
        "unique_contact_email": False,
        "access_unit": "email",
        "default_features": "all",
        "features_fixed": True,
        "ticket_visibility": "account",
        "default_topics": "none",
        "mail_without_permission": "send",
        "managers": {
            "account": {"min": 0, "max": None},
            "opportunity": {"min": 0, "max": 1},
            "project": {"min": 0, "max": None},
            "ticket": {"min": 0, "max": 1},
        },
        "second_manager": False,
        "notify_managers": False,
        "manager_limits_access": True,
        "merge_contacts": None,
        "merge_accounts": 0,
        "import_unmatched_account": "hold",
    },
    "ReadLog": {
        "specversion": "1.0",
        "id": EVENT,
        "source": "/vinculum",
        "type": "vinculum.account_archived.v1",
        "subject": f"account/{ACCOUNT}",
        "time": "2026-03-02T09:30:00.123456Z",
        "tenant": TENANT,
        "position": 10234,
        "data": {"account_id": ACCOUNT, "actor": {"kind": "staff", "id": STAFF}, "personal": None},
    },
}

EXAMPLES: Final = {
    operation: {
        **({"request": REQUESTS[operation]} if operation in REQUESTS else {}),
        **({"answer": ANSWERS[operation]} if operation in ANSWERS else {}),
    }
    for operation in {*REQUESTS, *ANSWERS}
}
