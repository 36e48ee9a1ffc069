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


@dataclass(slots=True)
class Turns:
    """Whose turn was last, for invitations and for other mail: each tenant's turn comes before anybody's second one."""

    invitation: str = ""
    other: str = ""

    def took(self, mail: Notification) -> None:
        if mail.topic == "invitation":
            self.invitation = mail.tenant
        else:
            self.other = mail.tenant


async def claim(pool: Pool, limit: int, turns: Turns, invitations_max: int) -> list[Claimed]:
    """Claim due mails, invitations first, but no more than `invitations_max` of them."""
    rows = await pool.fetch(CLAIM, limit, LEASE, invitations_max, turns.invitation, turns.other)
    found = [claimed(row) for row in sorted(rows, key=in_turn)]
    for each in found:
        turns.took(each.mail)
    return found


def in_turn(row: Record) -> tuple[bool, int]:
    return not row["urgent"], row["place"]


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
    attempts, made_at, *_ = (fields.pop(name) for name in ("attempts", "made_at", "urgent", "place"))
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
# Round the ring of tenants from whoever was served last, in two arcs for each kind of mail. An index probe finds the
# next tenant and its earliest mail; the walk ends when it has found as many tenants as mails are wanted. What another
# deliverer has locked is skipped, so twice as many are looked at.
CLAIM: LiteralString = """
    WITH RECURSIVE ring (urgent, wrapped, till, tenant, place, due, found) AS (
        SELECT urgent, till IS NOT NULL, till, after, 0, false, 0
        FROM (VALUES (true, $4, NULL), (true, '', $4), (false, $5, NULL), (false, '', $5)) AS arc (urgent, after, till)
        WHERE now() >= (SELECT next_attempt_at FROM notification
            WHERE outcome = 'queued' ORDER BY next_attempt_at LIMIT 1)
        UNION ALL
        SELECT urgent, wrapped, till, next.tenant, place + 1, next.due, found + next.due::int
        FROM ring CROSS JOIN LATERAL (
            SELECT tenant, next_attempt_at <= now() AS due
            FROM notification
            WHERE outcome = 'queued' AND (topic = 'invitation') = urgent AND tenant > ring.tenant
            ORDER BY tenant, next_attempt_at LIMIT 1
        ) AS next
        WHERE found < $1 AND (till IS NULL OR next.tenant <= till)
    ), waiting AS (
        SELECT urgent, tenant, id, row_number() OVER (PARTITION BY urgent ORDER BY turn, wrapped, ring.place) AS place
        FROM ring CROSS JOIN LATERAL (
            SELECT id, row_number() OVER (ORDER BY next_attempt_at) AS turn
            FROM notification
            WHERE outcome = 'queued' AND (topic = 'invitation') = urgent AND tenant = ring.tenant
                AND next_attempt_at <= now()
            ORDER BY next_attempt_at LIMIT $1
        ) AS mail
        WHERE due
    ), next AS (
        SELECT * FROM waiting WHERE NOT urgent OR place <= $3 ORDER BY urgent DESC, place LIMIT 2 * $1
    ), claimed AS (
        SELECT tenant, id, urgent, place
        FROM next JOIN notification USING (tenant, id)
        WHERE outcome = 'queued' AND next_attempt_at <= now()
        ORDER BY urgent DESC, place LIMIT $1 FOR UPDATE OF notification SKIP LOCKED
    )
    UPDATE notification SET next_attempt_at = now() + $2, attempts = attempts + 1
    FROM claimed
    WHERE notification.tenant = claimed.tenant AND notification.id = claimed.id
    RETURNING notification.tenant, event_id, position, recorded_at, topic, template, outcome, reason, account_id,
        record_id, invitation_id, traceparent, contact_id, email_id, address, address_hash, attempts, made_at, urgent,
        place"""
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
