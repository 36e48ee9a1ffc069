"""Addresses that a mail server has said do not exist: nothing is sent there until an operator releases them."""

from typing import Final, LiteralString
from uuid import UUID

from vinculum_notifier.announcing import Announcement
from vinculum_notifier.routing import Addressee
from vinculum_shared.postgres import Pool


async def suppress(pool: Pool, tenant: str, to: Addressee, reply: str) -> None:
    """Send nothing to the address any more."""
    await pool.execute(SUPPRESS, tenant, to.address_hash, reply, to.contact_id)


async def release(pool: Pool, tenant: str, notification_id: UUID) -> bool:
    """Send to a mail's address again. Return False if nothing was held back from it."""
    return bool(await pool.execute(RELEASE, tenant, notification_id) == "UPDATE 1")


SUPPRESS: LiteralString = """
    INSERT INTO suppressed_address (tenant, address_hash, reply, contact_id) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant, address_hash) DO UPDATE
    SET reply = excluded.reply, contact_id = excluded.contact_id, suppressed_at = now(), released = false,
        idempotency_key = gen_random_uuid(), position = NULL, refused = NULL, attempts = 0, next_attempt_at = now()
    WHERE suppressed_address.released"""
RELEASE: LiteralString = """
    UPDATE suppressed_address
    SET released = true, idempotency_key = gen_random_uuid(), position = NULL, refused = NULL, attempts = 0,
        next_attempt_at = now()
    WHERE tenant = $1 AND NOT released AND address_hash = (
        SELECT address_hash FROM notification WHERE tenant = $1 AND id = $2)"""
CLAIM: LiteralString = """
    UPDATE suppressed_address
    SET attempts = attempts + 1, next_attempt_at = now() + least($1::interval * 2 ^ least(attempts, 10), $2::interval)
    FROM (
        SELECT tenant, address_hash FROM suppressed_address
        WHERE position IS NULL AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE (suppressed_address.tenant, suppressed_address.address_hash) = (due.tenant, due.address_hash)
    RETURNING suppressed_address.*"""
ANSWERED: LiteralString = """
    UPDATE suppressed_address SET position = $4, refused = $5
    WHERE (tenant, address_hash, idempotency_key) = ($1, $2, $3)"""
AGAIN: LiteralString = """
    UPDATE suppressed_address SET position = NULL, refused = NULL, attempts = 0, next_attempt_at = now()
    WHERE tenant = $1 AND position IS NOT NULL AND next_attempt_at > now() - $2::interval"""
SUPPRESSIONS: Final = Announcement(
    CLAIM,
    ANSWERED,
    AGAIN,
    key=("tenant", "address_hash"),
    path=lambda row: f"/v1/contacts/{row['contact_id']}/emails/{'release' if row['released'] else 'suppress'}",
    body=("address_hash",),
)
