"""The event store puts events together in SQL, and `contracts.envelope` in Python: both give the same."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import pytest
from jsonschema import Draft202012Validator

from support.commands import Store, event_store
from support.samples import ACCOUNT, CONTACT, EMAIL, RECORD, SECOND_EMAIL, STAFF, an_id
from vinculum_command import reading
from vinculum_command.database import log_pool, reader_pool
from vinculum_command.http.routes import COMMANDS
from vinculum_shared.contracts import envelope, schemas
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import long_type
from vinculum_shared.http.snapshots import of_tenant

pytestmark = pytest.mark.integration

TENANT: Final = "rossi"
OTHER: Final = an_id(21)
PAIR: Final = {"account_id": ACCOUNT, "contact_id": CONTACT}
LAST_YEAR: Final = datetime.now(UTC) - timedelta(days=365)

JOURNEY: Final[list[tuple[str, dict[str, Any]]]] = [
    ("ChangeTenant", {"tenant": TENANT, "name": "Studio Rossi \u00e8 \U0001f600"}),
    ("ChangePolicy", {"profile": "teamleader", "overrides": {"features_fixed": False, "access_unit": "email"}}),
    ("AddStaffUser", {"id": STAFF, "name": "Marta", "email": "marta@example.com", "roles": ["agent"]}),
    ("ChangeStaffUser", {"staff_id": STAFF, "roles": ["manager"], "limits": {"accounts": True}}),
    ("DeactivateStaffUser", {"staff_id": STAFF}),
    (
        "CreateAccount",
        {
            "id": ACCOUNT,
            "name": 'Caff\u00e8 "Lovelace" \\ S.r.l.',
            "details": {
                "vat": "IT1",
                "employees": 12,
                "rating": 4.5,
                "retainer": True,
                "notes": None,
                "text": "a\nb\u2028",
            },
            "external_ids": {"crm": "A-17"},
        },
    ),
    ("CreateAccount", {"id": OTHER, "name": "Babbage"}),
    (
        "CreateContact",
        {
            "id": CONTACT,
            "first_name": "Ada",
            "phones": ["+39 06 5550100"],
            "emails": [{"id": EMAIL, "address": "ada@example.com", "label": "home"}],
        },
    ),
    ("CreateContact", {"id": an_id(22)}),
    ("ChangeAccount", {"account_id": ACCOUNT, "kind": "company", "details": None}),
    ("ChangeContact", {"contact_id": CONTACT, "last_name": "Lovelace", "locale": "it-IT"}),
    ("AddEmail", {"contact_id": CONTACT, "id": SECOND_EMAIL, "address": "ada@example.org"}),
    ("ChangeEmail", {"contact_id": CONTACT, "email_id": SECOND_EMAIL, "label": "work"}),
    ("SuppressEmail", {"contact_id": CONTACT, "address_hash": "0" * 64}),
    ("ReleaseEmail", {"contact_id": CONTACT, "address_hash": "0" * 64}),
    ("LinkContacts", {"account_id": ACCOUNT, "contacts": [{"contact_id": CONTACT}], "effective_at": LAST_YEAR}),
    ("ChangeLink", PAIR | {"role": "owner", "job_title": "CFO", "primary": True}),
    ("SetPermissions", PAIR | {"features": ["invoices"]}),
    ("SetNotifications", PAIR | {"topics": {"invoice": True}}),
    ("SetNotifications", PAIR | {"topics": {"invoice": False}, "email_id": SECOND_EMAIL}),
    ("Unsubscribe", PAIR | {"topic": "invoice", "address_hash": "0" * 64}),
    ("SetPortalAccess", PAIR | {"login": True, "email_id": EMAIL}),
    ("ArchiveAccount", {"account_id": ACCOUNT}),
    ("RestoreAccount", {"account_id": ACCOUNT}),
    ("DeactivateContact", {"contact_id": CONTACT}),
    ("ReactivateContact", {"contact_id": CONTACT}),
    (
        "CreateRecord",
        {
            "id": RECORD,
            "type": "invoice",
            "account_id": ACCOUNT,
            "title": "February",
            "amount": "1250.00",
            "due": "2026-01-31",
        },
    ),
    ("SendRecord", {"record_id": RECORD, "contact_ids": [CONTACT]}),
    ("RemindRecord", {"record_id": RECORD, "kind": "overdue"}),
    ("UnlinkContact", PAIR | {"reason": "moved_away", "comment": "Has sold her shares.", "effective_at": LAST_YEAR}),
    ("RemoveEmail", {"contact_id": CONTACT, "email_id": SECOND_EMAIL}),
]


@pytest.fixture(scope="module")
async def store(postgres: str) -> AsyncIterator[Store]:
    """An event store in which everything that can happen has happened."""
    async with event_store(postgres) as store:
        await store.register(TENANT, "taxdome")
        for name, fields in JOURNEY:
            await store.give(TENANT, COMMANDS[name].model_validate(fields))
        yield store


async def in_sql(store: Store, *, personal: bool) -> list[dict[str, Any]]:
    pool = await reader_pool(store.url, unsafe_durability=True)
    async with pool, of_tenant(pool, TENANT) as db:
        lines, _ = await reading.log(db, TENANT, 0, 1_000, only=reading.Filter(), personal=personal)
    return [orjson.loads(line.event) for line in lines]


async def in_python(store: Store, *, personal: bool) -> list[dict[str, Any]]:
    pool = await log_pool(store.url, unsafe_durability=True)
    async with pool:
        rows = await pool.fetch("SELECT * FROM events WHERE tenant = $1 ORDER BY position", TENANT)
    return [
        orjson.loads(
            envelope.wire(
                row["attributes"].encode(),
                row["data"].encode(),
                row["personal"].encode() if personal and row["personal"] else None,
                row["position"],
                row["recorded_at"],
                row["effective_at"] or row["recorded_at"],
            )
        )
        for row in rows
    ]


def in_order(events: list[dict[str, Any]]) -> list[str]:
    """Return events as text, to the order of their fields; trailing zeros of a second's fraction are no difference."""
    for event in events:
        event["time"] = datetime.fromisoformat(event["time"])
        event["data"]["effective_at"] = datetime.fromisoformat(event["data"]["effective_at"])
    return [orjson.dumps(event).decode() for event in events]


@pytest.mark.parametrize("personal", [True, False], ids=["with personal data", "without personal data"])
async def test_sql_and_python_put_an_event_together_alike(store: Store, *, personal: bool) -> None:
    told, expected = await in_sql(store, personal=personal), await in_python(store, personal=personal)
    assert in_order(told) == in_order(expected)
    assert {event["type"] for event in told} == set(map(long_type, EVENT_TYPES.values()))
    assert any(event["data"]["personal"] for event in told) is personal


async def test_the_log_of_all_tenants_has_the_same_form(store: Store) -> None:
    pool = await log_pool(store.url, unsafe_durability=True)
    async with pool, pool.acquire() as db:
        lines = await reading.log_of_all(db, ("", 0), 1_000, personal=True)
    assert [orjson.loads(line.event) for line in lines] == await in_sql(store, personal=True)


async def test_times_end_in_z(store: Store) -> None:
    for event in await in_sql(store, personal=True):
        assert event["time"].endswith("Z")
        assert event["data"]["effective_at"].endswith("Z")


@pytest.mark.parametrize("personal", [True, False], ids=["with personal data", "without personal data"])
async def test_what_is_in_the_log_keeps_the_published_schemas(store: Store, *, personal: bool) -> None:
    by_type = {
        schema["properties"]["type"]["const"]: Draft202012Validator(
            schema, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
        for schema in map(schemas.schema, EVENT_TYPES.values())
    }
    for event in await in_sql(store, personal=personal):
        assert list(by_type[event["type"]].iter_errors(event)) == []
