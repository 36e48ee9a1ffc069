"""Who gets mail about a topic of an account: one rule, for warning, query and notifier (PX-7 to PX-11)."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from vinculum_shared.contracts.contacts import Email
from vinculum_shared.contracts.events import Recipient
from vinculum_shared.contracts.links import NotificationPreferences
from vinculum_shared.contracts.tenants import WithoutPermission
from vinculum_shared.contracts.topics import FEATURE_OF, Feature, Topic
from vinculum_shared.contracts.values import ContactId


@dataclass(frozen=True, slots=True)
class Member:
    """A contact of the account, with what its link turns on and opens."""

    contact_id: ContactId
    active: bool
    emails: tuple[Email, ...]
    preferences: NotificationPreferences
    features: frozenset[Feature]


@dataclass(frozen=True, slots=True)
class Held:
    """Wants the mail, but may not see what it is about, and the policy holds such mail."""

    recipient: Recipient


def wants(preferences: NotificationPreferences, topic: Topic, email: Email) -> bool:
    """Tell if the topic is on for an address: its own choice if it has one, else the link's, for the primary one."""
    own = preferences.by_email.get(email.email_id, {}).get(topic)
    return own if own is not None else email.primary and topic in preferences.topics


def wants_anywhere(preferences: NotificationPreferences, topic: Topic) -> bool:
    """Tell if the topic could be on for some address of the link."""
    return topic in preferences.topics or any(own.get(topic) for own in preferences.by_email.values())


def hidden(topic: Topic, features: Collection[Feature]) -> bool:
    """Tell if what the topic is about can't be seen with these features."""
    return FEATURE_OF[topic] not in features


def is_held(topic: Topic, features: Collection[Feature], mail_without_permission: WithoutPermission) -> bool:
    return mail_without_permission == "hold" and hidden(topic, features)


def candidates(
    topic: Topic, members: Iterable[Member], *, mail_without_permission: WithoutPermission
) -> Iterator[Recipient | Held]:
    """Return each address that wants mail about the topic, in the members' order: to be mailed, or held."""
    for member in members:
        if not member.active:
            continue
        held = is_held(topic, member.features, mail_without_permission)
        for email in member.emails:
            if wants(member.preferences, topic, email):
                recipient = Recipient(contact_id=member.contact_id, email_id=email.email_id)
                yield Held(recipient) if held else recipient


def recipients(
    topic: Topic, members: Iterable[Member], *, mail_without_permission: WithoutPermission
) -> list[Recipient]:
    """Return those who are mailed by default (PX-11); empty means that nobody is told (PX-8)."""
    found = candidates(topic, members, mail_without_permission=mail_without_permission)
    return [candidate for candidate in found if isinstance(candidate, Recipient)]


def by_hand(chosen: Iterable[Member]) -> list[Recipient]:
    """Return the primary addresses of contacts chosen by hand, which beats preference and hold (PX-13)."""
    return [
        Recipient(contact_id=member.contact_id, email_id=email.email_id)
        for member in chosen
        if member.active
        for email in member.emails
        if email.primary
    ]
