"""A new contact, with or without accounts (TD-27, TD-28, PX-2, DY-24, DY-25)."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from vinculum_command.domain.access import pair_keys
from vinculum_command.domain.commands import Command, Decision, Rejections, named_by
from vinculum_command.domain.contacts.profiles import NewContact, create, logins
from vinculum_command.domain.heads.links import Memberships
from vinculum_command.domain.heads.view import Heads, Readable
from vinculum_command.domain.links import LINKING, LinkedAccount, link, primaries
from vinculum_command.domain.rejections import AccountRequired, EmailTaken, IdTaken


class CreateContact(Command, NewContact):
    """Make a contact and link it to accounts, all or none."""

    CREATES: ClassVar[bool] = True
    TARGET: ClassVar[tuple[str, ...]] = ("contact", "id")
    RAISES: ClassVar[Rejections] = (IdTaken, EmailTaken, AccountRequired, *LINKING)

    link_accounts: tuple[LinkedAccount, ...] = Field(default=(), max_length=200)

    def reads(self) -> Iterable[Readable]:
        yield Memberships.key(contact_id=self.id)
        for new in self.link_accounts:
            yield from pair_keys(new.account_id, self.id)

    def decide(self, heads: Heads) -> Decision:
        promoted = [new.account_id for new in self.link_accounts if new.primary]
        heads.prefetch([*logins(heads, self), *primaries(heads, promoted)])
        yield from create(heads, self)
        for number, new in enumerate(self.link_accounts):
            with named_by("link_accounts", number, "account_id"):
                heads.account(new.account_id)
            yield from link(heads, new.account_id, self.id, new)
        if heads.policy.contact_requires_account and not self.link_accounts:
            raise AccountRequired(contact_id=self.id)
