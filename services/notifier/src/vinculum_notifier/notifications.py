"""What became of each mail: queries over the ledger, for staff and services of one tenant."""

from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from asyncpg import Record
from fastapi import APIRouter, Request

from vinculum_notifier.outcomes import Outcome, Reason, Wait
from vinculum_notifier.reading import Operator, Reader
from vinculum_notifier.routing import MailTopic
from vinculum_notifier.suppression import release
from vinculum_shared.contracts.values import AccountId, ContactId, StaffId
from vinculum_shared.http.documented import Documented
from vinculum_shared.http.paging import Page, Paged
from vinculum_shared.http.readers import View
from vinculum_shared.http.snapshots import POSITION_MAX
from vinculum_shared.problems import NotFound

router = APIRouter(prefix="/v1/notifications", tags=["notifications"])

NEWEST: Final = (POSITION_MAX, UUID(int=2**128 - 1))


class NotificationNotFound(NotFound):
    """There is no such notification.

    Check the id, and which tenant the token is for.
    """


class Recipient(Documented):
    contact_id: ContactId
    email_id: UUID
    address: str | None
    """The one the mail goes to, or was last given to the mail server for. Null without the scope `personal`."""


class Notification(Documented):
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
    reason: Reason
    attempts: int
    """How often it was given to the mail server."""
    unclear: int
    """Attempts of which it is not known whether the mail server took the mail."""
    waits_for: Wait | None
    """What kept a queued mail from being sent when it was due."""
    next_attempt_at: datetime | None
    """While it is queued."""
    reply: str | None
    """What the mail server said last: its codes. `internal error` is one of ours, which the log has."""
    message_id: str | None
    changed_at: datetime
    held: bool
    """Of the tenant, not of this mail: nothing is applied or sent for it until an operator has rebuilt it."""


class Released(Documented):
    released: bool
    """False if the address was not suppressed."""


def shown(row: Record, read: View) -> Notification:
    fields: dict[str, Any] = dict(row)
    contact_id, email_id, address = (fields.pop(name) for name in ("contact_id", "email_id", "address"))
    to = contact_id and Recipient(contact_id=contact_id, email_id=email_id, address=address if read.personal else None)
    if row["outcome"] != "queued":
        fields["next_attempt_at"] = None
    return Notification(**fields, recipient=to, held=read.held)


@router.get("")
async def list_notifications(
    read: Reader,
    paging: Paged,
    account_id: AccountId | None = None,
    contact_id: ContactId | None = None,
    staff_id: StaffId | None = None,
    topic: MailTopic | None = None,
) -> Page[Notification]:
    """List what became of the mails, newest first."""
    filters = (account_id, contact_id, staff_id, topic)
    after = paging.after(*NEWEST)
    rows = [] if read.limited else await read.db.fetch(LIST, read.tenant, *filters, *after, paging.limit + 1)
    parked = await read.db.fetchval(PARKED, read.tenant)
    return paging.page(
        rows,
        lambda row: shown(row, read),
        ("position", "id"),
        position=read.position,
        held=read.held,
        parked=parked,
    )


@router.get("/{notification_id}")
async def get_notification(notification_id: UUID, read: Reader) -> Notification:
    row = None if read.limited else await read.db.fetchrow(ONE, read.tenant, notification_id)
    if row is None:
        raise NotificationNotFound(notification_id=notification_id)
    return shown(row, read)


@router.post("/{notification_id}/release", tags=["operations"])
async def release_address(notification_id: UUID, request: Request, read: Operator) -> Released:
    """Write again to an address that a mail server said does not exist: the server was wrong, or the domain is back.

    It is the address of this notification. What was failed or skipped until now is not sent.
    """
    if await read.db.fetchrow(ONE, read.tenant, notification_id) is None:
        raise NotificationNotFound(notification_id=notification_id)
    return Released(released=await release(request.state.subscription.pool, read.tenant, notification_id))


PARKED: LiteralString = "SELECT EXISTS (SELECT FROM parked WHERE tenant = $1)"
LIST: LiteralString = """
    SELECT id, event_id, position, topic, account_id, record_id, contact_id, email_id, address, outcome, reason,
        attempts, unclear, waits_for, next_attempt_at, reply, message_id, changed_at
    FROM notification
    WHERE tenant = $1
        AND ($2::uuid IS NULL OR account_id = $2) AND ($3::uuid IS NULL OR contact_id = $3)
        AND ($4::uuid IS NULL OR staff_id = $4) AND ($5::text IS NULL OR topic = $5)
        AND (position, id) < ($6, $7)
    ORDER BY position DESC, id DESC LIMIT $8"""
ONE: LiteralString = """
    SELECT id, event_id, position, topic, account_id, record_id, contact_id, email_id, address, outcome, reason,
        attempts, unclear, waits_for, next_attempt_at, reply, message_id, changed_at
    FROM notification WHERE tenant = $1 AND id = $2"""
