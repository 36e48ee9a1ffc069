"""Events that can't be applied are parked with their reason, and later ones of their stream behind them, in order.

Only the data's own errors park. Whatever else goes wrong stops the batch: an outage is over some time, and a fault of
the program is no reason to lay events aside.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, LiteralString
from uuid import UUID

import asyncpg
import structlog
from pydantic import ValidationError

from vinculum_shared import telemetry, wording
from vinculum_shared.consuming import metrics
from vinculum_shared.consuming.event_log import EventLog, Line
from vinculum_shared.contracts.envelope import Recorded, UnknownVersionError
from vinculum_shared.contracts.events import Event
from vinculum_shared.postgres import OUTAGE, Connection, Pool, columns, lent
from vinculum_shared.problems import pointer

log = structlog.get_logger()

Apply = Callable[[Connection, Sequence[Recorded[Event]]], Awaitable[None]]
"""Writes what events mean, set-based, in the transaction that moves the positions. It may get an event again after a
rollback, and a parked one long after its neighbours."""

DATA_ERRORS: Final = (ValueError, LookupError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)
STREAMS_MAX: Final = 1_000  # of a tenant
BEHIND: Final = "behind a parked event of its stream"
FACTS_MAX: Final = 5

BLOCKED: LiteralString = """
    SELECT DISTINCT tenant, stream FROM parked
    WHERE (tenant, stream) IN (SELECT * FROM unnest($1::text[], $2::text[]))"""
PARK: LiteralString = """
    INSERT INTO parked (tenant, stream, position, event_id, type, reason)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::text[])"""
WITH_MANY: LiteralString = """
    SELECT tenant FROM parked WHERE tenant = ANY($1::text[])
    GROUP BY tenant HAVING count(DISTINCT stream) > $2 LIMIT 1"""
OF_STREAM: LiteralString = "SELECT position FROM parked WHERE tenant = $1 AND stream = $2 ORDER BY position"
# Held against a consumer that would park one more event behind those that are being replayed.
HOLD_TENANT: LiteralString = "SELECT FROM subscription WHERE tenant = $1 FOR UPDATE"
UNPARK: LiteralString = "DELETE FROM parked WHERE tenant = $1 AND stream = $2 AND position = $3"
STILL_PARKED: LiteralString = "UPDATE parked SET reason = $4 WHERE tenant = $1 AND stream = $2 AND position = $3"


class TooManyParkedError(Exception):
    """So much of a tenant can't be applied that going on would make nothing better."""

    def __init__(self, tenant: str) -> None:
        super().__init__(tenant)
        self.tenant = tenant


async def apply_or_park(connection: Connection, apply: Apply, lines: Sequence[Line]) -> None:
    """Apply what can be applied, in the caller's transaction."""
    streams = {(line.tenant, line.stream) for line in lines}
    blocked = {(row["tenant"], row["stream"]) for row in await connection.fetch(BLOCKED, *columns(streams, 2))}
    parked: list[tuple[str, str, int, UUID, str, str]] = []

    def park(line: Line, reason: str) -> None:
        blocked.add((line.tenant, line.stream))
        parked.append((line.tenant, line.stream, line.position, line.id, line.type, reason))

    async def attempt(lines: Sequence[Line]) -> None:
        """Apply the lines; where that fails, each half, until the event at fault stands alone."""
        ready = []
        for line in lines:
            if (line.tenant, line.stream) in blocked:
                park(line, BEHIND)
            else:
                ready.append(line)
        if not ready:
            return
        try:
            async with connection.transaction():
                await apply(connection, [line.decode() for line in ready])
        except DATA_ERRORS as error:
            if len(ready) == 1:
                park(ready[0], reason(error))
            else:
                middle = len(ready) // 2
                await attempt(ready[:middle])
                await attempt(ready[middle:])

    await attempt(lines)
    if parked:
        await connection.execute(PARK, *columns(parked, 6))
        await refuse_too_many(connection, {tenant for tenant, *_ in parked})
        metrics.PARKED.inc(len(parked))
        for tenant, stream, position, *_, why in parked:
            log.error("event_parked", tenant=tenant, stream=stream, position=position, reason=why)


async def refuse_too_many(connection: Connection, tenants: Collection[str]) -> None:
    tenant = await connection.fetchval(WITH_MANY, list(tenants), STREAMS_MAX)
    if tenant is not None:
        raise TooManyParkedError(tenant)


async def replay(pool: Pool, event_log: EventLog, apply: Apply, tenant: str, stream: str) -> int:
    """Apply a stream's parked events in order, as far as that goes. Returns how many are left."""
    async with lent(pool) as connection:
        positions = [row["position"] for row in await connection.fetch(OF_STREAM, tenant, stream)]
    lines = [line for position in positions for line in await event_log.after(tenant, position - 1, limit=1)]
    async with lent(pool) as connection, connection.transaction():
        await connection.execute(HOLD_TENANT, tenant)
        for line in lines:
            try:
                async with connection.transaction():
                    if await connection.execute(UNPARK, tenant, stream, line.position) == "DELETE 1":
                        await apply(connection, [line.decode()])
            except DATA_ERRORS as error:
                await connection.execute(STILL_PARKED, tenant, stream, line.position, reason(error))
                break
        return len(await connection.fetch(OF_STREAM, tenant, stream))


def reason(error: BaseException) -> str:
    """Say what was wrong, without the values that were: a field, or a table and its constraint, and where."""
    match error:
        case ValidationError():
            said = " ".join(f"{pointer(each['loc'])}: {wording.detail(each)}" for each in error.errors()[:FACTS_MAX])
        case asyncpg.PostgresError(sqlstate=code) if isinstance(error, OUTAGE):
            said = f"Postgres did not do it in time, or gave it up (SQLSTATE {code})."
        case asyncpg.PostgresError():
            place = " ".join(filter(None, (error.table_name, error.constraint_name, error.column_name)))
            said = f"The database does not take it: {place or 'a value'}."
        case UnknownVersionError():
            said = "This release does not know this version of the event's type."
        case _:
            said = "The event can't be applied."
    return f"{said} ({telemetry.places(error)['places'][-1]})".replace("\0", "")
