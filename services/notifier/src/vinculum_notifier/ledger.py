"""The ledger: what became of each mail that an event was due, and the queue of those to be sent.

A deliverer claims a due row by moving its next attempt to the end of a lease. If it dies, the row is due again; if it
comes back after that, its `attempts` no longer match, and what it has to say is not written.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString
from uuid import UUID

from asyncpg import Record

from vinculum_notifier.routing import Addressee, Notification, Outcome, Reason
from vinculum_shared import metrics
from vinculum_shared.postgres import Connection, Pool, columns

LEASE: Final = timedelta(seconds=60)
"""Longer than an attempt can take: see the limits in smtp.py."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A queued mail that is ours until the lease ends."""

    mail: Notification
    attempts: int
    made_at: datetime


async def record(db: Connection, notifications: Iterable[Notification]) -> None:
    """Add rows; those that are there already stay as they are. What came before the first start is history."""
    rows = [
        (
            each.tenant,
            each.id,
            each.event_id,
            each.position,
            each.recorded_at,
            each.topic,
            each.template,
            each.account_id,
            each.record_id,
            each.invitation_id,
            each.traceparent,
            each.to and each.to.contact_id,
            each.to and each.to.email_id,
            each.to and (each.to.address or None),
            each.to and (each.to.address_hash or None),
            each.outcome,
            each.reason,
        )
        for each in notifications
    ]
    for topic, outcome in await db.fetch(RECORD, *columns(rows, 17)):
        if outcome != "queued":
            metrics.NOTIFICATIONS.labels(topic, outcome).inc()


async def claim(pool: Pool, limit: int) -> list[Claimed]:
    return [claimed(row) for row in await pool.fetch(CLAIM, limit, LEASE)]


async def settle(
    pool: Pool,
    claimed: Claimed,
    outcome: Outcome,
    reason: Reason,
    *,
    reply: str | None = None,
    message_id: str | None = None,
) -> None:
    """Write the outcome, which is final."""
    mail = claimed.mail
    settled = await pool.execute(SETTLE, mail.tenant, mail.id, claimed.attempts, outcome, reason, reply, message_id)
    if settled == "UPDATE 1":
        metrics.NOTIFICATIONS.labels(mail.topic, outcome).inc()


async def postpone(
    pool: Pool, claimed: Claimed, delay: timedelta, reply: str, message_id: str, *, unclear: bool
) -> None:
    """Leave the mail queued. `unclear`: it may have been accepted all the same."""
    mail = claimed.mail
    await pool.execute(POSTPONE, mail.tenant, mail.id, claimed.attempts, delay, reply, message_id, int(unclear))
    if unclear:
        metrics.NOTIFICATIONS_UNCLEAR.inc()


async def suppress(pool: Pool, tenant: str, address_hash: str, reply: str) -> None:
    """Send nothing to the address any more."""
    await pool.execute(SUPPRESS, tenant, address_hash, reply)


async def release(pool: Pool, tenant: str, notification_id: UUID) -> bool:
    """Send to a mail's address again. False if nothing was held back from it."""
    return bool(await pool.execute(RELEASE, tenant, notification_id) == "DELETE 1")


async def silenced(pool: Pool, mail: Notification) -> tuple[bool, bool]:
    """Tell if the address is suppressed, and if it has unsubscribed from the topic since the event."""
    row = await pool.fetchrow(
        SILENCED,
        mail.tenant,
        mail.addressee.address_hash,
        mail.account_id,
        mail.addressee.contact_id,
        mail.addressee.email_id,
        mail.topic,
        mail.recorded_at,
    )
    assert row is not None
    return row["suppressed"], row["unsubscribed"]


def claimed(row: Record) -> Claimed:
    fields = dict(row)
    to = Addressee(*(fields.pop(name) for name in ("contact_id", "email_id", "address", "address_hash")))
    attempts, made_at = fields.pop("attempts"), fields.pop("made_at")
    return Claimed(Notification(**fields, to=to), attempts, made_at)


RECORD: LiteralString = """
    INSERT INTO notification (
        tenant, id, event_id, position, recorded_at, topic, template, account_id, record_id, invitation_id,
        traceparent, contact_id, email_id, address, address_hash, outcome, reason)
    SELECT
        tenant, id, event_id, new.position, recorded_at, topic, template, account_id, record_id, invitation_id,
        traceparent, contact_id, email_id, address, address_hash,
        CASE WHEN new.position <= start.position THEN 'skipped' ELSE outcome END,
        CASE WHEN new.position <= start.position THEN 'historic' ELSE reason END
    FROM unnest(
        $1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::text[], $7::text[], $8::uuid[],
        $9::uuid[], $10::uuid[], $11::text[], $12::uuid[], $13::uuid[], $14::text[], $15::text[], $16::text[],
        $17::text[]
    ) AS new (
        tenant, id, event_id, position, recorded_at, topic, template, account_id, record_id, invitation_id,
        traceparent, contact_id, email_id, address, address_hash, outcome, reason)
    LEFT JOIN start_position AS start USING (tenant)
    ON CONFLICT DO NOTHING
    RETURNING topic, outcome"""
CLAIM: LiteralString = """
    UPDATE notification SET next_attempt_at = now() + $2, attempts = attempts + 1
    FROM (
        SELECT tenant, id FROM notification WHERE outcome = 'queued' AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE notification.tenant = due.tenant AND notification.id = due.id
    RETURNING notification.tenant, event_id, position, recorded_at, topic, template, outcome, reason, account_id,
        record_id, invitation_id, traceparent, contact_id, email_id, address, address_hash, attempts, made_at"""
SETTLE: LiteralString = """
    UPDATE notification
    SET outcome = $4, reason = $5, reply = coalesce($6, reply), message_id = coalesce($7, message_id),
        changed_at = now()
    WHERE tenant = $1 AND id = $2 AND attempts = $3 AND outcome = 'queued'"""
POSTPONE: LiteralString = """
    UPDATE notification
    SET next_attempt_at = now() + $4, reply = $5, message_id = $6, unclear = unclear + $7, changed_at = now()
    WHERE tenant = $1 AND id = $2 AND attempts = $3 AND outcome = 'queued'"""
SUPPRESS: LiteralString = """
    INSERT INTO suppressed_address (tenant, address_hash, reply) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"""
RELEASE: LiteralString = """
    DELETE FROM suppressed_address WHERE tenant = $1 AND address_hash = (
        SELECT address_hash FROM notification WHERE tenant = $1 AND id = $2)"""
SILENCED: LiteralString = """
    SELECT
        EXISTS (SELECT FROM suppressed_address WHERE tenant = $1 AND address_hash = $2) AS suppressed,
        EXISTS (
            SELECT FROM unsubscription JOIN subscription USING (tenant)
            WHERE (tenant, account_id, contact_id, email_id, topic) = ($1, $3, $4, $5, $6) AND (
                unsubscription.position IS NULL OR unsubscription.position > subscription.position OR asked_at >= $7)
        ) AS unsubscribed"""
