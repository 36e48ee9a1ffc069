"""Which accounts there are, and what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, LiteralString
from uuid import UUID

from fastapi import APIRouter, Query

from vinculum_projection.names import folded, search_range, under, word_starts
from vinculum_projection.names import letter as letter_of
from vinculum_projection.reading import Reader, Search
from vinculum_shared.contracts.accounts import (
    AccountArchived,
    AccountChanged,
    AccountCreated,
    AccountKind,
    AccountProfile,
    AccountRestored,
)
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.values import AccountId, Details, ExternalIds, Personal, StaffId
from vinculum_shared.http.documented import Documented
from vinculum_shared.http.paging import NIL, Page, Paged
from vinculum_shared.postgres import Connection, columns
from vinculum_shared.problems import AccountNotFound

EVENTS: Final = (AccountCreated, AccountChanged, AccountArchived, AccountRestored)
router = APIRouter(prefix="/v1", tags=["accounts"])


@dataclass(slots=True)
class Change:
    """What a batch does to one account."""

    version: int
    created_at: datetime | None = None
    profile: AccountProfile | None = None
    archived: bool | None = None


async def apply(
    db: Connection, events: Sequence[Recorded[AccountCreated | AccountChanged | AccountArchived | AccountRestored]]
) -> None:
    changes: dict[tuple[str, UUID], Change] = {}
    for event in events:
        change = changes.setdefault((event.tenant, event.data.account_id), Change(event.stream_version))
        change.version = event.stream_version
        match event.data:
            case AccountCreated():
                change.created_at, change.profile, change.archived = event.recorded_at, event.data, False
            case AccountChanged(after=after):
                change.profile = after
            case AccountArchived():
                change.archived = True
            case AccountRestored():
                change.archived = False
    created = [row(key, c) for key, c in changes.items() if c.created_at]
    changed = [row(key, c) for key, c in changes.items() if not c.created_at]
    renamed = {key: word_starts(folded(c.profile.name)) for key, c in changes.items() if c.profile}
    words = [(*key, start) for key, starts in renamed.items() for start in starts]
    await db.execute(CREATE, created)
    await db.execute(CHANGE, changed)
    await db.execute(FORGET_WORDS, *columns(renamed, 2))
    await db.execute(WORDS, *columns(words, 3))


def row(key: tuple[str, UUID], change: Change) -> tuple[Any, ...]:
    """Give a row of the table. None: unchanged."""
    profile = change.profile
    return (
        *key,
        profile and profile.name,
        profile and folded(profile.name),
        profile and letter_of(profile.name),
        profile and profile.kind,
        profile and profile.details,
        profile and profile.external_ids,
        change.archived,
        change.created_at,
        change.version,
    )


CREATE: LiteralString = """
    INSERT INTO accounts SELECT new.* FROM unnest($1::accounts[]) AS new
    ON CONFLICT (tenant, account_id) DO UPDATE
    SET version = excluded.version, archived = excluded.archived, name = excluded.name,
        folded_name = excluded.folded_name, letter = excluded.letter, kind = excluded.kind, details = excluded.details,
        external_ids = excluded.external_ids, created_at = excluded.created_at"""
# Without a new profile, its columns are null here and stay as they are; `folded_name` is null only then.
CHANGE: LiteralString = """
    UPDATE accounts
    SET version = new.version,
        archived = coalesce(new.archived, accounts.archived),
        name = CASE WHEN new.folded_name IS NULL THEN accounts.name ELSE new.name END,
        folded_name = coalesce(new.folded_name, accounts.folded_name),
        letter = coalesce(new.letter, accounts.letter),
        kind = CASE WHEN new.folded_name IS NULL THEN accounts.kind ELSE new.kind END,
        details = CASE WHEN new.folded_name IS NULL THEN accounts.details ELSE new.details END,
        external_ids = coalesce(new.external_ids, accounts.external_ids)
    FROM unnest($1::accounts[]) AS new
    WHERE (accounts.tenant, accounts.account_id) = (new.tenant, new.account_id)"""
FORGET_WORDS: LiteralString = """
    DELETE FROM account_words USING unnest($1::text[], $2::uuid[]) AS renamed (tenant, account_id)
    WHERE (account_words.tenant, account_words.account_id) = (renamed.tenant, renamed.account_id)"""
WORDS: LiteralString = """
    INSERT INTO account_words (tenant, account_id, start)
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[])"""


class Account(Documented):
    id: AccountId
    name: Personal[str | None]
    kind: AccountKind | None
    details: Personal[Details | None]
    external_ids: ExternalIds
    archived: bool
    created_at: datetime
    version: int
    parked: bool
    held: bool = False
    """See the list's."""


@router.get("/accounts")
async def list_accounts(
    read: Reader,
    paging: Paged,
    query: Search = None,
    letter: Annotated[str | None, Query(min_length=1, max_length=1)] = None,
    manager: StaffId | None = None,
    archived: bool | None = None,  # noqa: FBT001  a query parameter
) -> Page[Account]:
    """List accounts by name."""
    read.may_search_personal(query, letter)
    page = (*paging.after("", NIL), paging.limit + 1, under(letter), manager, archived)
    first, last = search_range(query)
    found = await (read.rows(FOUND, *page, first, last) if first is not None else read.rows(LISTED, *page))
    rows = await read.rows(ACCOUNTS, [row["account_id"] for row in found])
    return await read.page(Account, rows, paging, ("folded_name", "id"))


@router.get("/accounts/{account_id}")
async def get_account(account_id: AccountId, read: Reader) -> Account:
    rows = await read.rows(ACCOUNTS, [account_id])
    if not rows:
        raise AccountNotFound(account_id=account_id)
    return read.one(Account, rows[0])


# Nobody manages an account yet: with a manager asked for, nothing is found.
LISTED: LiteralString = """
    SELECT account_id FROM accounts
    WHERE tenant = $1 AND (folded_name, account_id) > ($2, $3)
        AND ($5::text IS NULL OR letter = $5)
        AND $6::uuid IS NULL
        AND ($7::boolean IS NULL OR archived = $7)
    ORDER BY folded_name, account_id
    LIMIT $4"""
# A statement of its own, since Postgres joins with the words only where that is not optional.
FOUND: LiteralString = """
    SELECT account_id FROM accounts
    WHERE tenant = $1 AND (folded_name, account_id) > ($2, $3)
        AND ($5::text IS NULL OR letter = $5)
        AND $6::uuid IS NULL
        AND ($7::boolean IS NULL OR archived = $7)
        AND account_id IN (SELECT account_id FROM account_words WHERE tenant = $1 AND start >= $8 AND start < $9)
    ORDER BY folded_name, account_id
    LIMIT $4"""
ACCOUNTS: LiteralString = """
    SELECT account_id AS id, name, folded_name, kind, details, external_ids, archived, created_at, version,
        EXISTS (SELECT FROM parked WHERE tenant = $1 AND stream = 'account/' || account_id) AS parked
    FROM accounts WHERE tenant = $1 AND account_id = ANY($2::uuid[])
    ORDER BY folded_name, account_id"""
