"""Building what a service derived from one tenant's events anew, from the log, while the service runs.

It is one transaction: until it commits, readers see what was there before, marked as held; where it fails, the tenant
stays held, and rebuilding can be started again. While the tenant is held, the consumer does not touch it.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, LiteralString

import structlog

from vinculum_shared.consuming import parking
from vinculum_shared.consuming.backfill import LOG_OR_POSTGRES_AWAY
from vinculum_shared.consuming.event_log import EventLog, IncompleteLogError, Line, whole_commits
from vinculum_shared.postgres import Connection, Pool
from vinculum_shared.telemetry import OperatorError

log = structlog.get_logger()

FORGET_SECONDS_MAX: Final = 3_600.0

Forget = Callable[[Connection, str], Awaitable[None]]
"""Deletes what was derived from a tenant's events."""
Compare = Callable[[Connection, str, int, Sequence[Line]], Awaitable[None]]
"""Compares what is kept of a tenant with the lines of the log that follow a position; none: it ends there."""

HELD: LiteralString = "SELECT tenant FROM subscription WHERE held IS NOT NULL ORDER BY tenant"
HOLD: LiteralString = """
    INSERT INTO subscription (tenant, position, held, held_at) VALUES ($1, 0, 'rebuilding', now())
    ON CONFLICT (tenant) DO UPDATE
    SET held = coalesce(subscription.held, 'rebuilding'), held_at = coalesce(subscription.held_at, now())"""
LOCK: LiteralString = "SELECT FROM subscription WHERE tenant = $1 FOR UPDATE"
NO_TIMEOUT: LiteralString = "SET LOCAL statement_timeout = 0"
FORGET_PARKED: LiteralString = "DELETE FROM parked WHERE tenant = $1"
RELEASE: LiteralString = """
    UPDATE subscription
    SET position = $2, event_id = $3, recorded_at = $4, applied_at = now(), held = NULL, held_at = NULL
    WHERE tenant = $1"""
REMOVE: LiteralString = "DELETE FROM subscription WHERE tenant = $1"


class RebuildInterruptedError(OperatorError):
    """The tenant is still held, and as it was before."""


async def held_tenants(pool: Pool) -> list[str]:
    return [row["tenant"] for row in await pool.fetch(HELD)]


async def nothing_to_compare(db: Connection, tenant: str, after: int, lines: Sequence[Line]) -> None:
    """For a service that keeps nothing across a rebuild."""


async def rebuild(
    pool: Pool,
    event_log: EventLog,
    apply: parking.Apply,
    tenant: str,
    *,
    forget: Forget,
    compare: Compare = nothing_to_compare,
) -> None:
    """Apply a tenant's log from its beginning, in place of what was applied, and hold the tenant no longer."""
    began = time.monotonic()
    try:
        await pool.execute(HOLD, tenant)
        async with pool.acquire() as db, db.transaction():
            await db.execute(NO_TIMEOUT)
            await db.execute(LOCK, tenant)
            await db.execute(FORGET_PARKED, tenant)
            await forget(db, tenant)
            last = await apply_log(db, event_log, apply, tenant, compare)
            if last:
                await db.execute(RELEASE, tenant, last.position, last.id, last.recorded_at)
            else:  # somebody made the tenant up
                await db.execute(REMOVE, tenant)
    except parking.TooManyParkedError as error:
        raise RebuildInterruptedError(
            f"More than {parking.STREAMS_MAX} streams of the tenant can't be applied: look at this version, not at the "
            "data. The tenant is still held."
        ) from error
    except LOG_OR_POSTGRES_AWAY as error:
        raise RebuildInterruptedError(
            f"The log or Postgres did not answer ({type(error).__name__}). The tenant is still held: rebuild it again."
        ) from error
    seconds = round(time.monotonic() - began, 3)
    if last:
        log.info("tenant_rebuilt", tenant=tenant, position=last.position, seconds=seconds)
    else:
        log.warning("tenant_not_in_the_log", tenant=tenant, seconds=seconds)


async def apply_log(
    db: Connection, event_log: EventLog, apply: parking.Apply, tenant: str, compare: Compare
) -> Line | None:
    """Apply a tenant's whole log; return its last line."""
    last: Line | None = None
    begun: list[Line] = []
    position = 0
    while page := await event_log.after(tenant, begun[-1].position if begun else position):
        whole, begun = whole_commits([*begun, *page])
        if [line.position for line in whole] != list(range(position + 1, position + len(whole) + 1)):
            raise IncompleteLogError
        if whole:
            await compare(db, tenant, position, whole)
            await parking.apply_or_park(db, apply, whole)
            last, position = whole[-1], whole[-1].position
    if begun:
        raise IncompleteLogError
    await compare(db, tenant, position, [])
    return last
