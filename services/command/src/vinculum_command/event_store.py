"""The event store in Postgres: heads and kept answers are read, a group's decisions are appended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, NamedTuple, Self
from uuid import UUID

import asyncpg
import orjson

from vinculum_command.domain.heads.view import LINKS_AT_ONCE_MAX, Enumeration, Stored, Violations, kind_of
from vinculum_command.turns import Pace
from vinculum_shared.postgres import Connection, columns

HEAD_MOVED: Final = "VN001"
KEY_STORED: Final = "VN002"
DOORBELL: Final = "vinculum_events"


class HeadMovedError(Exception):
    """A head that the group relied on is not what it was."""


class KeyStoredError(Exception):
    """A key of the group has been answered before."""


class Key(NamedTuple):
    """What makes a command the same one again."""

    tenant: str
    principal: str
    key: str


class Kept(NamedTuple):
    """A stored answer. `position` is that of its last event."""

    hash: bytes
    status: int
    answer: dict[str, Any]
    position: int
    event_count: int


class NewRequest(NamedTuple):
    tenant: str
    principal: str
    key: str
    hash: bytes
    status: int
    answer: str
    ends: int
    event_count: int
    kept: timedelta


class NewEvent(NamedTuple):
    tenant: str
    offset: int
    id: UUID
    type: str
    stream: str
    stream_version: int
    effective_at: datetime | None
    account_id: UUID | None
    contact_id: UUID | None
    attributes: str
    data: str
    personal: str | None


class NewHead(NamedTuple):
    tenant: str
    key: str
    version: int
    token: UUID | None
    base: UUID | None
    state: str
    account_id: UUID | None
    contact_id: UUID | None
    entry: str | None
    pending: bool

    @classmethod
    def of(cls, tenant: str, key: str, stored: Stored, base: UUID | None) -> Self:
        """Make it of a head that has moved from one whose last event was `base`."""
        head = stored.head
        account_id, contact_id = head.pair() or (None, None)
        state, entry = head.model_dump_json(exclude_defaults=True), head.entry()
        return cls(
            tenant, key, stored.version, stored.token, base, state, account_id, contact_id, entry, head.pending()
        )


@dataclass(slots=True)
class Append:
    """What one call writes, and what must still be so. `offset` and `ends` count from the tenant's base."""

    tenants: dict[str, int] = field(default_factory=dict)
    relied: list[tuple[str, str, UUID | None]] = field(default_factory=list)
    heads: list[NewHead] = field(default_factory=list)
    requests: list[NewRequest] = field(default_factory=list)
    refused: list[Key] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    event_bytes: int = 0


APPEND: LiteralString = "SELECT * FROM append($1, $2, $3, $4, $5, $6, $7)"


async def append(db: Connection, group: Append) -> dict[str, int]:
    """Write a group in one transaction and give each tenant's base. Raises HeadMovedError, KeyStoredError."""
    tenants = sorted(group.tenants)  # so that no two groups of new ones wait for each other
    counts = [group.tenants[tenant] for tenant in tenants]
    try:
        rows = await db.fetch(
            APPEND, tenants, counts, group.relied, group.heads, group.requests, group.refused, group.events
        )
    except asyncpg.PostgresError as error:
        if error.sqlstate == HEAD_MOVED:
            raise HeadMovedError from None
        if error.sqlstate == KEY_STORED:
            raise KeyStoredError from None
        raise
    return {row["tenant"]: row["base"] for row in rows}


async def show(db: Connection, tenants: Iterable[str]) -> None:
    """Let row level security show these tenants, and no others, to what this connection does next."""
    await db.execute("SELECT set_config('vinculum.tenants', $1, false)", "{" + ",".join(sorted(tenants)) + "}")


LOAD: LiteralString = """
    SELECT found.* FROM unnest($1::text[], $2::text[]) AS wanted (tenant, key)
    CROSS JOIN LATERAL (
        SELECT tenant, key, version, token, state FROM heads
        WHERE (heads.tenant, heads.key) = (wanted.tenant, wanted.key) OFFSET 0
    ) AS found"""


async def load_heads(db: Connection, wanted: Sequence[tuple[str, str]], pace: Pace) -> dict[tuple[str, str], Stored]:
    """Read heads; a key that no event has named yet is given with its defaults."""
    await show(db, {tenant for tenant, _ in wanted})
    rows = await db.fetch(LOAD, *columns(wanted, 2))
    pace.restart()
    found: dict[tuple[str, str], Stored] = {}
    for row in rows:
        found[row["tenant"], row["key"]] = stored(row)
        if pace.over:
            await pace.turn()
    for each in wanted:
        if each not in found:
            found[each] = absent(each[1])
            if pace.over:
                await pace.turn()
    return found


def stored(row: asyncpg.Record) -> Stored:
    """Read a row's key, version, token and state."""
    return Stored(row["version"], row["token"], kind_of(row["key"]).model_validate_json(row["state"]))


def absent(key: str) -> Stored:
    return Stored(0, None, kind_of(key).absent(key))


# Two statements, since a plan for either side, once made from empty tables, would go through all of a tenant's heads.
LINKS_OF_ACCOUNT: LiteralString = """
    SELECT key, version, token, state FROM heads
    WHERE tenant = $1 AND account_id = $2 AND ($3::text IS NULL OR entry = $3) AND key > $4
    ORDER BY key LIMIT $5"""
LINKS_OF_CONTACT: LiteralString = """
    SELECT key, version, token, state FROM heads
    WHERE tenant = $1 AND contact_id = $2 AND ($3::text IS NULL OR entry = $3) AND key > $4
    ORDER BY key LIMIT $5"""


async def load_links(db: Connection, tenant: str, wanted: Enumeration, pace: Pace) -> dict[str, Stored]:
    """Read the links of an account or contact, in the order of their keys."""
    await show(db, [tenant])
    statement = LINKS_OF_ACCOUNT if wanted.account_id else LINKS_OF_CONTACT
    side = wanted.account_id or wanted.contact_id
    rows = await db.fetch(statement, tenant, side, wanted.entry, wanted.after, LINKS_AT_ONCE_MAX + 1)
    pace.restart()
    found = {}
    for row in rows:
        found[row["key"]] = stored(row)
        if pace.over:
            await pace.turn()
    return found


# Each counts what a policy with the bound $2 would not allow.
VIOLATIONS: Final[dict[str, LiteralString]] = {
    "max_accounts_per_contact": """
        SELECT count(*) FROM heads WHERE tenant = $1 AND key LIKE 'memberships/%'
            AND (state->>'count')::int > $2""",
    "min_contacts_per_account": """
        SELECT count(*) FROM heads AS account LEFT JOIN heads AS members
            ON members.tenant = account.tenant AND members.key = 'members/' || substr(account.key, 9)
        WHERE account.tenant = $1 AND account.key LIKE 'account/%'
            AND coalesce((members.state->>'count')::int, 0) < $2""",
    "contact_requires_account": """
        SELECT count(*) FROM heads AS contact LEFT JOIN heads AS memberships
            ON memberships.tenant = contact.tenant AND memberships.key = 'memberships/' || substr(contact.key, 9)
        WHERE contact.tenant = $1 AND contact.key LIKE 'contact/%'
            AND coalesce((memberships.state->>'count')::int, 0) < $2""",
    "unique_contact_email": """
        SELECT count(*) FROM heads WHERE tenant = $1 AND key LIKE 'login/%' AND (state->>'count')::int > $2""",
}


async def count_violations(db: Connection, tenant: str, wanted: Violations) -> int:
    await show(db, [tenant])
    count: int = await db.fetchval(VIOLATIONS[wanted.policy], tenant, wanted.bound)
    return count


KEPT: LiteralString = """
    SELECT found.* FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (tenant, principal, key)
    CROSS JOIN LATERAL (
        SELECT tenant, principal, key, hash, status, answer, position, event_count FROM requests
        WHERE (requests.tenant, requests.principal, requests.key) = (wanted.tenant, wanted.principal, wanted.key)
        OFFSET 0
    ) AS found"""


async def load_kept(db: Connection, wanted: Sequence[Key]) -> dict[Key, Kept]:
    """Read the answers that are stored for keys."""
    await show(db, {key.tenant for key in wanted})
    rows = await db.fetch(KEPT, *columns(wanted, 3))
    return {
        Key(row["tenant"], row["principal"], row["key"]): Kept(
            row["hash"], row["status"], orjson.loads(row["answer"]), row["position"], row["event_count"]
        )
        for row in rows
    }


async def hold(db: Connection, tenants: Iterable[str]) -> None:
    """Hold tenants' rows until the transaction ends: nothing else is appended to them meanwhile."""
    names = sorted(set(tenants))
    await show(db, names)
    await db.execute("SELECT FROM tenants WHERE tenant = ANY ($1) ORDER BY tenant FOR UPDATE", names)


# 1 MiB of rows: more than the room that is left in pages which exist already.
TAKE_ROOM: LiteralString = """
    CREATE TEMPORARY TABLE room ON COMMIT DROP AS SELECT repeat('x', 1024) FROM generate_series(1, 1024)"""


async def require_room(db: Connection) -> None:
    """Raise the error of a Postgres that takes no writes: its disk is full, or it is read-only."""
    async with db.transaction():
        await db.execute("SET LOCAL ROLE NONE")  # the login role may create temporary tables
        await db.execute(TAKE_ROOM)
