"""What is known of an account."""

from typing import ClassVar, Self

from vinculum_command.domain.heads.head import Head, Mark
from vinculum_shared.contracts.accounts import (
    AccountArchived,
    AccountChanged,
    AccountCreated,
    AccountProfile,
    AccountRestored,
)
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.values import StaffId


class Account(Head):
    KEY: ClassVar[tuple[str, ...]] = ("account", "account_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (AccountCreated, AccountChanged, AccountArchived, AccountRestored)

    profile: AccountProfile | None = None
    managers: tuple[StaffId, ...] = ()
    archived: Mark | None = None

    def fold(self, event: Event, mark: Mark) -> Self:
        match event:
            case AccountCreated():
                profile = AccountProfile.of(event)
                return self.evolve(profile=profile)
            case AccountChanged():
                return self.evolve(profile=event.after)
            case AccountArchived():
                return self.evolve(archived=mark)
            case _:
                return self.evolve(archived=None)
