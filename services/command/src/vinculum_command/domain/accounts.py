"""Accounts: made together with their contacts, changed, archived and restored."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from vinculum_command.domain import rejections
from vinculum_command.domain.access import pair_keys, settle_account
from vinculum_command.domain.commands import Command, Decision, Rejections, named_by, new_id
from vinculum_command.domain.contacts import profiles
from vinculum_command.domain.contacts.profiles import NewContact, check_addresses, few_addresses, logins
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.links import Members
from vinculum_command.domain.heads.view import Enumeration, Heads, Readable
from vinculum_command.domain.links import LINKING, LinkedContact, link
from vinculum_command.domain.rejections import ContactRequired, EmailTaken, IdTaken
from vinculum_command.domain.unsubscriptions import wishes
from vinculum_shared.contracts.accounts import (
    AccountArchived,
    AccountChanged,
    AccountCreated,
    AccountKind,
    AccountProfile,
    AccountRestored,
)
from vinculum_shared.contracts.links import LinkTerms
from vinculum_shared.contracts.values import AccountId, DetailsPatch, ExternalIdsPatch, Name, check_once


class NewMember(LinkTerms, NewContact):
    """A contact that is to be, and what its link to the account says."""


class CreateAccount(AccountProfile, Command):
    """Make an account with its contacts, all or nothing (TD-2, TD-6, DY-13)."""

    CREATES: ClassVar[bool] = True
    TARGET: ClassVar[tuple[str, ...]] = ("account", "id")
    RAISES: ClassVar[Rejections] = (IdTaken, EmailTaken, ContactRequired, *LINKING)

    id: AccountId = Field(default_factory=new_id)
    name: Name
    link_contacts: tuple[LinkedContact, ...] = Field(default=(), max_length=200)
    new_contacts: Annotated[tuple[NewMember, ...], BeforeValidator(few_addresses)] = Field(default=(), max_length=200)

    @model_validator(mode="after")
    def _with_one_primary(self) -> Self:
        members = {"link_contacts": self.link_contacts, "new_contacts": self.new_contacts}
        check_once(
            ((field, n, "primary"), True)
            for field, each in members.items()
            for n, member in enumerate(each)
            if member.primary
        )
        check_once((("new_contacts", n, "id"), new.id) for n, new in enumerate(self.new_contacts))
        return self

    def reads(self) -> Iterable[Readable]:
        yield Members.key(account_id=self.id)
        for member in self.link_contacts:
            yield from pair_keys(self.id, member.contact_id)
        for new in self.new_contacts:
            yield from pair_keys(self.id, new.id)

    def decide(self, heads: Heads) -> Decision:
        if heads.exists(Account.key(account_id=self.id)):
            raise IdTaken(account_id=self.id)
        check_addresses(heads, ((("new_contacts", n), new) for n, new in enumerate(self.new_contacts)))
        known = [member.contact_id for member in self.link_contacts]
        heads.prefetch([*logins(heads, *self.new_contacts), *wishes(heads, known)])
        yield AccountCreated.of(self, account_id=self.id)
        for number, member in enumerate(self.link_contacts):
            with named_by("link_contacts", number, "contact_id"):
                heads.contact(member.contact_id)
            yield from link(heads, self.id, member.contact_id, member)
        for new in self.new_contacts:
            yield from profiles.create(heads, new)
            yield from link(heads, self.id, new.id, new)
        if heads.members(self.id).count < heads.policy.min_contacts_per_account:
            raise ContactRequired(account_id=self.id)


class ChangeAccount(Command):
    """Change an account's name, kind, details or external ids; of the last two, the keys that are given."""

    TARGET: ClassVar[tuple[str, ...]] = ("account", "account_id")
    RAISES: ClassVar[Rejections] = (rejections.AccountArchived,)

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
