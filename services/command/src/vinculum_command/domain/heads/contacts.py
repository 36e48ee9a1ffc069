"""What is known of a contact, and which contacts share an address."""

from collections.abc import Iterable
from typing import ClassVar, Final, Self

from pydantic import Field

from vinculum_command.domain.heads.head import Head, Mark
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
from vinculum_shared.contracts.events import ContactEvent, Event
from vinculum_shared.contracts.links import NotificationPreferencesChanged
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId

HOLDERS_KNOWN_MAX: Final = 20  # contacts of one address kept by id; a shared mailbox may have more


class Contact(Head):
    KEY: ClassVar[tuple[str, ...]] = ("contact", "contact_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (
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

    profile: ContactProfile | None = None
    emails: tuple[Email, ...] = ()
    inactive: Mark | None = None

    def email(self, email_id: EmailId) -> Email | None:
        return next((email for email in self.emails if email.email_id == email_id), None)

    def holding(self, address_hash: str) -> Email | None:
        return next((email for email in self.emails if email.address_hash == address_hash), None)

    @property
    def primary_email(self) -> Email | None:
        return next((email for email in self.emails if email.primary), None)

    def fold(self, event: Event, mark: Mark) -> Self:
        match event:
            case ContactCreated():
                profile = ContactProfile.of(event)
                return self.evolve(profile=profile, emails=event.emails)
            case ContactChanged():
                return self.evolve(profile=event.after)
            case EmailAdded():
                email = Email.of(event)
                return self.evolve(emails=(*self.emails, email))
            case EmailChanged():
                emails = tuple(event.after if e.email_id == event.email_id else e for e in self.emails)
                return self.evolve(emails=emails)
            case EmailRemoved():
                emails = tuple(e for e in self.emails if e.email_id != event.email_id)
                return self.evolve(emails=emails)
            case ContactDeactivated():
                return self.evolve(inactive=mark)
            case ContactReactivated():
                return self.evolve(inactive=None)
            case _:
                return self


class Login(Head):
    """Who holds an address, by its keyed hash; held under every policy, asked where each address is one contact's.

    And whoever holds it, which topics of which accounts its recipient has unsubscribed from, and whether mail can't
    arrive there.
    """

    KEY: ClassVar[tuple[str, ...]] = ("login", "address_hash")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (
        ContactCreated,
        EmailAdded,
        EmailChanged,
        EmailRemoved,
        EmailSuppressed,
        EmailReleased,
        NotificationPreferencesChanged,
    )

    address_hash: str = ""
    holders: tuple[ContactId, ...] = ()
    count: int = 0
    unsubscribed: dict[AccountId, tuple[Topic, ...]] = Field(default_factory=dict)
    suppressed: bool = False

    @classmethod
    def absent(cls, key: str) -> Self:
        return cls(address_hash=key.partition("/")[2])

    @classmethod
    def keys(cls, event: Event) -> Iterable[str]:
        if isinstance(event, NotificationPreferencesChanged):
            return [cls.key(address_hash=event.unsubscribed.address_hash)] if event.unsubscribed else ()
        if isinstance(event, EmailSuppressed | EmailReleased):
            return [cls.key(address_hash=event.address_hash)]
        gone, come = _hashes(event)
        return sorted(cls.key(address_hash=each) for each in gone ^ come)

    def fold(self, event: Event, mark: Mark) -> Self:
        if isinstance(event, NotificationPreferencesChanged):
            assert event.unsubscribed
            topics = self.unsubscribed | {event.account_id: event.unsubscribed.after}
            return self.evolve(unsubscribed={account_id: each for account_id, each in topics.items() if each})
        if isinstance(event, EmailSuppressed | EmailReleased):
            return self.evolve(suppressed=isinstance(event, EmailSuppressed))
        assert isinstance(event, ContactEvent)
        gone, _ = _hashes(event)
        if self.address_hash in gone:
            holders = tuple(holder for holder in self.holders if holder != event.contact_id)
            return self.evolve(holders=holders, count=self.count - 1)
        return self.evolve(holders=(*self.holders, event.contact_id)[:HOLDERS_KNOWN_MAX], count=self.count + 1)


def _hashes(event: Event) -> tuple[set[str], set[str]]:
    """Tell which addresses the contact no longer holds, and which it holds now."""
    match event:
        case ContactCreated():
            return set(), {email.address_hash for email in event.emails}
        case EmailAdded():
            return set(), {event.address_hash}
        case EmailRemoved():
            return {event.address_hash}, set()
        case EmailChanged():
            return {event.before.address_hash}, {event.after.address_hash}
        case _:
            return set(), set()
