"""People who work at the tenant."""

from typing import Literal

from vinculum_shared.contracts.events import StaffEvent
from vinculum_shared.contracts.values import Address, Flag, Name, Personal, Value

Role = Literal["admin", "manager", "agent", "viewer", "operator"]


class Limits(Value):
    """Sees only what they manage (TL-10)."""

    accounts: Flag = False
    opportunities: Flag = False


class StaffProfile(Value):
    name: Personal[Name | None] = None
    email: Personal[Address | None] = None
    roles: tuple[Role, ...] = ()
    limits: Limits = Limits()


class StaffUserAdded(StaffEvent, StaffProfile):
    """Works at the tenant from now on."""


class StaffUserChanged(StaffEvent):
    """Has another name, address, roles or limits."""

    before: StaffProfile
    after: StaffProfile


class StaffUserDeactivated(StaffEvent):
    """May do nothing from now on."""
