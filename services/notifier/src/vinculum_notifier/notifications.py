"""Queries over the ledger, for staff and services of one tenant."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, LiteralString
from uuid import UUID

from asyncpg import Record
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from vinculum_notifier import preferences
from vinculum_notifier.database import FOR_TENANT
from vinculum_notifier.routing import MailTopic, Outcome
from vinculum_shared import tokens
from vinculum_shared.contracts.values import AccountId, ContactId, StaffId
from vinculum_shared.postgres import Connection, Pool
from vinculum_shared.problems import FieldError, Forbidden, Invalid, NotFound, Retriable
from vinculum_shared.tokens import Principal, bearer

router = APIRouter(prefix="/v1/notifications", tags=["notifications"])

READERS: Final = frozenset({"viewer", "agent", "manager", "admin"})
LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50
CURSOR_LENGTH_MAX: Final = 1_000
POSITION_MAX: Final = 2**63 - 1
WAIT_SECONDS_MAX: Final = 2.0
PAUSE_SECONDS: Final = 0.02
NEWEST: Final = (POSITION_MAX, UUID(int=2**128 - 1))


class NotificationNotFound(NotFound):
    """There is no such notification."""


class TenantNotFound(NotFound):
    """There is no such tenant."""


class ProjectionBehind(Retriable):
    """The ledger has not got as far as `min_position` yet."""

    status = 409


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


class Page(BaseModel):
    items: list[Notification]
    next_cursor: str | None
    position: int
    parked: bool
    """Events of the tenant could not be applied; mail about them may be missing."""


@dataclass(frozen=True, slots=True)
class Read:
    """Who asks, and one snapshot of his tenant's ledger."""

    db: Connection
    tenant: str
    position: int
    personal: bool

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
    await reached(pool, tenant, min_position)
    async with of_tenant(pool, tenant) as db:
        position = await db.fetchval(POSITION, tenant)
        if position is None:
            raise TenantNotFound
        if principal.kind == "staff":
            await refuse_unless_reader(db, principal, tenant)
        response.headers["Vinculum-Position"] = str(position)
        yield Read(db, tenant, position, principal.kind == "staff" or "personal" in principal.scopes)


async def refuse_unless_reader(db: Connection, principal: Principal, tenant: str) -> None:
    """A role counts if the token has it and the staff user, who must be active, has it too."""
    try:
        staff_id = UUID(principal.sub)
    except ValueError:
        raise Forbidden("The token's subject is no staff user.") from None
    staff = (await preferences.look(db, tenant, f"staff/{staff_id}")).staff(staff_id)
    if staff is None or not staff.active:
        raise Forbidden("The token's subject is no active staff user of this tenant.")
    if not principal.roles & staff.roles & READERS:
        raise Forbidden(f"This needs one of the roles {', '.join(sorted(READERS))}.")


async def reached(pool: Pool, tenant: str, min_position: int) -> None:
    """Wait until the tenant's events up to this one are in the ledger, whichever process does it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS_MAX
    while min_position:
        async with of_tenant(pool, tenant) as db:
            position = await db.fetchval(POSITION, tenant) or 0
        if position >= min_position:
            return
        if loop.time() > deadline:
            raise ProjectionBehind(position=position, min_position=min_position)
        await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def of_tenant(pool: Pool, tenant: str) -> AsyncIterator[Connection]:
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        await db.execute(FOR_TENANT, tenant)
        yield db


Reader = Annotated[Read, Depends(reading, scope="function")]


@router.get("")
async def notifications(
    request: Request,
    read: Reader,
    account_id: AccountId | None = None,
    contact_id: ContactId | None = None,
    staff_id: StaffId | None = None,
    topic: MailTopic | None = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=CURSOR_LENGTH_MAX)] = None,
) -> Page:
    """What became of the mails, newest first."""
    filters = (account_id, contact_id, staff_id, topic)
    key, purpose = request.state.settings.cursor_key, f"cursor {read.tenant} {filters}"
    after = opened(tokens.verify(key, purpose, cursor)) if cursor else NEWEST
    rows = await read.db.fetch(LIST, read.tenant, *filters, *after, limit + 1)
    items = [read.shown(row) for row in rows[:limit]]
    more = len(rows) > limit
    last = {"position": items[-1].position, "id": items[-1].id} if more else {}
    return Page(
        items=items,
        next_cursor=tokens.sign(key, purpose, last) if more else None,
        position=read.position,
        parked=await read.db.fetchval(PARKED, read.tenant),
    )


def opened(payload: dict[str, Any] | None) -> tuple[int, UUID]:
    if payload is None:
        raise Invalid(errors=[FieldError(pointer="?cursor", code="cursor", detail="No cursor of this list.")])
    return payload["position"], UUID(payload["id"])


@router.get("/{notification_id}")
async def notification(notification_id: UUID, read: Reader) -> Notification:
    row = await read.db.fetchrow(ONE, read.tenant, notification_id)
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
