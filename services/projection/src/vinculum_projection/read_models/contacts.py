"""Which contacts there are, and at which addresses they are reached."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, LiteralString
from uuid import UUID

from fastapi import APIRouter, Query

from vinculum_projection.names import folded, search_range, under, word_starts
from vinculum_projection.names import letter as letter_of
from vinculum_projection.reading import Reader, Search
from vinculum_shared.contracts.addresses import comparable
from vinculum_shared.contracts.contacts import (
    ContactChanged,
    ContactCreated,
    ContactDeactivated,
    ContactProfile,
    ContactReactivated,
    Email,
    EmailAdded,
    EmailChanged,
    EmailReleased,
    EmailRemoved,
    EmailSuppressed,
)
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import ContactEvent
from vinculum_shared.contracts.values import NO_NUL, ContactId, EmailId, ExternalIds, Locale, Personal
from vinculum_shared.http.documented import Documented
from vinculum_shared.http.paging import NIL, Page, Paged
from vinculum_shared.postgres import Connection, columns
from vinculum_shared.problems import ContactNotFound

EVENTS: Final = (
    ContactCreated,
    ContactChanged,
    EmailAdded,
    EmailChanged,
    EmailRemoved,
    EmailSuppressed,
    EmailReleased,
    ContactDeactivated,
    ContactReactivated,
)
router = APIRouter(prefix="/v1", tags=["contacts"])


@dataclass(slots=True)
class Change:
    """What a batch does to one contact; an address that is None was removed."""

    version: int
    created_at: datetime | None = None
    profile: ContactProfile | None = None
    active: bool | None = None
    emails: dict[UUID, Email | None] = field(default_factory=dict)


async def apply(db: Connection, events: Sequence[Recorded[ContactEvent]]) -> None:
    changes: dict[tuple[str, UUID], Change] = {}
    for event in events:
        change = changes.setdefault((event.tenant, event.data.contact_id), Change(event.stream_version))
        change.version = event.stream_version
        match event.data:
            case ContactCreated(emails=addresses):
                change.created_at, change.profile, change.active = event.recorded_at, event.data, True
                change.emails = {each.email_id: each for each in addresses}
            case ContactChanged(after=after):
                change.profile = after
            case EmailAdded(email_id=email_id):
                change.emails[email_id] = event.data
            case EmailChanged(email_id=email_id, after=email):
                change.emails[email_id] = email
            case EmailRemoved(email_id=email_id):
                change.emails[email_id] = None
            case ContactDeactivated():
                change.active = False
            case ContactReactivated():
                change.active = True
    created = [row(key, c) for key, c in changes.items() if c.created_at]
    changed = [row(key, c) for key, c in changes.items() if not c.created_at]
    renamed = {key: found_by(c.profile) for key, c in changes.items() if c.profile}
    words = [(*key, start) for key, starts in renamed.items() for start in starts]
    removed = [(*key, email_id) for key, c in changes.items() for email_id, email in c.emails.items() if not email]
    kept = [
        (*key, e.email_id, e.address, comparable(e.address or ""), e.address_hash, e.label, e.primary)
        for key, c in changes.items()
        for e in c.emails.values()
        if e
    ]
    await db.execute(CREATE, created)
    await db.execute(CHANGE, changed)
    await db.execute(FORGET_WORDS, *columns(renamed, 2))
    await db.execute(WORDS, *columns(words, 3))
    await db.execute(REMOVE_EMAILS, *columns(removed, 3))
    await db.execute(EMAILS, kept)


def row(key: tuple[str, UUID], change: Change) -> tuple[Any, ...]:
    """Give a row of the table. None: unchanged."""
    profile = change.profile
    return (
        *key,
        profile and profile.first_name,
        profile and profile.last_name,
        profile and (profile.name or None),
        profile and folded(last_first(profile)),
        profile and letter_of(profile.last_name),
        profile and (profile.phones or ()),
        profile and profile.locale,
        profile and profile.external_ids,
        change.active,
        change.created_at,
        change.version,
    )


def last_first(profile: ContactProfile) -> str:
    return f"{profile.last_name or ''} {profile.first_name or ''}"


def found_by(profile: ContactProfile) -> set[str]:
    """Give the starts that find a name, in either order."""
    return word_starts(folded(profile.name)) | word_starts(folded(last_first(profile)))


CREATE: LiteralString = """
    INSERT INTO contacts SELECT new.* FROM unnest($1::contacts[]) AS new
    ON CONFLICT (tenant, contact_id) DO UPDATE
    SET version = excluded.version, active = excluded.active, first_name = excluded.first_name,
        last_name = excluded.last_name, name = excluded.name, folded_name = excluded.folded_name,
        letter = excluded.letter, phones = excluded.phones, locale = excluded.locale,
        external_ids = excluded.external_ids, created_at = excluded.created_at"""
# Without a new profile, its columns are null here and stay as they are; `folded_name` is null only then.
CHANGE: LiteralString = """
    UPDATE contacts
    SET version = new.version,
        active = coalesce(new.active, contacts.active),
        first_name = CASE WHEN new.folded_name IS NULL THEN contacts.first_name ELSE new.first_name END,
        last_name = CASE WHEN new.folded_name IS NULL THEN contacts.last_name ELSE new.last_name END,
        name = CASE WHEN new.folded_name IS NULL THEN contacts.name ELSE new.name END,
        folded_name = coalesce(new.folded_name, contacts.folded_name),
        letter = coalesce(new.letter, contacts.letter),
        phones = coalesce(new.phones, contacts.phones),
        locale = CASE WHEN new.folded_name IS NULL THEN contacts.locale ELSE new.locale END,
        external_ids = coalesce(new.external_ids, contacts.external_ids)
    FROM unnest($1::contacts[]) AS new
    WHERE (contacts.tenant, contacts.contact_id) = (new.tenant, new.contact_id)"""
FORGET_WORDS: LiteralString = """
    DELETE FROM contact_words USING unnest($1::text[], $2::uuid[]) AS renamed (tenant, contact_id)
    WHERE (contact_words.tenant, contact_words.contact_id) = (renamed.tenant, renamed.contact_id)"""
WORDS: LiteralString = """
    INSERT INTO contact_words (tenant, contact_id, start)
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[])"""
REMOVE_EMAILS: LiteralString = """
    DELETE FROM contact_emails AS email
    USING unnest($1::text[], $2::uuid[], $3::uuid[]) AS gone (tenant, contact_id, email_id)
    WHERE (email.tenant, email.contact_id, email.email_id) = (gone.tenant, gone.contact_id, gone.email_id)"""
EMAILS: LiteralString = """
    INSERT INTO contact_emails SELECT new.* FROM unnest($1::contact_emails[]) AS new
    ON CONFLICT (tenant, contact_id, email_id) DO UPDATE
    SET address = excluded.address, folded_address = excluded.folded_address, address_hash = excluded.address_hash,
        label = excluded.label, is_primary = excluded.is_primary"""


class ContactEmail(Documented):
    email_id: EmailId
    address: Personal[str | None]
    label: Personal[str | None]
    primary: bool


class Contact(Documented):
    id: ContactId
    name: Personal[str | None]
    first_name: Personal[str | None]
    last_name: Personal[str | None]
    emails: list[ContactEmail]
    phones: Personal[list[str] | None]
    locale: Locale | None
    external_ids: ExternalIds
    active: bool
    created_at: datetime
    version: int
    parked: bool
    held: bool = False
    """See the list's."""


@router.get("/contacts")
async def list_contacts(
    read: Reader,
    paging: Paged,
    query: Search = None,
    letter: Annotated[str | None, Query(min_length=1, max_length=1, description="Of the last name, or `#`.")] = None,
    email: Annotated[str | None, Query(max_length=254, pattern=NO_NUL, description="The whole address.")] = None,
) -> Page[Contact]:
    """List contacts by last name, then first name."""
    read.may_search_personal(query, letter, email)
    reached = None if email is None else [row["contact_id"] for row in await read.rows(REACHED, comparable(email))]
    page = (*paging.after("", NIL), paging.limit + 1, under(letter), reached)
    first, last = search_range(query)
    found = await (read.rows(FOUND, *page, first, last) if first is not None else read.rows(LISTED, *page))
    rows = await read.rows(CONTACTS, [row["contact_id"] for row in found])
    return await read.page(Contact, rows, paging, ("folded_name", "id"))


@router.get("/contacts/{contact_id}")
async def get_contact(contact_id: ContactId, read: Reader) -> Contact:
    rows = await read.rows(CONTACTS, [contact_id])
    if not rows:
        raise ContactNotFound(contact_id=contact_id)
    return read.one(Contact, rows[0])


REACHED: LiteralString = "SELECT contact_id FROM contact_emails WHERE tenant = $1 AND folded_address = $2"
LISTED: LiteralString = """
    SELECT contact_id FROM contacts
    WHERE tenant = $1 AND (folded_name, contact_id) > ($2, $3)
        AND ($5::text IS NULL OR letter = $5)
        AND ($6::uuid[] IS NULL OR contact_id = ANY($6))
    ORDER BY folded_name, contact_id
    LIMIT $4"""
# A statement of its own, since Postgres joins with the words only where that is not optional.
FOUND: LiteralString = """
    SELECT contact_id FROM contacts
    WHERE tenant = $1 AND (folded_name, contact_id) > ($2, $3)
        AND ($5::text IS NULL OR letter = $5)
        AND ($6::uuid[] IS NULL OR contact_id = ANY($6))
        AND contact_id IN (SELECT contact_id FROM contact_words WHERE tenant = $1 AND start >= $7 AND start < $8)
    ORDER BY folded_name, contact_id
    LIMIT $4"""
CONTACTS: LiteralString = """
    SELECT contact_id AS id, folded_name, name, first_name, last_name, phones, locale, external_ids, active, created_at,
        version,
        (SELECT coalesce(jsonb_agg(jsonb_build_object('email_id', email_id, 'address', address, 'label', label,
                'primary', is_primary) ORDER BY is_primary DESC, email_id), '[]')
            FROM contact_emails WHERE tenant = $1 AND contact_id = contacts.contact_id) AS emails,
        EXISTS (SELECT FROM parked WHERE tenant = $1 AND stream = 'contact/' || contact_id) AS parked
    FROM contacts WHERE tenant = $1 AND contact_id = ANY($2::uuid[])
    ORDER BY folded_name, contact_id"""
