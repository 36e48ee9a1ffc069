"""The ledger: what became of each mail that an event was due, and the queue of those to be sent.

A deliverer claims a due row by moving its next attempt to the end of a lease. If it dies, the row is due again; if it
comes back after that, its `claims` no longer match, and what it has to say is not written. Before it gives the mail to
the mail server it counts the attempt as unclear, until it has recorded the answer: so a row tells whether the mail may
have gone out unrecorded.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString, NamedTuple, Self
from uuid import UUID

from asyncpg import Record

from vinculum_notifier import announcing, metrics
from vinculum_notifier.outcomes import Outcome, Reason, Wait
from vinculum_notifier.routing import Addressee, Notification
from vinculum_notifier.smtp import Verdict
from vinculum_shared.metrics import Left
from vinculum_shared.postgres import Connection, Pool, columns

LEASE: Final = timedelta(seconds=90)
"""Longer than an attempt can take: see the limits in smtp.py, and how long delivery.py waits for the log."""
READY_MAX: Final = 1_000
"""How many mails become ready at once when their time has come."""
RETRY_FOR: Final = timedelta(hours=72)
"""How long a mail is tried, from when it was due."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A queued mail that is ours until the lease ends."""

    mail: Notification
    claims: int
    attempts: int
    unclear: int
    """Attempts of which it is not known whether the mail server took the mail."""
    made_at: datetime

    def begun(self) -> Self:
        return replace(self, attempts=self.attempts + 1, unclear=self.unclear + 1)

    def cleared(self) -> Self:
        """Return it as it is once the latest attempt's answer is known."""
        return replace(self, unclear=self.unclear - 1)


async def record(db: Connection, notifications: Iterable[Notification]) -> None:
    """Add rows; those that are there already stay as they are. What came before the first start is history.

    So is, when a tenant is rebuilt, what is too old to be tried still: it was routed, by other rules perhaps.
    """
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
    for topic, outcome in await db.fetch(RECORD, *columns(rows, 17), RETRY_FOR):
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


async def mark_forged(db: Connection, tenant: str, after: int, till: int | None, event_ids: Sequence[UUID]) -> None:
    """Mark the mails about events that are not in the log: those at these positions with other ids than its events."""
    await db.execute(FORGED, tenant, after, till, event_ids)


async def claim(pool: Pool, limit: int, turns: Turns, invitations_max: int) -> list[Claimed]:
    """Claim due mails, invitations first, but no more than `invitations_max` of them."""
    await pool.execute(READY, READY_MAX)
    rows = await pool.fetch(CLAIM, limit, LEASE, invitations_max, turns.invitation, turns.other)
    found = [claimed(row) for row in sorted(rows, key=in_turn)]
    for each in found:
        turns.took(each.mail)
    return found


def in_turn(row: Record) -> tuple[bool, int]:
    return not row["urgent"], row["place"]


async def positions(pool: Pool, tenants: Collection[str]) -> dict[str, int]:
    """Return how far the tenants' logs have been read."""
    rows = await pool.fetch(POSITIONS, list(tenants))
    return {row["tenant"]: row["position"] for row in rows}


async def begin(pool: Pool, claimed: Claimed, message_id: str) -> bool:
    """Record that an attempt begins, and to which address.

    Return False if the mail is no longer ours, or its tenant is held: then it waits until the lease has ended.
    """
    mail, to = claimed.mail, claimed.mail.addressee
    said = claimed.attempts, claimed.unclear, to.address, to.address_hash, message_id
    return await pool.execute(BEGIN, mail.tenant, mail.id, claimed.claims, *said) == "UPDATE 1"


async def settle(
    pool: Pool, claimed: Claimed, outcome: Outcome, reason: Reason, verdict: Verdict | None = None
) -> None:
    """Write the outcome, which is final. Of a mail that may have gone out unrecorded, nobody can say that it didn't."""
    if claimed.unclear and outcome != "sent":
        outcome = "sent_unconfirmed"
    mail = claimed.mail
    said = outcome, reason, claimed.unclear, verdict and verdict.reply
    settled = await pool.execute(SETTLE, mail.tenant, mail.id, claimed.claims, *said)
    if settled == "UPDATE 1":
        metrics.NOTIFICATIONS.labels(mail.topic, outcome).inc()


async def postpone(
    pool: Pool, claimed: Claimed, delay: timedelta, waits_for: Wait, verdict: Verdict | None = None
) -> None:
    """Leave the mail queued."""
    mail = claimed.mail
    said = delay, waits_for, claimed.attempts, claimed.unclear, verdict and verdict.reply
    await pool.execute(POSTPONE, mail.tenant, mail.id, claimed.claims, *said)


async def due(pool: Pool) -> Left:
    """Return how many mails are due, and since when the oldest has been."""
    count, oldest = await pool.fetchrow(DUE)  # type: ignore[misc]
    return count, oldest


async def queued(pool: Pool) -> Left:
    """Return how many mails have no outcome yet, those to be tried again included, and when the oldest was made."""
    count, oldest = await pool.fetchrow(QUEUED)  # type: ignore[misc]
    return count, oldest


class Standing(NamedTuple):
    """What the ledger says against a mail, as of now."""

    suppressed: bool
    """The address doesn't exist."""
    unsubscribed: bool
    twin: Literal["sent", "queued"] | None
    """A mail about the same event to the same address: sent, or queued and before this one."""


async def standing(pool: Pool, mail: Notification) -> Standing:
    row = await pool.fetchrow(
        STANDING,
        mail.tenant,
        mail.addressee.address_hash,
        announcing.unsubscription(mail.account_id, mail.topic, mail.addressee.address_hash),
        mail.topic,
        mail.recorded_at,
        mail.position,
        mail.id,
    )
    assert row is not None
    return Standing(**row)


def claimed(row: Record) -> Claimed:
    fields = dict(row)
    to = Addressee(*(fields.pop(name) for name in ("contact_id", "email_id", "address", "address_hash")))
    for name in ("urgent", "place"):
        del fields[name]
    own = {name: fields.pop(name) for name in ("claims", "attempts", "unclear", "made_at")}
    return Claimed(Notification(**fields, to=to), **own)


RECORD: LiteralString = """
    INSERT INTO notification (
        tenant, id, event_id, position, recorded_at, topic, template, account_id, record_id, invitation_id,
        traceparent, contact_id, email_id, address, address_hash, outcome, reason)
    SELECT
        tenant, id, event_id, new.position, recorded_at, topic, template, account_id, record_id, invitation_id,
        traceparent, contact_id, email_id, address, address_hash,
        CASE WHEN historic THEN 'skipped' ELSE outcome END,
        CASE WHEN historic THEN 'historic' ELSE reason END
    FROM unnest(
        $1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::text[], $7::text[], $8::uuid[],
        $9::uuid[], $10::uuid[], $11::text[], $12::uuid[], $13::uuid[], $14::text[], $15::text[], $16::text[],
        $17::text[]
    ) AS new (
        tenant, id, event_id, position, recorded_at, topic, template, account_id, record_id, invitation_id,
        traceparent, contact_id, email_id, address, address_hash, outcome, reason)
    LEFT JOIN start_position AS start USING (tenant)
    CROSS JOIN LATERAL (
        SELECT new.position <= start.position OR new.recorded_at < (
            SELECT held_at FROM subscription WHERE subscription.tenant = new.tenant) - $18::interval
    ) AS _ (historic)
    ON CONFLICT DO NOTHING
    RETURNING topic, outcome"""
FORGED: LiteralString = """
    UPDATE notification
    SET outcome = CASE
            WHEN outcome <> 'queued' THEN outcome
            WHEN unclear > 0 THEN 'sent_unconfirmed'
            ELSE 'skipped'
        END,
        reason = 'not_in_log', changed_at = now()
    WHERE tenant = $1 AND position > $2 AND ($3::bigint IS NULL OR position <= $3) AND event_id <> ALL($4::uuid[])"""
# Mails that were put off, or whose claim has ended, join the others when their time has come.
READY: LiteralString = """
    UPDATE notification SET ready = true FROM (
        SELECT tenant, id FROM notification WHERE outcome = 'queued' AND NOT ready AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE notification.tenant = due.tenant AND notification.id = due.id"""
# Round the ring of tenants with mails that are ready, from whoever was served last, in two arcs for each kind of mail.
# An index probe finds the next tenant and its earliest mail; the walk ends when it has found as many tenants as mails
# are wanted. What another deliverer has locked is skipped, so twice as many are looked at.
CLAIM: LiteralString = """
    WITH RECURSIVE ring (urgent, wrapped, till, tenant, place, due, found) AS (
        SELECT urgent, till IS NOT NULL, till, after, 0, false, 0
        FROM (VALUES (true, $4, NULL), (true, '', $4), (false, $5, NULL), (false, '', $5)) AS arc (urgent, after, till)
        WHERE $3 > 0 OR NOT urgent
        UNION ALL
        SELECT urgent, wrapped, till, next.tenant, place + 1, next.due, found + next.due::int
        FROM ring CROSS JOIN LATERAL (
            SELECT tenant, next_attempt_at <= now() AND NOT EXISTS (
                SELECT FROM subscription WHERE tenant = notification.tenant AND held IS NOT NULL) AS due
            FROM notification
            WHERE outcome = 'queued' AND ready AND (topic = 'invitation') = urgent AND tenant > ring.tenant
            ORDER BY tenant, next_attempt_at LIMIT 1
        ) AS next
        WHERE found < $1 AND (till IS NULL OR next.tenant <= till)
    ), waiting AS (
        SELECT urgent, tenant, id, row_number() OVER (PARTITION BY urgent ORDER BY turn, wrapped, ring.place) AS place
        FROM ring CROSS JOIN LATERAL (
            SELECT id, row_number() OVER (ORDER BY next_attempt_at) AS turn
            FROM notification
            WHERE outcome = 'queued' AND ready AND (topic = 'invitation') = urgent AND tenant = ring.tenant
                AND next_attempt_at <= now()
            ORDER BY next_attempt_at LIMIT $1
        ) AS mail
        WHERE due
    ), next AS (
        SELECT * FROM waiting WHERE NOT urgent OR place <= $3 ORDER BY urgent DESC, place LIMIT 2 * $1
    ), claimed AS (
        SELECT tenant, id, urgent, place
        FROM next JOIN notification USING (tenant, id)
        WHERE outcome = 'queued' AND ready AND next_attempt_at <= now()
        ORDER BY urgent DESC, place LIMIT $1 FOR UPDATE OF notification SKIP LOCKED
    )
    UPDATE notification SET next_attempt_at = now() + $2, claims = claims + 1, ready = false
    FROM claimed
    WHERE notification.tenant = claimed.tenant AND notification.id = claimed.id
    RETURNING notification.tenant, event_id, position, recorded_at, topic, template, outcome, reason, account_id,
        record_id, invitation_id, traceparent, contact_id, email_id, address, address_hash, claims, attempts, unclear,
        made_at, urgent, place"""
POSITIONS: LiteralString = "SELECT tenant, position FROM subscription WHERE tenant = ANY($1::text[])"
BEGIN: LiteralString = """
    UPDATE notification
    SET attempts = $4, unclear = $5, address = $6, address_hash = $7, message_id = $8, waits_for = NULL,
        changed_at = now()
    WHERE tenant = $1 AND id = $2 AND claims = $3 AND outcome = 'queued'
        AND NOT EXISTS (SELECT FROM subscription WHERE tenant = $1 AND held IS NOT NULL)"""
DUE: LiteralString = """
    SELECT count(*), min(next_attempt_at) FROM notification WHERE outcome = 'queued' AND next_attempt_at <= now()"""
QUEUED: LiteralString = "SELECT count(*), min(made_at) FROM notification WHERE outcome = 'queued'"
SETTLE: LiteralString = """
    UPDATE notification
    SET outcome = $4, reason = $5, unclear = $6, reply = coalesce($7, reply), waits_for = NULL, changed_at = now()
    WHERE tenant = $1 AND id = $2 AND claims = $3 AND outcome = 'queued'"""
POSTPONE: LiteralString = """
    UPDATE notification
    SET next_attempt_at = now() + $4, waits_for = $5, attempts = $6, unclear = $7, reply = coalesce($8, reply),
        changed_at = now()
    WHERE tenant = $1 AND id = $2 AND claims = $3 AND outcome = 'queued'"""
STANDING: LiteralString = """
    SELECT
        EXISTS (SELECT FROM suppressed_address WHERE tenant = $1 AND address_hash = $2) AS suppressed,
        EXISTS (
            SELECT FROM announcement_status
            WHERE (tenant, about) = ($1, $3) AND (pending OR announced_at >= $5)
        ) AS unsubscribed,
        (
            SELECT outcome FROM notification
            WHERE tenant = $1 AND position = $6 AND topic = $4 AND topic <> 'invitation' AND address_hash = $2
                AND id <> $7 AND (outcome = 'sent' OR (outcome = 'queued' AND id < $7))
            ORDER BY outcome DESC LIMIT 1
        ) AS twin"""
