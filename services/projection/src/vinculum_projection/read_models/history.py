"""What has happened to an account or a contact, in order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from fastapi import APIRouter

from vinculum_projection.reading import Reader
from vinculum_shared.contracts.accounts import AccountArchived, AccountChanged, AccountCreated, AccountRestored
from vinculum_shared.contracts.contacts import (
    ContactChanged,
    ContactCreated,
    ContactDeactivated,
    ContactReactivated,
    EmailAdded,
    EmailChanged,
    EmailReleased,
    EmailRemoved,
    EmailSuppressed,
)
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Actor, Event
from vinculum_shared.contracts.links import (
    ContactLinked,
    ContactUnlinked,
    LinkChanged,
    NotificationPreferencesChanged,
    PermissionsChanged,
    PortalAccessChanged,
)
from vinculum_shared.contracts.records import RecordCreated, RecordReminded, RecordSent
from vinculum_shared.contracts.values import AccountId, ContactId, Personal
from vinculum_shared.http.documented import Documented
from vinculum_shared.http.paging import Page, Paged
from vinculum_shared.postgres import Connection

SUMMARIES: Final[dict[type[Event], str]] = {
    AccountCreated: "Account created",
    AccountChanged: "Account changed",
    AccountArchived: "Account archived",
    AccountRestored: "Account restored",
    ContactCreated: "Contact created",
    ContactChanged: "Contact changed",
    EmailAdded: "Address added",
    EmailChanged: "Address changed",
    EmailRemoved: "Address removed",
    EmailSuppressed: "No mail is sent to an address any more: it does not exist",
    EmailReleased: "Mail is sent to an address again",
    ContactDeactivated: "Contact deactivated",
    ContactReactivated: "Contact reactivated",
    ContactLinked: "Contact linked",
    ContactUnlinked: "Contact unlinked",
    LinkChanged: "Link changed",
    PortalAccessChanged: "Portal access {from} → {to} ({why})",
    PermissionsChanged: "Permissions changed",
    NotificationPreferencesChanged: "Notification preferences changed",
    RecordCreated: "{type} created",
    RecordSent: "{type} sent",
    RecordReminded: "Reminder ({kind}) about {type}",
}
EVENTS: Final = tuple(SUMMARIES)
router = APIRouter(prefix="/v1", tags=["history"])


async def apply(db: Connection, events: Sequence[Recorded[Any]]) -> None:
    await db.execute(ADD, [row(event) for event in events])


def row(event: Recorded[Any]) -> tuple[object, ...]:
    return (
        event.tenant,
        event.position,
        event.id,
        event.type,
        event.recorded_at,
        event.effective_at,
        event.actor.kind,
        event.actor.id,
        event.reason,
        event.data_json.get("account_id"),
        event.data_json.get("contact_id"),
        {name: value for name, value in event.data_json.items() if name not in OF_ALL},
        event.data_json["personal"],
    )


OF_ALL: Final = frozenset({"actor", "reason", "effective_at", "personal"})
ADD: LiteralString = "INSERT INTO history SELECT new.* FROM unnest($1::history[]) AS new ON CONFLICT DO NOTHING"


class HistoryEntry(Documented):
    position: int
    event_id: UUID
    type: str
    recorded_at: datetime
    effective_at: datetime
    actor: Actor
    reason: str | None
    summary: str
    data: dict[str, Any]
    personal: Personal[dict[str, Any] | None]


@router.get("/accounts/{account_id}/history")
async def list_account_history(account_id: AccountId, read: Reader, paging: Paged) -> Page[HistoryEntry]:
    """List the events of the account, its links and its records, oldest first."""
    await read.account(account_id)
    rows = await read.rows(OF_ACCOUNT, account_id, *paging.after(0), paging.limit + 1)
    return await read.page(HistoryEntry, [entry(row) for row in rows], paging, ("position",), account_id)


@router.get("/contacts/{contact_id}/history")
async def list_contact_history(contact_id: ContactId, read: Reader, paging: Paged) -> Page[HistoryEntry]:
    """List the events of the contact, its links and its records, oldest first."""
    await read.contact(contact_id)
    rows = await read.rows(OF_CONTACT, contact_id, *paging.after(0), paging.limit + 1)
    return await read.page(HistoryEntry, [entry(row) for row in rows], paging, ("position",), contact_id)


SENTENCES: Final = {event_type.__name__: sentence for event_type, sentence in SUMMARIES.items()}


def entry(row: Any) -> dict[str, Any]:
    sentence = SENTENCES[row["type"]].format_map(row["data"])
    actor = Actor(kind=row["actor_kind"], id=row["actor_id"])
    return dict(row) | {"actor": actor, "summary": sentence[0].upper() + sentence[1:]}


OF_ACCOUNT: LiteralString = """
    SELECT position, event_id, type, recorded_at, effective_at, actor_kind, actor_id, reason, data, personal
    FROM history WHERE tenant = $1 AND account_id = $2 AND position > $3
    ORDER BY position LIMIT $4"""
OF_CONTACT: LiteralString = """
    SELECT position, event_id, type, recorded_at, effective_at, actor_kind, actor_id, reason, data, personal
    FROM history WHERE tenant = $1 AND contact_id = $2 AND position > $3
    ORDER BY position LIMIT $4"""
