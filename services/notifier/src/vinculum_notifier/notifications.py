"""Queries over the ledger, for staff and services of one tenant."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, LiteralString
from uuid import UUID

from asyncpg import Record
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from vinculum_notifier import preferences
from vinculum_notifier.routing import MailTopic, Outcome
from vinculum_shared.contracts.values import AccountId, ContactId, StaffId
from vinculum_shared.paging import Page, Paged
from vinculum_shared.postgres import Connection
from vinculum_shared.problems import Forbidden, NotFound, TenantNotFound
from vinculum_shared.snapshots import of_tenant, reach
from vinculum_shared.tokens import READERS, Principal, bearer

router = APIRouter(prefix="/v1/notifications", tags=["notifications"])

POSITION_MAX: Final = 2**63 - 1
NO_STAFF_USER: Final = preferences.Staff(active=False)
NEWEST: Final = (POSITION_MAX, UUID(int=2**128 - 1))


class NotificationNotFound(NotFound):
    """There is no such notification."""


class Recipient(BaseModel):
    contact_id: ContactId
    email_id: UUID
    address: str | None
    """As it was at the event. Null without the scope `personal`."""


class Notification(BaseModel):
    id: UUID
    event_id: UUID
    position: int
    """Of the event."""
    topic: MailTopic
    account_id: AccountId | None
    record_id: UUID | None
    recipient: Recipient | None
    """Null where nobody is told."""
    outcome: Outcome
    reason: str
    attempts: int
    next_attempt_at: datetime | None
    """While it is queued."""
    reply: str | None
    """What the mail server said last: its codes."""
    message_id: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Read:
    """Who asks, and one snapshot of his tenant's ledger."""

    db: Connection
    tenant: str
    position: int
    personal: bool
    limited: bool
    """Sees only what he manages (TL-10), which is nothing: there are no managers yet."""

    def shown(self, row: Record) -> Notification:
        fields: dict[str, Any] = dict(row)
        contact_id, email_id, address = (fields.pop(name) for name in ("contact_id", "email_id", "address"))
        to = contact_id and Recipient(
            contact_id=contact_id, email_id=email_id, address=address if self.personal else None
        )
        if row["outcome"] != "queued":
            fields["next_attempt_at"] = None
        return Notification(**fields, recipient=to)


async def reading(
    request: Request,
    response: Response,
    principal: Annotated[Principal, Depends(bearer)],
    min_position: Annotated[int, Query(ge=0, le=POSITION_MAX, description="Wait for this position.")] = 0,
) -> AsyncIterator[Read]:
    if principal.kind not in ("staff", "service"):
        raise Forbidden
    principal.require_scope("queries")
    tenant, pool = principal.the_tenant, request.state.pool
    await reach(pool, tenant, min_position)
    async with of_tenant(pool, tenant) as db:
        position = await db.fetchval(POSITION, tenant)
        if position is None:
            raise TenantNotFound
        limited = principal.kind == "staff" and await is_limited(db, principal, tenant)
        response.headers["Vinculum-Position"] = str(position)
        yield Read(db, tenant, position, principal.sees_personal, limited)


async def is_limited(db: Connection, principal: Principal, tenant: str) -> bool:
    """Tell if a staff user sees only what he manages. Refuses those who may not read at all."""
    staff_id = principal.staff_id
    known = await preferences.look(db, tenant, f"staff/{staff_id}")
    staff = (known.staff(staff_id) if staff_id else None) or NO_STAFF_USER
    principal.require_role(READERS, active=staff.active, recorded=staff.roles)
    policy, roles = known.tenant.policy, principal.effective_roles(staff.roles)
    return policy is None or policy.limits_access(roles, limited_accounts=staff.limits.accounts)


Reader = Annotated[Read, Depends(reading, scope="function")]


@router.get("")
async def notifications(
    read: Reader,
    paging: Paged,
    account_id: AccountId | None = None,
    contact_id: ContactId | None = None,
    staff_id: StaffId | None = None,
    topic: MailTopic | None = None,
) -> Page[Notification]:
    """What became of the mails, newest first."""
    filters = (account_id, contact_id, staff_id, topic)
    after = paging.after(*NEWEST)
    rows = [] if read.limited else await read.db.fetch(LIST, read.tenant, *filters, *after, paging.limit + 1)
    items = [read.shown(row) for row in rows[: paging.limit]]
    more = len(rows) > paging.limit
    return Page(
        items=items,
        next_cursor=paging.cursor_after((items[-1].position, items[-1].id)) if more else None,
        position=read.position,
        parked=await read.db.fetchval(PARKED, read.tenant),
    )


@router.get("/{notification_id}")
async def notification(notification_id: UUID, read: Reader) -> Notification:
    row = None if read.limited else await read.db.fetchrow(ONE, read.tenant, notification_id)
    if row is None:
        raise NotificationNotFound
    return read.shown(row)


POSITION: LiteralString = "SELECT position FROM subscription WHERE tenant = $1"
PARKED: LiteralString = "SELECT EXISTS (SELECT FROM parked WHERE tenant = $1)"
LIST: LiteralString = """
    SELECT id, event_id, position, topic, account_id, record_id, contact_id, email_id, address, outcome, reason,
        attempts, next_attempt_at, reply, message_id, changed_at
    FROM notification
    WHERE tenant = $1
        AND ($2::uuid IS NULL OR account_id = $2) AND ($3::uuid IS NULL OR contact_id = $3)
        AND ($4::uuid IS NULL OR staff_id = $4) AND ($5::text IS NULL OR topic = $5)
        AND (position, id) < ($6, $7)
    ORDER BY position DESC, id DESC LIMIT $8"""
ONE: LiteralString = """
    SELECT id, event_id, position, topic, account_id, record_id, contact_id, email_id, address, outcome, reason,
        attempts, next_attempt_at, reply, message_id, changed_at
    FROM notification WHERE tenant = $1 AND id = $2"""
