"""Links: made from either side, changed, moved and ended."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vinculum_command.domain.access import close, pair_keys
from vinculum_command.domain.commands import Decision, EffectiveAt, Rejections, named_by
from vinculum_command.domain.contacts import profiles
from vinculum_command.domain.contacts.profiles import NewContact, check_addresses, few_addresses, logins
from vinculum_command.domain.heads.links import Link
from vinculum_command.domain.heads.view import Heads, Readable
from vinculum_command.domain.notifications import topics_reaching, uncovered
from vinculum_command.domain.rejections import (
    AccountArchived,
    AccountRequired,
    ContactAlreadyLinked,
    ContactInactive,
    ContactNotLinked,
    EmailTaken,
    IdTaken,
    LastContact,
    PrimaryRequired,
)
from vinculum_command.domain.unsubscriptions import keep_off, wishes
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.links import ContactLinked, ContactUnlinked, LinkChanged, LinkTerms
from vinculum_shared.contracts.values import AccountId, Code, ContactId, Flag, Input, Name, Text, check_once

LINKING: Final[Rejections] = (AccountArchived, ContactInactive, ContactAlreadyLinked)
"""What `link` raises."""


class LinkedContact(LinkTerms, Input):
    contact_id: ContactId


class LinkedAccount(LinkTerms, Input):
    account_id: AccountId


class NewLink(LinkTerms, Input):
    """An existing contact, or a new one."""

    contact_id: ContactId | None = None
    new_contact: NewContact | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.contact_id is None) == (self.new_contact is None):
            raise ValueError("Give either contact_id or new_contact.")
        return self

    @property
    def contact(self) -> ContactId:
        contact_id = self.new_contact.id if self.new_contact else self.contact_id
        assert contact_id
        return contact_id


class LinkContacts(EffectiveAt):
    """Link contacts to an account, all or none (TD-8, TD-16, ZD-17, DY-16)."""

    TARGET: ClassVar[tuple[str, ...]] = ("account", "account_id")
    RAISES: ClassVar[Rejections] = (*LINKING, IdTaken, EmailTaken)

    account_id: AccountId
    contacts: Annotated[tuple[NewLink, ...], BeforeValidator(few_addresses)] = Field(min_length=1, max_length=200)

    @field_validator("contacts")
    @classmethod
    def _with_one_primary(cls, contacts: tuple[NewLink, ...]) -> tuple[NewLink, ...]:
        check_once(((n, "primary"), True) for n, new in enumerate(contacts) if new.primary)
        check_once(((n, "new_contact", "id"), new.contact) for n, new in enumerate(contacts) if new.new_contact)
        return contacts

    def reads(self) -> Iterable[Readable]:
        for new in self.contacts:
            yield from pair_keys(self.account_id, new.contact)

    def decide(self, heads: Heads) -> Decision:
        heads.check_active(self.account_id)
        new_contacts = {
            ("contacts", n, "new_contact"): new.new_contact for n, new in enumerate(self.contacts) if new.new_contact
        }
        check_addresses(heads, new_contacts.items())
        promoted = [self.account_id] if any(new.primary for new in self.contacts) else []
        known = [new.contact_id for new in self.contacts if new.contact_id]
        read = [*logins(heads, *new_contacts.values()), *primaries(heads, promoted), *wishes(heads, known)]
        heads.prefetch(read)
        for number, new in enumerate(self.contacts):
            if new.new_contact:
                yield from profiles.create(heads, new.new_contact)
            with named_by("contacts", number, "contact_id"):
                heads.contact(new.contact)
            yield from link(heads, self.account_id, new.contact, new)


class LinkAccounts(EffectiveAt):
    """Link a contact to accounts, all or none (TD-28, TD-29)."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")
    RAISES: ClassVar[Rejections] = LINKING

    contact_id: ContactId
    accounts: tuple[LinkedAccount, ...] = Field(min_length=1, max_length=200)

    def reads(self) -> Iterable[Readable]:
        for new in self.accounts:
            yield from pair_keys(new.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        heads.check_active(contact_id=self.contact_id)
        heads.prefetch(primaries(heads, (new.account_id for new in self.accounts if new.primary)))
        for number, new in enumerate(self.accounts):
            with named_by("accounts", number, "account_id"):
                heads.account(new.account_id)
            yield from link(heads, new.account_id, self.contact_id, new)


class PutLink(LinkTerms, EffectiveAt):
    """Link the pair, or change what its link says. Fields left out stay."""

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    RAISES: ClassVar[Rejections] = (*LINKING, PrimaryRequired)

    account_id: AccountId
    contact_id: ContactId

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def creates(self, heads: Heads) -> bool:
        return any(isinstance(recording.event, ContactLinked) for recording in heads.recorded)

    def decide(self, heads: Heads) -> Decision:
        heads.check_active(self.account_id, self.contact_id)
        now = heads.link(self.account_id, self.contact_id)
        terms = self.changed(now.terms)
        if now.linked:
            yield from change(heads, now, terms)
        else:
            yield from join(heads, self.account_id, self.contact_id, terms)


class ChangeLink(EffectiveAt):
    """Change what a link says."""

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    RAISES: ClassVar[Rejections] = (ContactNotLinked, AccountArchived, ContactInactive, PrimaryRequired)

    account_id: AccountId
    contact_id: ContactId
    role: Name | None = None
    job_title: Name | None = None
    primary: Flag | None = None

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        now = heads.linked(self.account_id, self.contact_id)
        heads.check_active(self.account_id, self.contact_id)
        yield from change(heads, now, self.changed(now.terms))


class UnlinkContact(EffectiveAt):
    """End a link, and with it all that hung on it: access, permissions, preferences (TD-20, TD-21, ZD-23)."""

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    RAISES: ClassVar[Rejections] = (ContactNotLinked, AccountRequired, LastContact, PrimaryRequired)

    account_id: AccountId
    contact_id: ContactId
    reason: Code | None = None
    comment: Text | None = None

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        now = heads.linked(self.account_id, self.contact_id)
        if heads.policy.contact_requires_account and heads.memberships(self.contact_id).count == 1:
            raise AccountRequired(contact_id=self.contact_id)
        yield from leave(heads, now, self.comment)


class TransferContact(EffectiveAt):
    """Move a contact from one account to another in one step. It starts there from the defaults."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")
    RAISES: ClassVar[Rejections] = (
        ContactNotLinked,
        *LINKING,
        PrimaryRequired,
        AccountRequired,
        LastContact,
    )

    contact_id: ContactId
    from_account_id: AccountId
    to_account_id: AccountId

    def reads(self) -> Iterable[Readable]:
        yield from pair_keys(self.from_account_id, self.contact_id)
        yield from pair_keys(self.to_account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        heads.contact(self.contact_id)
        with named_by("from_account_id"):
            now = heads.linked(self.from_account_id, self.contact_id)
        with named_by("to_account_id"):
            heads.account(self.to_account_id)
        heads.check_active(self.to_account_id, self.contact_id)
        if self.from_account_id != self.to_account_id:
            terms = now.terms.evolve(primary=False)
            yield from leave(heads, now)
            yield from link(heads, self.to_account_id, self.contact_id, terms)


def link(heads: Heads, account_id: AccountId, contact_id: ContactId, terms: LinkTerms) -> Decision:
    """Link a pair; a pair that is linked already stays as it is."""
    heads.check_active(account_id, contact_id)
    if not heads.link(account_id, contact_id).linked:
        yield from join(heads, account_id, contact_id, terms)


def join(heads: Heads, account_id: AccountId, contact_id: ContactId, terms: LinkTerms) -> Decision:
    """Link a pair that may be linked, and is not."""
    policy, members, memberships = heads.policy, heads.members(account_id), heads.memberships(contact_id)
    most = policy.max_accounts_per_contact
    if most is not None and memberships.count >= most:
        seen = heads.seen(memberships.accounts)
        facts: dict[str, Any] = {"account_id": seen[0]} if seen else {}
        raise ContactAlreadyLinked(contact_id=contact_id, **facts)
    primary = terms.primary or (policy.primary_contact == "first_forced" and members.count == 0)
    if primary and members.primary:
        yield from _primary_no_more(heads, account_id, members.primary)
    yield ContactLinked.of(
        terms,
        account_id=account_id,
        contact_id=contact_id,
        primary=primary,
        features=policy.starting_features(),
        topics=policy.starting_topics(),
    )
    if policy.starting_topics():
        heads.prefetch(wishes(heads, [contact_id]))
        yield from keep_off(heads, account_id, contact_id, *heads.known_contact(contact_id).emails)


def change(heads: Heads, now: Link, after: LinkTerms) -> Iterator[Event]:
    """Let a link say something else."""
    account_id, contact_id = now.ids
    if now.terms.primary and not after.primary and heads.policy.primary_contact == "first_forced":
        raise PrimaryRequired(account_id=account_id)
    if after == now.terms:
        return
    primary = heads.members(account_id).primary
    if after.primary and primary and primary != contact_id:
        yield from _primary_no_more(heads, account_id, primary)
    yield LinkChanged(account_id=account_id, contact_id=contact_id, before=now.terms, after=after)


def leave(heads: Heads, now: Link, comment: str | None = None) -> Decision:
    """End a link: the account keeps the contacts that it must have, and nothing of the link stays open."""
    account_id, contact_id = now.ids
    members, policy = heads.members(account_id), heads.policy
    if members.count <= policy.min_contacts_per_account:
        raise LastContact(account_id=account_id)
    if policy.primary_contact == "first_forced" and now.terms.primary and members.count > 1:
        raise PrimaryRequired(account_id=account_id)
    reached = topics_reaching(heads, [now])
    yield ContactUnlinked(
        account_id=account_id,
        contact_id=contact_id,
        before=now.terms,
        features=now.features,
        preferences=now.preferences,
        comment=comment,
    )
    yield from close(now, "unlinked")
    yield from uncovered(heads, reached)


def primaries(heads: Heads, accounts: Iterable[AccountId]) -> Iterator[str]:
    """Name what is read or moved where another contact becomes the primary one."""
    for account_id in accounts:
        primary = heads.members(account_id).primary
        if primary:
            yield from pair_keys(account_id, primary)


def _primary_no_more(heads: Heads, account_id: AccountId, contact_id: ContactId) -> Iterator[Event]:
    heads.prefetch(pair_keys(account_id, contact_id))
    before = heads.link(account_id, contact_id).terms
    after = before.evolve(primary=False)
    yield LinkChanged(account_id=account_id, contact_id=contact_id, before=before, after=after)
