"""Who belongs to which account now and, through shared contacts, which accounts are related."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from fastapi import APIRouter

from vinculum_projection.reading import Reader, Row
from vinculum_shared.contracts.accounts import AccountChanged
from vinculum_shared.contracts.contacts import Email
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event, LinkEvent
from vinculum_shared.contracts.links import (
    AccessState,
    ContactLinked,
    ContactUnlinked,
    LinkChanged,
    LinkTerms,
    NotificationPreferences,
    NotificationPreferencesChanged,
    PermissionsChanged,
    PortalAccessChanged,
)
from vinculum_shared.contracts.topics import TOPICS, Feature, Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, Personal
from vinculum_shared.http.documented import Documented
from vinculum_shared.http.paging import NIL, Page, Paged
from vinculum_shared.postgres import Connection, columns
from vinculum_shared.recipients import wants

EVENTS: Final = (
    ContactLinked,
    ContactUnlinked,
    LinkChanged,
    PermissionsChanged,
    NotificationPreferencesChanged,
    PortalAccessChanged,
    AccountChanged,
)
router = APIRouter(prefix="/v1", tags=["links"])

Key = tuple[str, UUID, UUID]


@dataclass(slots=True)
class Change:
    """What a batch does to one link; what is None stays as it is."""

    version: int
    linked: Recorded[Event] | None = None
    terms: LinkTerms | None = None
    features: tuple[Feature, ...] | None = None
    topics: tuple[Topic, ...] | None = None
    topics_by_email: dict[EmailId, dict[Topic, bool]] | None = None
    unlinked: bool = False


async def apply(db: Connection, events: Sequence[Recorded[Event]]) -> None:
    changes: dict[Key, Change] = {}
    renamed: dict[tuple[str, UUID], None] = {}
    for event in events:
        match event.data:
            case LinkEvent(account_id=account_id, contact_id=contact_id):
                fold(changes, (event.tenant, account_id, contact_id), event)
            case AccountChanged(account_id=account_id, before=before, after=after) if before.name != after.name:
                renamed[event.tenant, account_id] = None
    unlinked = [key for key, change in changes.items() if change.unlinked]
    linked = [row(key, change) for key, change in changes.items() if change.linked]
    changed = [row(key, change) for key, change in changes.items() if not change.linked and not change.unlinked]
    if unlinked:
        await db.execute(UNLINK, *columns(unlinked, 3))
    if linked:
        await db.execute(LINK, linked)
    if changed:
        await db.execute(CHANGE, changed)
    if renamed:
        await db.execute(RENAME, *columns(renamed, 2))


def fold(changes: dict[Key, Change], key: Key, event: Recorded[Event]) -> None:
    data = event.data
    if isinstance(data, ContactLinked):
        changes[key] = Change(event.stream_version, event, data, data.features, data.topics, {})
        return
    if isinstance(data, ContactUnlinked):
        changes[key] = Change(event.stream_version, unlinked=True)
        return
    change = changes.setdefault(key, Change(event.stream_version))
    change.version = event.stream_version
    match data:
        case LinkChanged(after=terms):
            change.terms = terms
        case PermissionsChanged(after=features):
            change.features = features
        case NotificationPreferencesChanged(after=preferences):
            change.topics, change.topics_by_email = preferences.topics, preferences.by_email


def row(key: Key, change: Change) -> tuple[object, ...]:
    """Return a row of the table, but for the account's name. None: unchanged."""
    linked, terms, by_email = change.linked, change.terms, change.topics_by_email
    return (
        *key,
        None,
        terms and terms.role,
        terms and terms.job_title,
        terms and terms.primary,
        linked and linked.effective_at,
        change.features,
        change.topics,
        by_email if by_email is None else {str(email_id): topics for email_id, topics in by_email.items()},
        change.version,
        linked and linked.id,
        linked and linked.position,
        linked and linked.recorded_at,
    )


UNLINK: LiteralString = """
    DELETE FROM links USING unnest($1::text[], $2::uuid[], $3::uuid[]) AS gone (tenant, account_id, contact_id)
    WHERE (links.tenant, links.account_id, links.contact_id) = (gone.tenant, gone.account_id, gone.contact_id)"""
# An account that isn't there has no name, which `account_name` does not take: the event fails.
LINK: LiteralString = """
    INSERT INTO links
    SELECT tenant, account_id, contact_id,
        (SELECT folded_name FROM accounts
            WHERE accounts.tenant = new.tenant AND accounts.account_id = new.account_id),
        role, job_title, is_primary, since, features, topics, topics_by_email, version, linked_event_id,
        linked_position, linked_at
    FROM unnest($1::links[]) AS new
    ON CONFLICT (tenant, account_id, contact_id) DO UPDATE
    SET version = excluded.version, role = excluded.role, job_title = excluded.job_title,
        is_primary = excluded.is_primary, features = excluded.features, topics = excluded.topics,
        topics_by_email = excluded.topics_by_email, since = excluded.since,
        linked_event_id = excluded.linked_event_id, linked_position = excluded.linked_position,
        linked_at = excluded.linked_at, account_name = excluded.account_name"""
CHANGE: LiteralString = """
    UPDATE links
    SET version = new.version,
        role = CASE WHEN new.is_primary IS NULL THEN links.role ELSE new.role END,
        job_title = CASE WHEN new.is_primary IS NULL THEN links.job_title ELSE new.job_title END,
        is_primary = coalesce(new.is_primary, links.is_primary),
        features = coalesce(new.features, links.features),
        topics = coalesce(new.topics, links.topics),
        topics_by_email = coalesce(new.topics_by_email, links.topics_by_email)
    FROM unnest($1::links[]) AS new
    WHERE (links.tenant, links.account_id, links.contact_id) = (new.tenant, new.account_id, new.contact_id)"""
RENAME: LiteralString = """
    UPDATE links SET account_name = accounts.folded_name
    FROM unnest($1::text[], $2::uuid[]) AS renamed (tenant, account_id) JOIN accounts USING (tenant, account_id)
    WHERE (links.tenant, links.account_id) = (accounts.tenant, accounts.account_id)
        AND links.account_name <> accounts.folded_name"""


class LinkedEmail(Documented):
    email_id: EmailId
    address: Personal[str | None]
    primary: bool
    access: AccessState
    topics: dict[Topic, bool]
    """Which mail goes to this address: its own choices, else the link's, for the primary one."""


class Link(Documented):
    name: Personal[str | None]
    role: str | None
    job_title: Personal[str | None]
    primary: bool
    since: datetime
    version: int
    emails: list[LinkedEmail]
    features: list[Feature]
    topics: dict[Topic, bool]
    parked: bool


class LinkedContact(Link):
    contact_id: ContactId


class LinkedAccount(Link):
    account_id: AccountId


class AccountName(Documented):
    id: AccountId
    name: Personal[str | None]


class SharedContact(Documented):
    contact_id: ContactId
    name: Personal[str | None]
    since: datetime


class RelatedAccount(Documented):
    account: AccountName
    via: list[SharedContact]
    parked: bool


@router.get("/accounts/{account_id}/contacts")
async def list_contacts_of_account(account_id: AccountId, read: Reader, paging: Paged) -> Page[LinkedContact]:
    """List the account's contacts by last name, then first name."""
    await read.account(account_id)
    rows = await read.rows(CONTACTS_OF_ACCOUNT, account_id, *paging.after("", NIL), paging.limit + 1)
    links = [link(row) for row in rows]
    return await read.page(LinkedContact, links, paging, ("folded_name", "contact_id"), account_id)


@router.get("/contacts/{contact_id}/accounts")
async def list_accounts_of_contact(contact_id: ContactId, read: Reader, paging: Paged) -> Page[LinkedAccount]:
    """List the contact's accounts by name."""
    await read.contact(contact_id)
    rows = await read.rows(ACCOUNTS_OF_CONTACT, contact_id, *paging.after("", NIL), paging.limit + 1)
    links = [link(row) for row in rows]
    return await read.page(LinkedAccount, links, paging, ("account_name", "account_id"), contact_id)


@router.get("/accounts/{account_id}/related")
async def list_related_accounts(account_id: AccountId, read: Reader, paging: Paged) -> Page[RelatedAccount]:
    """List the accounts that share a contact with this one, by name, each with the contacts that it shares."""
    await read.account(account_id)
    rows = await read.rows(RELATED, account_id, *paging.after("", NIL), paging.limit + 1)
    return await read.page(RelatedAccount, rows, paging, ("account_name", "account_id"), account_id)


def link(row: Row) -> Row:
    preferences = NotificationPreferences(topics=row["topics"], by_email=row["topics_by_email"])
    emails = [each | {"topics": topics_of(preferences, each)} for each in row["emails"]]
    reached = [each["topics"] for each in emails] or [{topic: topic in row["topics"] for topic in TOPICS}]
    return row | {"emails": emails, "topics": {topic: any(each[topic] for each in reached) for topic in TOPICS}}


def topics_of(preferences: NotificationPreferences, email: Row) -> dict[Topic, bool]:
    address = Email.model_validate(email)
    return {topic: wants(preferences, topic, address) for topic in TOPICS}


EMAILS: Final[LiteralString] = """
    SELECT coalesce(jsonb_agg(jsonb_build_object('email_id', email.email_id, 'address', email.address,
        'address_hash', email.address_hash, 'primary', email.is_primary,
        'access', coalesce(access.state, 'off'))
        ORDER BY email.is_primary DESC, email.email_id), '[]')
    FROM contact_emails AS email LEFT JOIN access ON access.tenant = $1 AND access.account_id = page.account_id
        AND access.contact_id = page.contact_id AND access.email_id = email.email_id
    WHERE email.tenant = $1 AND email.contact_id = page.contact_id"""
# A contact is looked up by its primary key, whatever Postgres knows about the tables: see access.ENTRIES.
CONTACTS_OF_ACCOUNT: LiteralString = f"""
    WITH page AS MATERIALIZED (
        SELECT links.*, coalesce(contact.folded_name, '') AS folded_name, contact.name
        FROM links LEFT JOIN LATERAL (
            SELECT folded_name, name FROM contacts
            WHERE tenant = $1 AND contact_id BETWEEN links.contact_id AND links.contact_id
            ORDER BY contact_id OFFSET 0) AS contact ON true
        WHERE links.tenant = $1 AND links.account_id = $2
            AND (coalesce(contact.folded_name, ''), links.contact_id) > ($3, $4)
        ORDER BY coalesce(contact.folded_name, ''), links.contact_id
        LIMIT $5
    )
    SELECT contact_id, folded_name, name, role, job_title, is_primary AS primary, since, version, features, topics,
        topics_by_email,
        ({EMAILS}) AS emails,
        EXISTS (SELECT FROM parked WHERE tenant = $1 AND stream IN (
            'link/' || page.account_id || '/' || page.contact_id, 'contact/' || page.contact_id)) AS parked
    FROM page ORDER BY folded_name, contact_id"""  # noqa: S608  EMAILS is a constant
ACCOUNTS_OF_CONTACT: LiteralString = f"""
    WITH page AS MATERIALIZED (
        SELECT * FROM links
        WHERE tenant = $1 AND contact_id = $2 AND (account_name, account_id) > ($3, $4)
        ORDER BY account_name, account_id
        LIMIT $5
    )
    SELECT account_id, account_name, account.name, role, job_title, is_primary AS primary, since, version, features,
        topics, topics_by_email,
        ({EMAILS}) AS emails,
        EXISTS (SELECT FROM parked WHERE tenant = $1 AND stream IN (
            'link/' || page.account_id || '/' || page.contact_id, 'account/' || page.account_id)) AS parked
    FROM page CROSS JOIN LATERAL (
        SELECT name FROM accounts WHERE tenant = $1 AND account_id = page.account_id OFFSET 0) AS account
    ORDER BY account_name, account_id"""  # noqa: S608  EMAILS is a constant
# Each shared contact yields its first accounts after the cursor, in index order: a contact on 100,000 accounts costs
# no more than a page. An account on the page is among the first of every contact that it shares, so `via` is whole.
RELATED: LiteralString = """
    WITH page AS MATERIALIZED (
        SELECT other.account_name, other.account_id,
            jsonb_agg(jsonb_build_object('contact_id', mine.contact_id, 'since', greatest(mine.since, other.since),
                'name', contact.name) ORDER BY contact.folded_name, mine.contact_id) AS via
        FROM links AS mine LEFT JOIN LATERAL (
            SELECT folded_name, name FROM contacts
            WHERE tenant = $1 AND contact_id BETWEEN mine.contact_id AND mine.contact_id
            ORDER BY contact_id OFFSET 0
        ) AS contact ON true
        CROSS JOIN LATERAL (
            SELECT account_name, account_id, since FROM links
            WHERE tenant = $1 AND contact_id = mine.contact_id AND account_id <> $2
                AND (account_name, account_id) > ($3, $4)
            ORDER BY account_name, account_id
            LIMIT $5
        ) AS other
        WHERE mine.tenant = $1 AND mine.account_id = $2
        GROUP BY 1, 2
        ORDER BY 1, 2
        LIMIT $5
    )
    SELECT account_name, account_id, jsonb_build_object('id', account_id, 'name', account.name) AS account, via,
        EXISTS (SELECT FROM parked WHERE tenant = $1 AND stream = 'account/' || account_id) AS parked
    FROM page CROSS JOIN LATERAL (
        SELECT name FROM accounts WHERE tenant = $1 AND account_id = page.account_id OFFSET 0) AS account
    ORDER BY account_name, account_id"""
