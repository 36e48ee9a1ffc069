"""Who may enter an account's portal now, by which address, and because of what."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from fastapi import APIRouter

from vinculum_projection.reading import Reader
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.links import AccessState, ContactUnlinked, PortalAccessChanged
from vinculum_shared.contracts.topics import Feature
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, Personal
from vinculum_shared.http.documented import Documented
from vinculum_shared.http.paging import NIL, Page, Paged
from vinculum_shared.postgres import Connection, columns

EVENTS: Final = (ContactUnlinked, PortalAccessChanged)
router = APIRouter(prefix="/v1", tags=["access"])

Link = tuple[str, UUID, UUID]


async def apply(db: Connection, events: Sequence[Recorded[ContactUnlinked | PortalAccessChanged]]) -> None:
    unlinked: dict[Link, None] = {}
    last: dict[Link, dict[EmailId, tuple[AccessState, UUID, int, datetime]]] = defaultdict(dict)
    for event in events:
        link = (event.tenant, event.data.account_id, event.data.contact_id)
        match event.data:
            case ContactUnlinked():
                unlinked[link] = None
                last.pop(link, None)
            case PortalAccessChanged(email_id=email_id, to=state):
                last[link][email_id] = (state, event.id, event.position, event.recorded_at)
    changed = [(*link, email_id, *state) for link, emails in last.items() for email_id, state in emails.items()]
    off = [row[:4] for row in changed if row[4] == "off"]
    on = [row for row in changed if row[4] != "off"]
    if unlinked:
        await db.execute(UNLINK, *columns(unlinked, 3))
    if off:
        await db.execute(OFF, *columns(off, 4))
    if on:
        await db.execute(ON, on)


UNLINK: LiteralString = """
    DELETE FROM access USING unnest($1::text[], $2::uuid[], $3::uuid[]) AS gone (tenant, account_id, contact_id)
    WHERE (access.tenant, access.account_id, access.contact_id) = (gone.tenant, gone.account_id, gone.contact_id)"""
OFF: LiteralString = """
    DELETE FROM access
    USING unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[]) AS gone (tenant, account_id, contact_id, email_id)
    WHERE (access.tenant, access.account_id, access.contact_id, access.email_id)
        = (gone.tenant, gone.account_id, gone.contact_id, gone.email_id)"""
ON: LiteralString = """
    INSERT INTO access SELECT new.* FROM unnest($1::access[]) AS new
    ON CONFLICT (tenant, account_id, contact_id, email_id) DO UPDATE
    SET state = excluded.state, event_id = excluded.event_id, position = excluded.position,
        recorded_at = excluded.recorded_at"""


class Because(Documented):
    event_id: UUID
    type: str
    position: int
    recorded_at: datetime


class Entry(Documented):
    contact_id: ContactId
    name: Personal[str | None]
    email_id: EmailId
    address: Personal[str | None]
    features: list[Feature]
    because: list[Because]


@router.get("/accounts/{account_id}/access")
async def list_access_to_account(account_id: AccountId, read: Reader, paging: Paged) -> Page[Entry]:
    """List the addresses that open the portal now, by their contact's name, each with the events that made it so."""
    await read.account(account_id)
    rows = await read.rows(ENTRIES, account_id, *paging.after("", NIL, NIL), paging.limit + 1)
    return await read.page(Entry, rows, paging, ("folded_name", "contact_id", "email_id"), account_id)


# An archived account, an inactive contact, and what has parked events opens nothing, whatever its access says. OFFSET 0
# keeps each look-up one of its own for each link of the account, and BETWEEN with ORDER BY has it use the primary key:
# for Postgres, whose statistics may date from small tables, an index that begins with names would look as good.
ENTRIES: LiteralString = """
    SELECT contact.folded_name, links.contact_id, access.email_id, email.address, links.features, contact.name,
        jsonb_build_array(
            jsonb_build_object('event_id', links.linked_event_id, 'type', 'ContactLinked',
                'position', links.linked_position, 'recorded_at', links.linked_at),
            jsonb_build_object('event_id', access.event_id, 'type', 'PortalAccessChanged',
                'position', access.position, 'recorded_at', access.recorded_at)
        ) AS because
    FROM links
        CROSS JOIN LATERAL (
            SELECT email_id, event_id, position, recorded_at FROM access
            WHERE tenant = $1 AND account_id = $2 AND contact_id = links.contact_id AND state = 'active'
            OFFSET 0) AS access
        CROSS JOIN LATERAL (
            SELECT folded_name, name FROM contacts
            WHERE tenant = $1 AND contact_id BETWEEN links.contact_id AND links.contact_id AND active
            ORDER BY contact_id OFFSET 0) AS contact
        CROSS JOIN LATERAL (
            SELECT address FROM contact_emails
            WHERE tenant = $1 AND contact_id BETWEEN links.contact_id AND links.contact_id
                AND email_id = access.email_id
            ORDER BY contact_id OFFSET 0) AS email
    WHERE links.tenant = $1 AND links.account_id = $2
        AND NOT (SELECT archived FROM accounts WHERE tenant = $1 AND account_id = $2)
        AND NOT EXISTS (SELECT FROM parked WHERE tenant = $1 AND stream IN (
            'link/' || links.account_id || '/' || links.contact_id, 'account/' || links.account_id,
            'contact/' || links.contact_id) OFFSET 0)
        AND (contact.folded_name, links.contact_id, access.email_id) > ($3, $4, $5)
    ORDER BY contact.folded_name, links.contact_id, access.email_id
    LIMIT $6"""
