"""How far this service has applied each tenant's log, and which tenants are held: the rows of `subscription`.

A tenant is held when what was applied is not what its log has: somebody else has written to the topic, or the log was
restored from an older state; or when more than a thousand of its streams can't be applied. Nothing more is applied for
it until it is rebuilt from the log. No other tenant is affected.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, LiteralString, NamedTuple
from uuid import UUID

import structlog

from vinculum_shared.consuming import metrics
from vinculum_shared.consuming.event_log import Line, Lookup
from vinculum_shared.postgres import Connection, Pool, columns

log = structlog.get_logger()

HoldReason = Literal[
    "diverged",  # an event was applied that the log does not have
    "too_many_parked",  # more of its streams can't be applied than somebody would look at one by one
    "rebuilding",
]

OF_TENANTS: LiteralString = "SELECT tenant, position, event_id, held FROM subscription WHERE tenant = ANY($1::text[])"
OF_ALL: LiteralString = "SELECT tenant, position, event_id, held FROM subscription"
ADD: LiteralString = """
    INSERT INTO subscription (tenant, position) SELECT tenant, 0 FROM unnest($1::text[]) AS tenant
    ON CONFLICT DO NOTHING"""
MOVE: LiteralString = """
    UPDATE subscription
    SET position = moved.till, event_id = moved.event_id, recorded_at = moved.recorded_at, applied_at = now()
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::uuid[], $5::timestamptz[])
        AS moved (tenant, since, till, event_id, recorded_at)
    WHERE subscription.tenant = moved.tenant AND subscription.position = moved.since AND held IS NULL"""
HOLD: LiteralString = """
    UPDATE subscription SET held = $3, held_at = now() WHERE tenant = $1 AND position = $2 AND held IS NULL"""


class RejectedError(Exception):
    """Another instance has gone on from where this one thought to be."""


class Checkpoint(NamedTuple):
    """The last event of a tenant that was applied."""

    position: int
    event_id: UUID | None
    """None before the first event, and where it was applied before ids were kept."""
    held: HoldReason | None = None

    def diverges_from(self, found: Lookup) -> bool:
        """Whether the log has another event at this position, or none."""
        return self.position > found.end or (self.event_id is not None and self.event_id != found.event_id)


START: Final = Checkpoint(0, None)


async def of_tenants(pool: Pool, tenants: Collection[str]) -> dict[str, Checkpoint]:
    """Load the checkpoint of each tenant; a tenant of which nothing was applied is at the start."""
    rows = await pool.fetch(OF_TENANTS, list(tenants))
    return dict.fromkeys(tenants, START) | {tenant: Checkpoint(*rest) for tenant, *rest in rows}


async def of_all(pool: Pool) -> dict[str, Checkpoint]:
    return {tenant: Checkpoint(*rest) for tenant, *rest in await pool.fetch(OF_ALL)}


async def move(db: Connection, since: Mapping[str, int], last: Iterable[Line]) -> None:
    """Move tenants to the last lines applied for them, all or none. Raise RejectedError if one is not at `since`."""
    moves = [(line.tenant, since[line.tenant], line.position, line.id, line.recorded_at) for line in last]
    if unknown := [tenant for tenant, start, *_ in moves if start == 0]:
        await db.execute(ADD, unknown)
    if await db.execute(MOVE, *columns(moves, 5)) != f"UPDATE {len(moves)}":
        raise RejectedError


async def hold(pool: Pool, tenant: str, position: int, reason: HoldReason) -> None:
    """Hold a tenant, unless it has moved on from the position."""
    if position == 0:
        await pool.execute(ADD, [tenant])
    if await pool.execute(HOLD, tenant, position, reason) == "UPDATE 1":
        metrics.TENANTS_HELD.inc()
        log.error("tenant_held", tenant=tenant, position=position, reason=reason)
