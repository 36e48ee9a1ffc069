"""Accounts: made together with their contacts, changed, archived and restored."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from vinculum_command.domain.access import pair_keys, settle_account
from vinculum_command.domain.commands import Command, Decision, new_id
from vinculum_command.domain.contacts import profiles
from vinculum_command.domain.contacts.profiles import NewContact, logins
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.links import Members
from vinculum_command.domain.heads.view import Enumeration, Heads, Readable
from vinculum_command.domain.links import LinkedContact, link
from vinculum_command.domain.rejections import ContactRequired, IdTaken
from vinculum_shared.contracts.accounts import (
    AccountArchived,
    AccountChanged,
    AccountCreated,
    AccountKind,
    AccountProfile,
    AccountRestored,
)
from vinculum_shared.contracts.links import LinkTerms
from vinculum_shared.contracts.values import AccountId, DetailsPatch, ExternalIdsPatch, Name


class NewMember(LinkTerms, NewContact):
    """A contact that is to be, and what its link to the account says."""


class CreateAccount(AccountProfile, Command):
    """Make an account with its contacts, all or nothing (TD-2, TD-6, DY-13)."""

    CREATES: ClassVar[bool] = True
    TARGET: ClassVar[tuple[str, ...]] = ("account", "id")

    id: AccountId = Field(default_factory=new_id)
    name: Name
    link_contacts: tuple[LinkedContact, ...] = Field(default=(), max_length=200)
    new_contacts: tuple[NewMember, ...] = Field(default=(), max_length=200)

    def reads(self) -> Iterable[Readable]:
        yield Members.key(account_id=self.id)
        for member in self.link_contacts:
            yield from pair_keys(self.id, member.contact_id)
        for new in self.new_contacts:
            yield from pair_keys(self.id, new.id)

    def decide(self, heads: Heads) -> Decision:
        if heads.exists(Account.key(account_id=self.id)):
            raise IdTaken(account_id=self.id)
        heads.prefetch(logins(heads, *self.new_contacts))
        yield AccountCreated.of(self, account_id=self.id)
        for member in self.link_contacts:
            yield from link(heads, self.id, member.contact_id, member)
        for new in self.new_contacts:
            yield from profiles.create(heads, new)
            yield from link(heads, self.id, new.id, new)
        if heads.members(self.id).count < heads.policy.min_contacts_per_account:
            raise ContactRequired(account_id=self.id)


class ChangeAccount(Command):
    """Change an account's name, kind, details or external ids; of the last two, the keys that are given."""

    TARGET: ClassVar[tuple[str, ...]] = ("account", "account_id")

    account_id: AccountId
    name: Name = ""
    kind: AccountKind | None = None
    details: DetailsPatch | None = None
    external_ids: ExternalIdsPatch | None = None

    def decide(self, heads: Heads) -> Decision:
        heads.check_active(self.account_id)
        before = heads.account(self.account_id).profile
        assert before
        after = self.changed(before)
        if after.model_dump_json() != before.model_dump_json():  # in JSON, 1 is not true
            yield AccountChanged(account_id=self.account_id, before=before, after=after)


class ArchiveAccount(Command):
    """Suspend all access to an account. Its links stay."""

    TARGET: ClassVar[tuple[str, ...]] = ("account", "account_id")

    account_id: AccountId

    def reads(self) -> Iterable[Readable]:
        yield Enumeration(account_id=self.account_id, entry="on")

    def decide(self, heads: Heads) -> Decision:
        if not heads.account(self.account_id).archived:
            yield AccountArchived(account_id=self.account_id)
            yield from settle_account(heads, self.account_id)


class RestoreAccount(Command):
    """Give back each access as it was; what was an invitation is sent anew."""

    TARGET: ClassVar[tuple[str, ...]] = ("account", "account_id")

    account_id: AccountId

    def reads(self) -> Iterable[Readable]:
        yield Enumeration(account_id=self.account_id, entry="suspended")

    def decide(self, heads: Heads) -> Decision:
        if heads.account(self.account_id).archived:
            yield AccountRestored(account_id=self.account_id)
            yield from settle_account(heads, self.account_id)
