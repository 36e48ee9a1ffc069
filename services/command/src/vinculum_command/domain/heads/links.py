"""The link itself, and what rules across links need to know: members, memberships, coverage."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final, Literal, Self

from pydantic import Field

from vinculum_command.domain.heads.head import Entry, Head, Mark
from vinculum_shared.contracts.accounts import AccountArchived, AccountRestored
from vinculum_shared.contracts.contacts import ContactDeactivated, ContactReactivated
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
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, InvitationId, Value
from vinculum_shared.recipients import wants_anywhere

LINK_EVENTS: Final[tuple[type[Event], ...]] = (
    ContactLinked,
    ContactUnlinked,
    LinkChanged,
    PortalAccessChanged,
    PermissionsChanged,
    NotificationPreferencesChanged,
)
NOTHING_SAID: Final = LinkTerms()
NOTHING_ON: Final = NotificationPreferences()
ENTERS: Final[frozenset[AccessState]] = frozenset({"invited", "active"})
ACCOUNTS_KNOWN_MAX: Final = 20  # accounts of a contact kept by id; the count is exact
DAY: Final = timedelta(days=1)
REACHED_KNOWN_MAX: Final = 8  # contacts of a topic kept by id; the count is exact


class Access(Value):
    """Of one address. `underneath` is what a suspension hides, and gives back."""

    state: AccessState
    underneath: Literal["invited", "active"] | None = None
    invitation_id: InvitationId | None = None
    mark: Mark


class Link(Head):
    KEY: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = LINK_EVENTS

    account_id: AccountId | None = None
    contact_id: ContactId | None = None
    linked: bool = False
    mark: Mark | None = None
    terms: LinkTerms = NOTHING_SAID
    features: tuple[Feature, ...] = ()
    preferences: NotificationPreferences = NOTHING_ON
    access: dict[EmailId, Access] = Field(default_factory=dict)
    closed: Mark | None = None  # what turned an access off last
    invited: dict[str, tuple[InvitationId, ...]] = Field(default_factory=dict)  # by address, those of the last day

    @property
    def ids(self) -> tuple[AccountId, ContactId]:
        """The pair; an event has named it."""
        assert self.account_id
        assert self.contact_id
        return self.account_id, self.contact_id

    def pair(self) -> tuple[AccountId, ContactId] | None:
        return self.ids if self.linked else None

    def entry(self) -> Entry | None:
        if any(access.state in ENTERS for access in self.access.values()):
            return "on"
        return "suspended" if self.access else None

    def fold(self, event: Event, mark: Mark) -> Self:
        match event:
            case ContactLinked():
                terms = NOTHING_SAID.evolve(role=event.role, job_title=event.job_title, primary=event.primary)
                return self._blank().evolve(
                    invited=self.invited,
                    account_id=event.account_id,
                    contact_id=event.contact_id,
                    linked=True,
                    mark=mark,
                    terms=terms,
                    features=event.features,
                    preferences=NOTHING_ON.evolve(topics=event.topics),
                )
            case ContactUnlinked():
                return self._blank().evolve(
                    invited=self.invited,
                    account_id=event.account_id,
                    contact_id=event.contact_id,
                    mark=mark,
                    access=self.access,
                )
            case LinkChanged():
                return self.evolve(terms=event.after)
            case PermissionsChanged():
                return self.evolve(features=event.after)
            case NotificationPreferencesChanged():
                return self.evolve(preferences=event.after)
            case PortalAccessChanged():
                closed = mark if event.to == "off" else self.closed
                return self.evolve(access=self._access(event, mark), closed=closed, invited=self._invited(event))
            case _:
                return self

    def _access(self, event: PortalAccessChanged, mark: Mark) -> dict[EmailId, Access]:
        others = {email_id: access for email_id, access in self.access.items() if email_id != event.email_id}
        if event.to == "off":
            return others
        before = self.access.get(event.email_id)
        underneath: Literal["invited", "active"] | None = None
        if event.to == "suspended":
            # Suspended again: its address has changed, so that what comes back is an invitation.
            underneath = "invited" if event.from_ in {"invited", "suspended"} else "active"
        invitation_id = event.invitation_id or (before.invitation_id if before else None)
        access = Access(state=event.to, underneath=underneath, invitation_id=invitation_id, mark=mark)
        return {**others, event.email_id: access}

    def _invited(self, event: PortalAccessChanged) -> dict[str, tuple[InvitationId, ...]]:
        if event.invitation_id is None or event.address_hash is None:
            return self.invited
        yesterday = invited_at(event.invitation_id) - DAY
        ids = (*self.invited.get(event.address_hash, ()), event.invitation_id)
        recent = {
            address: tuple(each for each in each_ids if invited_at(each) > yesterday)
            for address, each_ids in {**self.invited, event.address_hash: ids}.items()
        }
        return {address: each_ids for address, each_ids in recent.items() if each_ids}


def invited_at(invitation_id: InvitationId) -> datetime:
    """Return when an invitation was made: its id is a UUIDv7."""
    return datetime.fromtimestamp((invitation_id.int >> 80) / 1000, UTC)


class Members(Head):
    """How many contacts an account has, and which is primary. Every event of their links moves it."""

    KEY: ClassVar[tuple[str, ...]] = ("members", "account_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (*LINK_EVENTS, AccountArchived, AccountRestored)

    count: int = 0
    primary: ContactId | None = None
    archived: bool = False
    entering: int = 0
    suspended: int = 0

    def pending(self) -> bool:
        return self.entering > 0 if self.archived else self.suspended > 0

    def fold(self, event: Event, mark: Mark) -> Self:
        update: dict[str, object] = {}
        match event:
            case ContactLinked():
                update = {"count": self.count + 1, "primary": event.contact_id if event.primary else self.primary}
            case ContactUnlinked():
                primary = None if self.primary == event.contact_id else self.primary
                update = {"count": self.count - 1, "primary": primary}
            case LinkChanged() if event.after.primary:
                update = {"primary": event.contact_id}
            case LinkChanged() if self.primary == event.contact_id:
                update = {"primary": None}
            case AccountArchived() | AccountRestored():
                update = {"archived": isinstance(event, AccountArchived)}
            case PortalAccessChanged():
                update = _counted(self.entering, self.suspended, event)
        return self.evolve(**update)


class Memberships(Head):
    """How many accounts a contact is on, and the first few. Every event of its links moves it."""

    KEY: ClassVar[tuple[str, ...]] = ("memberships", "contact_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (*LINK_EVENTS, ContactDeactivated, ContactReactivated)

    count: int = 0
    accounts: tuple[AccountId, ...] = ()
    active: dict[EmailId, int] = Field(default_factory=dict)
    inactive: bool = False
    entering: int = 0
    suspended: int = 0

    def pending(self) -> bool:
        return self.entering > 0 if self.inactive else self.suspended > 0

    def fold(self, event: Event, mark: Mark) -> Self:
        update: dict[str, object] = {}
        match event:
            case ContactLinked():
                accounts = (*self.accounts, event.account_id)[:ACCOUNTS_KNOWN_MAX]
                update = {"count": self.count + 1, "accounts": accounts}
            case ContactUnlinked():
                accounts = tuple(account for account in self.accounts if account != event.account_id)
                update = {"count": self.count - 1, "accounts": accounts}
            case ContactDeactivated() | ContactReactivated():
                update = {"inactive": isinstance(event, ContactDeactivated)}
            case PortalAccessChanged():
                change = (event.to == "active") - (event.from_ == "active")
                active = Counter(self.active)
                active[event.email_id] += change
                update = _counted(self.entering, self.suspended, event)
                update["active"] = dict(+active)
        return self.evolve(**update)


def _counted(entering: int, suspended: int, event: PortalAccessChanged) -> dict[str, object]:
    return {
        "entering": entering + (event.to in ENTERS) - (event.from_ in ENTERS),
        "suspended": suspended + (event.to == "suspended") - (event.from_ == "suspended"),
    }


class Reached(Value):
    """Whose links have a topic on: how many, and the first few."""

    count: int = 0
    contacts: tuple[ContactId, ...] = ()


class Coverage(Head):
    """Which topics reach somebody of the account, as its links have it (PX-8). A contact's own state is not in it."""

    KEY: ClassVar[tuple[str, ...]] = ("coverage", "account_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (ContactLinked, ContactUnlinked, NotificationPreferencesChanged)

    topics: dict[Topic, Reached] = Field(default_factory=dict)

    @classmethod
    def keys(cls, event: Event) -> Iterable[str]:
        """Skip links with no topic on before or after."""
        before, after = _preferences(event)
        return () if before is after or before == after else super().keys(event)

    def fold(self, event: Event, mark: Mark) -> Self:
        assert isinstance(event, LinkEvent)
        before, after = _preferences(event)
        topics = dict(self.topics)
        for topic in TOPICS:
            change = wants_anywhere(after, topic) - wants_anywhere(before, topic)
            if change:
                topics[topic] = _reached(topics.get(topic, Reached()), event.contact_id, change)
        return self.evolve(topics={topic: reached for topic, reached in topics.items() if reached.count})


def _preferences(event: Event) -> tuple[NotificationPreferences, NotificationPreferences]:
    """Return what a link had turned on before an event, and has after it."""
    match event:
        case ContactLinked():
            return NOTHING_ON, NOTHING_ON.evolve(topics=event.topics) if event.topics else NOTHING_ON
        case NotificationPreferencesChanged():
            return event.before, event.after
        case ContactUnlinked():
            return event.preferences, NOTHING_ON
        case _:
            return NOTHING_ON, NOTHING_ON


def _reached(reached: Reached, contact_id: ContactId, change: int) -> Reached:
    if change > 0:
        contacts = (*reached.contacts, contact_id)[:REACHED_KNOWN_MAX]
    else:
        contacts = tuple(contact for contact in reached.contacts if contact != contact_id)
    return Reached(count=reached.count + change, contacts=contacts)
