"""What a link gets mail about, what it may see, and the warning when nobody is left to be told (PX-3, PX-7, PX-8)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final

from pydantic import Field

from vinculum_command.domain.access import pair_keys
from vinculum_command.domain.commands import (
    Caller,
    Caution,
    Command,
    Decision,
    MailWithoutPermission,
    RecipientUnsubscribed,
    Rejections,
    TopicUncovered,
    named_by,
)
from vinculum_command.domain.heads.contacts import Contact, Login
from vinculum_command.domain.heads.links import Coverage, Link, Reached
from vinculum_command.domain.heads.view import Heads, Readable
from vinculum_command.domain.rejections import (
    AccountArchived,
    ContactInactive,
    ContactNotLinked,
    EmailNotFound,
    PermissionsFixed,
)
from vinculum_shared.contracts.contacts import Email
from vinculum_shared.contracts.events import Recipient
from vinculum_shared.contracts.links import (
    NotificationPreferences,
    NotificationPreferencesChanged,
    PermissionsChanged,
    Unsubscribed,
)
from vinculum_shared.contracts.topics import FEATURE_OF, FEATURES, TOPICS, Feature, Topic
from vinculum_shared.contracts.values import AccountId, ContactId, Distinct, EmailId, Flag
from vinculum_shared.recipients import Member, hidden, recipients, wants_anywhere

ACCOUNTS_WARNED_OF_MAX: Final = 100  # accounts that a change of one contact is checked for
Reach = dict[tuple[AccountId, ContactId], list[Topic]]
"""By link, the topics that its contact gets mail about."""


class SetPermissions(Command):
    """Choose what a contact sees in an account's portal (PX-3, PX-5)."""

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    RAISES: ClassVar[Rejections] = (ContactNotLinked, AccountArchived, ContactInactive, PermissionsFixed)

    account_id: AccountId
    contact_id: ContactId
    features: Distinct[Feature]

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        link = heads.linked(self.account_id, self.contact_id)
        before, after = link.features, tuple(feature for feature in FEATURES if feature in self.features)
        if set(after) - set(before):
            heads.check_active(self.account_id, self.contact_id)
        if heads.policy.features_fixed:
            raise PermissionsFixed
        if after == before:
            return
        reached = topics_reaching(heads, [link])
        yield PermissionsChanged(account_id=self.account_id, contact_id=self.contact_id, before=before, after=after)
        closed = [topic for topic in TOPICS if FEATURE_OF[topic] in set(before) - set(after)]
        yield from _without_permission(heads, self.account_id, self.contact_id, closed)
        yield from uncovered(heads, reached)


class SetNotifications(Command):
    """Turn mail about topics on or off, for the link or for one of its addresses. Topics left out stay (PX-7, PX-8).

    The scope `preferences` only allows turning topics off.
    """

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    RAISES: ClassVar[Rejections] = (ContactNotLinked, AccountArchived, ContactInactive, EmailNotFound)

    account_id: AccountId
    contact_id: ContactId
    topics: Mapping[Topic, Flag] = Field(min_length=1)
    email_id: EmailId | None = None

    @classmethod
    def scopes(cls) -> frozenset[str]:
        return super().scopes() | {"preferences"}

    def allows(self, caller: Caller) -> bool:
        return caller.kind != "service" or "commands" in caller.scopes or not any(self.topics.values())

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        link = heads.linked(self.account_id, self.contact_id)
        if self.email_id:
            with named_by("email_id"):
                heads.email(self.contact_id, self.email_id)
        if any(self.topics.values()):
            heads.check_active(self.account_id, self.contact_id)
        unsubscribed = self._unsubscribed(heads, link)
        again = next((email_id for email_id, each in unsubscribed.items() if each.after != each.before), None)
        before, after = link.preferences, self._after(link.preferences, unsubscribed)
        if after == before and not again:
            return
        reached = topics_reaching(heads, [link])
        yield NotificationPreferencesChanged(
            account_id=self.account_id,
            contact_id=self.contact_id,
            before=before,
            after=after,
            unsubscribed=unsubscribed[again] if again else None,
        )
        if again:
            for topic in unsubscribed[again].ended:
                yield RecipientUnsubscribed(
                    account_id=self.account_id, contact_id=self.contact_id, email_id=again, topic=topic
                )
        yield from _without_permission(heads, self.account_id, self.contact_id, self.topics)
        yield from uncovered(heads, reached)

    def _unsubscribed(self, heads: Heads, link: Link) -> dict[EmailId, Unsubscribed]:
        """Return what the recipients at the contact's addresses have unsubscribed from, and what of it stays so.

        That is all but what is turned on for the address, or for the link whose mail goes there.
        """
        emails = [email for email in heads.known_contact(self.contact_id).emails if self._may_end_a_wish(link, email)]
        heads.prefetch(Login.key(address_hash=email.address_hash) for email in emails)
        found = {}
        for email in emails:
            before = heads.login(email.address_hash).unsubscribed.get(self.account_id, ())
            meant = email.email_id == self.email_id if self.email_id else email.primary
            after = tuple(topic for topic in before if not (meant and self.topics.get(topic)))
            if before:
                found[email.email_id] = Unsubscribed(address_hash=email.address_hash, before=before, after=after)
        return found

    def _may_end_a_wish(self, link: Link, email: Email) -> bool:
        if self.email_id:
            return email.email_id == self.email_id and any(self.topics.values())
        own = link.preferences.by_email.get(email.email_id, {})
        return any(on or own.get(topic) is False for topic, on in self.topics.items())

    def _after(
        self, before: NotificationPreferences, unsubscribed: Mapping[EmailId, Unsubscribed]
    ) -> NotificationPreferences:
        if self.email_id:
            own = {**before.by_email.get(self.email_id, {}), **self.topics}
            return before.evolve(by_email={**before.by_email, self.email_id: own})
        on = {topic: topic in before.topics for topic in TOPICS} | dict(self.topics)
        left: dict[EmailId, dict[Topic, bool]] = {
            email_id: {topic: own for topic, own in each.items() if topic not in self.topics}
            for email_id, each in before.by_email.items()
        }
        for email_id, each in unsubscribed.items():
            stays = {topic: False for topic in self.topics if topic in each.after}
            left[email_id] = left.get(email_id, {}) | stays
        return before.evolve(
            topics=tuple(topic for topic in TOPICS if on[topic]),
            by_email={email_id: own for email_id, own in left.items() if own},
        )


def _without_permission(
    heads: Heads, account_id: AccountId, contact_id: ContactId, topics: Iterable[Topic]
) -> Iterator[Caution]:
    """Warn of each of these topics that is on while its feature is closed."""
    if heads.policy.features_fixed and heads.policy.mail_without_permission == "send":
        return  # so it is meant to be, on every link alike
    link = heads.link(account_id, contact_id)
    for topic in topics:
        if wants_anywhere(link.preferences, topic) and hidden(topic, link.features):
            yield MailWithoutPermission(account_id=account_id, contact_id=contact_id, topic=topic)


def topics_reaching(heads: Heads, links: Iterable[Link]) -> Reach:
    """Return which topics the contact of each link gets mail about now."""
    hold = heads.policy.mail_without_permission
    return {
        link.ids: [topic for topic in TOPICS if recipients(topic, [member], mail_without_permission=hold)]
        for link in links
        for member in members(heads, [link])
    }


def uncovered(heads: Heads, before: Reach) -> Iterator[Caution]:
    """Warn of each topic that reached one of these contacts, and now reaches nobody of an account that the caller sees.

    An account's other contacts are read only where one of these has stopped getting mail.
    """
    after = topics_reaching(heads, (heads.link(*ids) for ids in before if before[ids]))
    lost = {
        (account_id, topic): None
        for (account_id, contact_id), topics in before.items()
        for topic in topics
        if topic not in after[account_id, contact_id]
    }
    seen = set(heads.seen([account_id for account_id, _ in lost]))
    heads.prefetch(Coverage.key(account_id=account_id) for account_id in seen)
    left = {
        (account_id, topic): heads.coverage(account_id).topics.get(topic, Reached())
        for account_id, topic in lost
        if account_id in seen
    }
    # Where not all of them are known by id, they are many, and are taken to reach somebody.
    few = {each: who.contacts for each, who in left.items() if who.count == len(who.contacts)}
    heads.prefetch(
        key
        for (account_id, _), contacts in few.items()
        for contact_id in contacts
        for key in (Link.key(account_id=account_id, contact_id=contact_id), Contact.key(contact_id=contact_id))
    )
    for (account_id, topic), contacts in few.items():
        if not reached_by(heads, topic, [heads.link(account_id, contact_id) for contact_id in contacts]):
            yield TopicUncovered(account_id=account_id, topic=topic)


def reached_by(heads: Heads, topic: Topic, links: Iterable[Link]) -> list[Recipient]:
    """Return those of the links who get mail about the topic now."""
    return recipients(topic, members(heads, links), mail_without_permission=heads.policy.mail_without_permission)


def members(heads: Heads, links: Iterable[Link]) -> Iterator[Member]:
    """Return the links' contacts as `recipients` wants them."""
    for link in links:
        _, contact_id = link.ids
        contact = heads.known_contact(contact_id)
        yield Member(
            contact_id=contact_id,
            active=not contact.inactive,
            emails=contact.emails,
            preferences=link.preferences,
            features=frozenset(link.features),
        )
