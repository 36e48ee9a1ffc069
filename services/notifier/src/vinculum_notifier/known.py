"""What is known of a tenant, as of an event: who can be reached where, who wants what, and what mails speak of.

Each state is the fold of one stream and is stored under that stream's name. `Known` holds the states that a batch of
events touches and moves event by event, so that routing sees preferences as they were at that event.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final, Literal, LiteralString, TypeVar
from uuid import UUID

from pydantic import Field

from vinculum_shared.contracts.accounts import AccountArchived, AccountChanged, AccountCreated, AccountRestored
from vinculum_shared.contracts.contacts import (
    ContactChanged,
    ContactCreated,
    ContactDeactivated,
    ContactReactivated,
    Email,
    EmailAdded,
    EmailChanged,
    EmailRemoved,
)
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import AccountEvent, ContactEvent, Event, LinkEvent, RecordEvent, StaffEvent
from vinculum_shared.contracts.links import (
    AccessState,
    ContactLinked,
    ContactUnlinked,
    NotificationPreferences,
    NotificationPreferencesChanged,
    PermissionsChanged,
    PortalAccessChanged,
)
from vinculum_shared.contracts.records import RecordCreated, RecordReminded, RecordSent, RecordType
from vinculum_shared.contracts.staff import Limits, Role, StaffUserAdded, StaffUserChanged, StaffUserDeactivated
from vinculum_shared.contracts.tenants import Policy, PolicyChanged, TenantChanged, TenantEvent, TenantRegistered
from vinculum_shared.contracts.topics import Feature
from vinculum_shared.contracts.values import ContactId, Currency, InvitationId, Locale, Value
from vinculum_shared.postgres import Connection, Pool, columns
from vinculum_shared.recipients import Member


class Tenant(Value):
    name: str = ""
    portal_url: str | None = None
    locale: Locale = "en"
    reply_to: str | None = None
    policy: Policy | None = None

    @property
    def mail_without_permission(self) -> Literal["send", "hold"]:
        return self.policy.mail_without_permission if self.policy else "send"


class Staff(Value):
    roles: frozenset[Role] = frozenset()
    limits: Limits = Limits()
    active: bool = True


class Account(Value):
    name: str
    archived: bool = False


class Contact(Value):
    name: str
    locale: Locale | None = None
    active: bool = True
    emails: tuple[Email, ...] = ()

    def email(self, email_id: UUID) -> Email | None:
        return next((email for email in self.emails if email.email_id == email_id), None)


class Access(Value):
    state: AccessState
    invitation_id: InvitationId | None = None


class Link(Value):
    features: frozenset[Feature] = frozenset()
    preferences: NotificationPreferences = NotificationPreferences()
    access: dict[UUID, Access] = Field(default_factory=dict)


class Record(Value):
    type: RecordType
    title: str | None = None
    number: str | None = None
    amount: Decimal | None = None
    currency: Currency | None = None
    due: date | None = None


State = Tenant | Staff | Account | Contact | Link | Record
S = TypeVar("S", bound=Value)

STATES: Final[dict[str, type[State]]] = {
    "tenant": Tenant,
    "staff": Staff,
    "account": Account,
    "contact": Contact,
    "link": Link,
    "record": Record,
}
"""By the first word of the stream's name."""


def evolve(state: State | None, event: Event) -> State | None:  # noqa: C901, PLR0911, PLR0912  one case for each type
    """Return a stream's state after one more event of it; None where there is nothing (any more)."""
    match state, event:
        case _, TenantRegistered() as registered:
            return Tenant.of(registered)
        case Tenant(), TenantChanged(after=after):
            return Tenant.of(after, policy=state.policy)
        case Tenant(), PolicyChanged(after=policy):
            return state.evolve(policy=policy)

        case _, StaffUserAdded() as added:
            return Staff(roles=frozenset(added.roles), limits=added.limits)
        case Staff(), StaffUserChanged(after=profile):
            return state.evolve(roles=frozenset(profile.roles), limits=profile.limits)
        case Staff(), StaffUserDeactivated():
            return state.evolve(active=False)

        case _, AccountCreated(name=name):
            return Account(name=name or "")
        case Account(), AccountChanged() as renamed:
            return state.evolve(name=renamed.after.name or "")
        case Account(), AccountArchived():
            return state.evolve(archived=True)
        case Account(), AccountRestored():
            return state.evolve(archived=False)

        case _, ContactCreated() as created:
            return Contact(name=created.name, locale=created.locale, emails=created.emails)
        case Contact(), ContactChanged() as corrected:
            return state.evolve(name=corrected.after.name, locale=corrected.after.locale)
        case Contact(emails=emails), EmailAdded() as added:
            return state.evolve(emails=(*emails, Email.of(added)))
        case Contact(emails=emails), EmailChanged(email_id=email_id) as readdressed:
            return state.evolve(emails=tuple(readdressed.after if e.email_id == email_id else e for e in emails))
        case Contact(emails=emails), EmailRemoved(email_id=email_id):
            return state.evolve(emails=tuple(e for e in emails if e.email_id != email_id))
        case Contact(), ContactDeactivated():
            return state.evolve(active=False)
        case Contact(), ContactReactivated():
            return state.evolve(active=True)

        case _, ContactLinked() as linked:
            return Link(features=frozenset(linked.features), preferences=NotificationPreferences(topics=linked.topics))
        case _, ContactUnlinked():
            return None
        case Link(access=access), PortalAccessChanged() as moved:
            before = access.get(moved.email_id)
            invitation_id = moved.invitation_id or (before.invitation_id if before else None)
            now = Access(state=moved.to, invitation_id=invitation_id)
            return state.evolve(access=access | {moved.email_id: now})
        case Link(), PermissionsChanged(after=features):
            return state.evolve(features=frozenset(features))
        case Link(), NotificationPreferencesChanged(after=preferences):
            return state.evolve(preferences=preferences)

        case _, RecordCreated() as record:
            return Record.of(record)
        case _:
            return state


@dataclass(slots=True)
class Known:
    """What is known of one tenant, as far as a batch needs it."""

    tenant_id: str
    states: dict[str, State] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    """Streams whose state is to be stored."""
    linked: defaultdict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    """Contacts by account, of the links among the states."""

    def put(self, stream: str, state: State | None) -> None:
        noun, _, ids = stream.partition("/")
        if state is None:
            self.states.pop(stream, None)
        else:
            self.states[stream] = state
        if noun == "link":
            account_id, contact_id = map(UUID, ids.split("/"))
            contacts = self.linked[account_id]
            (contacts.discard if state is None else contacts.add)(contact_id)

    def apply(self, event: Recorded[Event]) -> None:
        before = self.states.get(event.stream)
        after = evolve(before, event.data)
        if after is not before:
            self.put(event.stream, after)
            self.moved.add(event.stream)

    @property
    def tenant(self) -> Tenant:
        return self._state(Tenant, TenantEvent.stream_of(tenant=self.tenant_id)) or Tenant()

    def staff(self, staff_id: UUID) -> Staff | None:
        return self._state(Staff, StaffEvent.stream_of(staff_id=staff_id))

    def account(self, account_id: UUID) -> Account | None:
        return self._state(Account, AccountEvent.stream_of(account_id=account_id))

    def contact(self, contact_id: UUID) -> Contact | None:
        return self._state(Contact, ContactEvent.stream_of(contact_id=contact_id))

    def link(self, account_id: UUID, contact_id: UUID) -> Link | None:
        return self._state(Link, LinkEvent.stream_of(account_id=account_id, contact_id=contact_id))

    def record(self, record_id: UUID) -> Record | None:
        return self._state(Record, RecordEvent.stream_of(record_id=record_id))

    def _state(self, kind: type[S], stream: str) -> S | None:
        state = self.states.get(stream)
        return state if isinstance(state, kind) else None

    def members(self, account_id: UUID) -> Iterator[Member]:
        for contact_id in sorted(self.linked[account_id]):
            contact, link = self.contact(contact_id), self.link(account_id, contact_id)
            if contact and link:
                yield Member(ContactId(contact_id), contact.active, contact.emails, link.preferences, link.features)


def needed(event: Recorded[Event]) -> Iterator[str]:
    """Return the streams whose states an event changes, or is routed by; those of `members` come beside them."""
    noun = event.stream.partition("/")[0]
    if noun in STATES:
        yield event.stream
    match event.data:
        case LinkEvent(contact_id=contact_id):
            yield ContactEvent.stream_of(contact_id=contact_id)
        case RecordSent(recipients=recipients):
            yield from (ContactEvent.stream_of(contact_id=each.contact_id) for each in recipients)


def around(account_id: UUID | None, contact_id: UUID) -> Iterator[str]:
    """Return the streams of an account, of a contact and of the link between them."""
    ids = {"account_id": account_id, "contact_id": contact_id}
    return (event.stream_of(**ids) for event in (AccountEvent, ContactEvent, LinkEvent))


async def load(db: Connection, events: Sequence[Recorded[Event]]) -> dict[str, Known]:
    """Load, by tenant, what the events need, as of before them."""
    known = {event.tenant: Known(event.tenant) for event in events}
    streams = {(tenant, TenantEvent.stream_of(tenant=tenant)) for tenant in known}
    streams.update((event.tenant, stream) for event in events for stream in needed(event))
    accounts = {
        (event.tenant, LinkEvent.stream_of(account_id=event.data.account_id, contact_id=""))
        for event in events
        if isinstance(event.data, RecordSent | RecordReminded)
    }
    for tenant, stream, state in await db.fetch(LOAD, *columns(streams, 2), *columns(accounts, 2)):
        known[tenant].put(stream, parsed(stream, state))
    return known


async def look(db: Connection | Pool, tenant: str, *streams: str) -> Known:
    """Load what is known now."""
    known = Known(tenant)
    for stream, state in await db.fetch(LOOK, tenant, [TenantEvent.stream_of(tenant=tenant), *streams]):
        known.put(stream, parsed(stream, state))
    return known


async def store(db: Connection, known: Iterable[Known]) -> None:
    kept, gone = [], []
    for each in known:
        for stream in each.moved:
            state = each.states.get(stream)
            if state is None:
                gone.append((each.tenant_id, stream))
            else:
                kept.append((each.tenant_id, stream, state.model_dump_json()))
    await db.execute(FORGET, *columns(gone, 2))
    await db.execute(STORE, *columns(kept, 3))


def parsed(stream: str, state: str) -> State:
    return STATES[stream.partition("/")[0]].model_validate_json(state)


# The streams of an account's links start alike; 'g' comes after all that an id starts with.
LOAD: LiteralString = """
    WITH of_account AS (
        SELECT known.* FROM unnest($3::text[], $4::text[]) AS account (tenant, links)
        JOIN known ON known.tenant = account.tenant AND known.stream BETWEEN account.links AND account.links || 'g'
    )
    SELECT tenant, stream, state FROM known
    JOIN unnest($1::text[], $2::text[]) AS needed (tenant, stream) USING (tenant, stream)
    UNION ALL
    SELECT tenant, stream, state FROM of_account
    UNION ALL
    SELECT contact.tenant, contact.stream, contact.state FROM of_account
    JOIN known AS contact
        ON contact.tenant = of_account.tenant
        AND contact.stream = 'contact/' || split_part(of_account.stream, '/', 3)"""
LOOK: LiteralString = "SELECT stream, state FROM known WHERE tenant = $1 AND stream = ANY ($2::text[])"
STORE: LiteralString = """
    INSERT INTO known (tenant, stream, state) SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[])
    ON CONFLICT (tenant, stream) DO UPDATE SET state = EXCLUDED.state"""
FORGET: LiteralString = """
    DELETE FROM known USING unnest($1::text[], $2::text[]) AS gone (tenant, stream)
    WHERE known.tenant = gone.tenant AND known.stream = gone.stream"""
