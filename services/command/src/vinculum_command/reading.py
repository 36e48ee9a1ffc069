"""What is read of the event store for others: one tenant under the role for one, everything under the log's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

from vinculum_command.domain.heads.head import Mark
from vinculum_command.domain.heads.view import Stored
from vinculum_command.event_store import absent, stored
from vinculum_shared.postgres import Connection, columns

SCANNED_MAX: Final = 10_000  # positions that one filtered look goes through

# The one JSON form (contracts.envelope.wire has the same in Python, and a test that they agree). In bytes: to cut the
# last character off a text, Postgres counts all of them. It writes UTC as +00:00, and times here end in Z.
WIRE: Final[LiteralString] = """
    substr(convert_to(attributes::text, 'UTF8'), 1, octet_length(attributes::text) - 1)
    || convert_to(',"position":' || position || ',"time":'
        || replace(to_json(recorded_at)::text, '+00:00', 'Z') || ',"data":', 'UTF8')
    || substr(convert_to(data::text, 'UTF8'), 1, octet_length(data::text) - 1)
    || convert_to(',"effective_at":'
        || replace(to_json(coalesce(effective_at, recorded_at))::text, '+00:00', 'Z') || ',"personal":'
        || CASE WHEN $1 THEN coalesce(personal::text, 'null') ELSE 'null' END || '}}', 'UTF8')"""


class Line(NamedTuple):
    """An event of the log, in its JSON form."""

    tenant: str
    position: int
    event: bytes


class Found(NamedTuple):
    event_id: str
    type: str
    position: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events of a tenant are asked for; None is all."""

    types: tuple[str, ...] | None = None
    account_id: UUID | None = None
    contact_id: UUID | None = None

    @property
    def is_all(self) -> bool:
        return self == Filter()


HEADS: LiteralString = "SELECT key, version, token, state FROM heads WHERE tenant = $1 AND key = ANY ($2)"


async def heads(db: Connection, tenant: str, keys: Sequence[str]) -> dict[str, Stored]:
    """Read heads as they are committed."""
    rows = await db.fetch(HEADS, tenant, keys)
    found = {row["key"]: stored(row) for row in rows}
    return {key: found.get(key) or absent(key) for key in keys}


MARKED: LiteralString = """
    SELECT last_position, id, type, position, recorded_at FROM tenants
    LEFT JOIN (
        events JOIN unnest($2::text[], $3::int[]) AS mark (stream, stream_version) USING (stream, stream_version)
    ) USING (tenant)
    WHERE tenant = $1 ORDER BY position"""


async def marked(db: Connection, tenant: str, marks: Sequence[Mark]) -> tuple[list[Found], int]:
    """Return the events that marks name, in order, and the log's last position."""
    rows = await db.fetch(MARKED, tenant, *columns(((mark.stream, mark.stream_version) for mark in marks), 2))
    found = [Found(str(row["id"]), row["type"], row["position"], row["recorded_at"]) for row in rows if row["id"]]
    return found, rows[0]["last_position"] if rows else 0


LOG: LiteralString = f"""
    SELECT tenant, position, {WIRE} AS event FROM events
    WHERE tenant = $2 AND position > $3 AND position <= $3 + $4
        AND ($5::text[] IS NULL OR type = ANY ($5))
        AND ($6::uuid IS NULL OR account_id = $6) AND ($7::uuid IS NULL OR contact_id = $7)
    ORDER BY position LIMIT $8"""  # noqa: S608  WIRE is a constant


async def log(
    db: Connection, tenant: str, after: int, limit: int, *, only: Filter, personal: bool
) -> tuple[list[Line], int]:
    """Read a tenant's log after a position; gives the events and the position up to which all were looked at."""
    last = await last_position(db, tenant)
    types = list(only.types) if only.types is not None else None
    rows = await db.fetch(LOG, personal, tenant, after, SCANNED_MAX, types, only.account_id, only.contact_id, limit)
    lines = [Line(*row) for row in rows]
    if len(lines) == limit:
        return lines, lines[-1].position
    return lines, min(after + SCANNED_MAX, last)


LAST_POSITION: LiteralString = "SELECT last_position FROM tenants WHERE tenant = $1"


async def last_position(db: Connection, tenant: str) -> int:
    return await db.fetchval(LAST_POSITION, tenant) or 0


LOG_OF_ALL: LiteralString = f"""
    SELECT tenant, position, {WIRE} AS event FROM events
    WHERE (tenant, position) > ($2, $3) ORDER BY tenant, position LIMIT $4"""  # noqa: S608  WIRE is a constant


async def log_of_all(db: Connection, after: tuple[str, int], limit: int, *, personal: bool) -> list[Line]:
    """Read every tenant's log, in the order of tenant and position, after a place in it."""
    return [Line(*row) for row in await db.fetch(LOG_OF_ALL, personal, *after, limit)]


async def positions(db: Connection) -> dict[str, int]:
    """Give every tenant's last position."""
    rows = await db.fetch("SELECT tenant, last_position FROM tenants")
    return {row["tenant"]: row["last_position"] for row in rows}


LAST_POSITIONS: LiteralString = "SELECT tenant, last_position FROM tenants WHERE tenant = ANY ($1::text[])"
IDS_AT: LiteralString = """
    SELECT tenant, id FROM events JOIN unnest($1::text[], $2::bigint[]) AS at (tenant, position)
    USING (tenant, position)"""


async def events_at(db: Connection, at: Mapping[str, int]) -> tuple[dict[str, int], dict[str, str]]:
    """Return the last position of tenants, and the id of each one's event at a position."""
    ids = await db.fetch(IDS_AT, list(at), list(at.values()))
    positions = await db.fetch(LAST_POSITIONS, list(at))
    return dict(map(tuple, positions)), {row["tenant"]: str(row["id"]) for row in ids}
