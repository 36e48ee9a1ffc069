"""The firms, people and households that the tenant serves."""

from typing import Literal

from pydantic import Field

from vinculum_shared.contracts.events import AccountEvent
from vinculum_shared.contracts.values import Details, ExternalIds, Name, Personal, Value

AccountKind = Literal["person", "company", "household"]


class AccountProfile(Value):
    name: Personal[Name | None] = None
    kind: AccountKind | None = None
    details: Personal[Details | None] = None
    external_ids: ExternalIds = Field(default_factory=dict)


class AccountCreated(AccountEvent, AccountProfile):
    """The tenant serves this account from now on; its first links follow in the same commit."""


class AccountChanged(AccountEvent):
    """Has another name, kind, details or external ids."""

    before: AccountProfile
    after: AccountProfile


class AccountArchived(AccountEvent):
    """Nobody enters it any more; each access that was on is suspended."""


class AccountRestored(AccountEvent):
    """Back from the archive; each access is as it was."""
