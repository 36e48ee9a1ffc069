"""What a link gets mail about, what it may see, and the warning when nobody is left to be told (PX-3, PX-7, PX-8)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final

from pydantic import Field

from vinculum_command.domain.access import pair_keys
from vinculum_command.domain.commands import Caution, Command, Decision, MailWithoutPermission, TopicUncovered
from vinculum_command.domain.heads.contacts import Contact
from vinculum_command.domain.heads.links import Coverage, Link
from vinculum_command.domain.heads.view import Heads, Readable
from vinculum_command.domain.rejections import EmailNotFound, PermissionsFixed
from vinculum_shared.contracts.links import (
    NotificationPreferences,
    NotificationPreferencesChanged,
    PermissionsChanged,
)
from vinculum_shared.contracts.topics import FEATURE_OF, FEATURES, TOPICS, Feature, Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId
from vinculum_shared.recipients import Member, recipients, wants_anywhere

ACCOUNTS_WARNED_OF_MAX: Final = 100  # accounts that a change of one contact is checked for


class SetPermissions(Command):
    """Choose what a contact sees in an account's portal (PX-3, PX-5)."""

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")

    account_id: AccountId
    contact_id: ContactId
    features: frozenset[Feature]

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        link = heads.linked(self.account_id, self.contact_id)
        before, after = link.features, tuple(feature for feature in FEATURES if feature in self.features)
        if set(after) - set(before):
            heads.active_account(self.account_id)
            heads.active_contact(self.contact_id)
        if heads.policy.features_fixed:
            raise PermissionsFixed
        if after == before:
            return
        yield PermissionsChanged(account_id=self.account_id, contact_id=self.contact_id, before=before, after=after)
        closed = [topic for topic in TOPICS if FEATURE_OF[topic] in set(before) - set(after)]
        yield from _cautions(heads, heads.link(self.account_id, self.contact_id), closed)


class SetNotifications(Command):
    """Turn mail about topics on or off, for the link or for one address. Topics left out stay (PX-7)."""

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")

    account_id: AccountId
    contact_id: ContactId
    topics: Mapping[Topic, bool] = Field(min_length=1)
    email_id: EmailId | None = None

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        link = heads.linked(self.account_id, self.contact_id)
        if self.email_id and heads.contact(self.contact_id).email(self.email_id) is None:
            raise EmailNotFound(email_id=self.email_id)
        if any(self.topics.values()):
            heads.active_account(self.account_id)
            heads.active_contact(self.contact_id)
        before, after = link.preferences, self._after(link.preferences)
        if after == before:
            return
        ids = {"account_id": self.account_id, "contact_id": self.contact_id}
        yield NotificationPreferencesChanged.model_validate(ids | {"before": before, "after": after})
        yield from _cautions(heads, heads.link(self.account_id, self.contact_id), list(self.topics))

    def _after(self, before: NotificationPreferences) -> NotificationPreferences:
        if self.email_id:
            own = {**before.by_email.get(self.email_id, {}), **self.topics}
            return before.model_copy(update={"by_email": {**before.by_email, self.email_id: own}})
        on = {topic: topic in before.topics for topic in TOPICS} | dict(self.topics)
        return before.model_copy(update={"topics": tuple(topic for topic in TOPICS if on[topic])})


def _cautions(heads: Heads, link: Link, topics: Iterable[Topic]) -> Iterator[Caution]:
    """Warn of topics that are on but held, and of those that reach nobody now."""
    assert link.account_id
    assert link.contact_id
    off: list[Topic] = []
    for topic in topics:
        if not wants_anywhere(link.preferences, topic):
            off.append(topic)
        elif heads.policy.mail_without_permission == "hold" and FEATURE_OF[topic] not in link.features:
            off.append(topic)
            yield MailWithoutPermission(account_id=link.account_id, contact_id=link.contact_id, topic=topic)
    yield from uncovered(heads, {link.account_id: off})


def uncovered(heads: Heads, lost: Mapping[AccountId, Iterable[Topic]]) -> Iterator[Caution]:
    """Warn of each topic that an account has lost its last recipient of."""
    heads.prefetch(Coverage.key(account_id=account_id) for account_id, topics in lost.items() if topics)
    asked = [(account_id, topic) for account_id, topics in lost.items() for topic in topics]
    near = [each for each in asked if _few(heads, *each)]
    pairs = {
        (account_id, contact_id) for account_id, topic in near for contact_id in _reached(heads, account_id, topic)
    }
    heads.prefetch(Link.key(account_id=account_id, contact_id=contact_id) for account_id, contact_id in pairs)
    heads.prefetch(Contact.key(contact_id=contact_id) for _, contact_id in pairs)
    hold = heads.policy.mail_without_permission
    for account_id, topic in near:
        links = [heads.link(account_id, contact_id) for contact_id in _reached(heads, account_id, topic)]
        if not recipients(topic, members(heads, links), mail_without_permission=hold):
            yield TopicUncovered(account_id=account_id, topic=topic)


def _reached(heads: Heads, account_id: AccountId, topic: Topic) -> tuple[ContactId, ...]:
    reached = heads.coverage(account_id).topics.get(topic)
    return reached.contacts if reached else ()


def _few(heads: Heads, account_id: AccountId, topic: Topic) -> bool:
    """Tell if those who have the topic on are all known by id; more than that are taken to reach somebody."""
    reached = heads.coverage(account_id).topics.get(topic)
    return reached is None or reached.count <= len(reached.contacts)


def members(heads: Heads, links: Iterable[Link]) -> Iterator[Member]:
    """Give the links' contacts as `recipients` wants them."""
    for link in links:
        if link.contact_id:
            contact = heads.known_contact(link.contact_id)
            yield Member(
                contact_id=link.contact_id,
                active=not contact.inactive,
                emails=contact.emails,
                preferences=link.preferences,
                features=frozenset(link.features),
            )
