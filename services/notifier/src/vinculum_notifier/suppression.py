"""Addresses that a mail server has said do not exist: nothing is sent there until an operator releases them."""

from typing import LiteralString
from uuid import UUID

from vinculum_notifier import announcing
from vinculum_notifier.routing import Addressee
from vinculum_shared.postgres import Connection, Pool, lent


async def suppress(pool: Pool, tenant: str, to: Addressee, reply: str) -> None:
    """Send nothing to the address any more."""
    async with lent(pool) as db, db.transaction():
        if await db.execute(SUPPRESS, tenant, to.address_hash, reply) == "INSERT 0 1":
            await announce(db, tenant, to.address_hash, to.contact_id, "suppress")


async def release(pool: Pool, tenant: str, notification_id: UUID) -> bool:
    """Send to a mail's address again. Return False if nothing was held back from it."""
    async with lent(pool) as db, db.transaction():
        released = await db.fetchrow(RELEASE, tenant, notification_id)
        if released:
            await announce(db, tenant, released["address_hash"], released["contact_id"], "release")
    return released is not None


async def announce(db: Connection, tenant: str, address_hash: str, contact_id: UUID, verb: str) -> None:
    """Announce what has become of an address, which a contact has or had."""
    path = f"/v1/contacts/{contact_id}/emails/{verb}"
    await announcing.add(db, tenant, announcing.suppression(address_hash), path, {"address_hash": address_hash})


SUPPRESS: LiteralString = """
    INSERT INTO suppressed_address (tenant, address_hash, reply) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"""
RELEASE: LiteralString = """
    DELETE FROM suppressed_address AS suppressed USING notification
    WHERE notification.tenant = $1 AND notification.id = $2
        AND suppressed.tenant = $1 AND suppressed.address_hash = notification.address_hash
    RETURNING notification.address_hash, notification.contact_id"""
