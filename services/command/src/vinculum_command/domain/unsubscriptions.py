"""Unsubscribing: a recipient's own wish, which outlives the link that the mail was about.

It is kept by account and address. Wherever a contact with the address is linked to the account, the topic is off for
that address: so whoever reads preferences obeys it, and `recipients` stays the one rule.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import ClassVar

from vinculum_command.domain.access import pair_keys
from vinculum_command.domain.commands import Command, Decision, RecipientUnsubscribed
from vinculum_command.domain.heads.contacts import Login
from vinculum_command.domain.heads.view import Enumeration, Heads, Readable
from vinculum_command.domain.notifications import topics_reaching, uncovered
from vinculum_shared.contracts.contacts import Email
from vinculum_shared.contracts.events import Event, Recipient
from vinculum_shared.contracts.links import NotificationPreferences, NotificationPreferencesChanged, Unsubscribed
from vinculum_shared.contracts.topics import TOPICS, Topic
from vinculum_shared.contracts.values import AccountId, AddressHash, ContactId


class Unsubscribe(Command):
    """Record that the recipient at an address wants no more mail about a topic of an account.

    It holds for every contact with the address, and outlives the link and the contact's address, until the topic is
    turned on for the address again. `address_hash` is that of the address that the mail went to.
    """

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")

    account_id: AccountId
    contact_id: ContactId
    address_hash: AddressHash
    topic: Topic

    @classmethod
    def scopes(cls) -> frozenset[str]:
        return super().scopes() | {"preferences"}

    def reads(self) -> Iterable[Readable]:
        yield from pair_keys(self.account_id, self.contact_id)
        yield Login.key(address_hash=self.address_hash)

    def decide(self, heads: Heads) -> Decision:
        heads.account(self.account_id)
        heads.contact(self.contact_id)
        address_hash = self.address_hash
        before = heads.login(address_hash).unsubscribed.get(self.account_id, ())
        after = tuple(topic for topic in TOPICS if topic == self.topic or topic in before)
        wish = Unsubscribed(address_hash=address_hash, before=before, after=after) if after != before else None
        contacts = sorted({self.contact_id, *_holders(heads, self.account_id, address_hash)})
        links = [heads.link(self.account_id, contact_id) for contact_id in contacts]
        reached = topics_reaching(heads, [link for link in links if link.linked])
        for contact_id, link in zip(contacts, links, strict=True):
            emails = heads.known_contact(contact_id).emails if link.linked else ()
            off = _off(link.preferences, [each for each in emails if each.address_hash == address_hash], [self.topic])
            own = wish if contact_id == self.contact_id else None
            if own or off != link.preferences:
                yield NotificationPreferencesChanged(
                    account_id=self.account_id,
                    contact_id=contact_id,
                    before=link.preferences,
                    after=off,
                    unsubscribed=own,
                )
        yield from uncovered(heads, reached)


def keep_off(
    heads: Heads, account_id: AccountId, contact_id: ContactId, *emails: Email
) -> Iterator[Event | RecipientUnsubscribed]:
    """Turn off, for addresses that are new to a link, what their recipients have unsubscribed from, and warn of it."""
    before = after = heads.link(account_id, contact_id).preferences
    unwanted = [(email, heads.login(email.address_hash).unsubscribed.get(account_id, ())) for email in emails]
    for email, topics in unwanted:
        after = _off(after, [email], topics) if topics else after
    if after != before:
        yield NotificationPreferencesChanged(account_id=account_id, contact_id=contact_id, before=before, after=after)
    if heads.sees(account_id):
        for email, topics in unwanted:
            for topic in topics:
                yield RecipientUnsubscribed(
                    account_id=account_id, contact_id=contact_id, email_id=email.email_id, topic=topic
                )


def against(
    heads: Heads, account_id: AccountId, topic: Topic, recipients: Iterable[Recipient]
) -> Iterator[RecipientUnsubscribed]:
    """Warn of each recipient who has unsubscribed from the topic at the address."""
    for each, login in heads.logins(recipients):
        if topic in login.unsubscribed.get(account_id, ()):
            yield RecipientUnsubscribed(
                account_id=account_id, contact_id=each.contact_id, email_id=each.email_id, topic=topic
            )


def wishes(heads: Heads, contacts: Iterable[ContactId]) -> Iterator[str]:
    """Name what tells if contacts have unsubscribed from something that a new link starts with."""
    if heads.policy.starting_topics():
        for contact_id in contacts:
            for email in heads.known_contact(contact_id).emails:
                yield Login.key(address_hash=email.address_hash)


def _holders(heads: Heads, account_id: AccountId, address_hash: str) -> Collection[ContactId]:
    """Return the contacts who may have the address on the account; their links and themselves are loaded."""
    login = heads.login(address_hash)
    holders: Collection[ContactId] = login.holders
    if login.count > len(holders):
        holders = [link.ids[1] for link in heads.links(Enumeration(account_id=account_id)).found]
    heads.prefetch(key for contact_id in holders for key in pair_keys(account_id, contact_id))
    return [each for each in holders if heads.link(account_id, each).linked]


def _off(
    preferences: NotificationPreferences, emails: Iterable[Email], topics: Iterable[Topic]
) -> NotificationPreferences:
    own = {
        email.email_id: {**preferences.by_email.get(email.email_id, {}), **dict.fromkeys(topics, False)}
        for email in emails
    }
    return preferences.evolve(by_email={**preferences.by_email, **own})
