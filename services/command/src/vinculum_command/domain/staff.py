"""Staff users: who works at the tenant, and with which roles."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from vinculum_command.domain.commands import Command, Decision, Needs, Rejections, named_by, new_id
from vinculum_command.domain.heads.staff import Admins, StaffUser
from vinculum_command.domain.heads.view import Heads, Readable
from vinculum_command.domain.rejections import IdTaken, LastAdmin, StaffInactive, StaffNotFound
from vinculum_shared.contracts.addresses import NewAddress
from vinculum_shared.contracts.staff import (
    Limits,
    Role,
    StaffProfile,
    StaffUserAdded,
    StaffUserChanged,
    StaffUserDeactivated,
)
from vinculum_shared.contracts.values import Input, Name, StaffId


class GivenLimits(Limits, Input):
    """Sees only what they manage (TL-10)."""


class AddStaffUser(Command):
    """Add a staff user to the tenant."""

    ROLE: ClassVar[Needs] = "admin"
    CREATES: ClassVar[bool] = True
    TARGET: ClassVar[tuple[str, ...]] = ("staff", "id")
    RAISES: ClassVar[Rejections] = (IdTaken,)

    id: StaffId = Field(default_factory=new_id)
    name: Name
    email: NewAddress
    roles: tuple[Role, ...] = Field(min_length=1, max_length=5)
    limits: GivenLimits = GivenLimits()

    def decide(self, heads: Heads) -> Decision:
        if heads.staff(self.id).profile:
            raise IdTaken(staff_id=self.id)
        yield StaffUserAdded.of(self, staff_id=self.id, limits=Limits.of(self.limits))


class ChangeStaffUser(Command):
    """Change a staff user's name, address, roles or limits."""

    ROLE: ClassVar[Needs] = "admin"
    TARGET: ClassVar[tuple[str, ...]] = ("staff", "staff_id")
    RAISES: ClassVar[Rejections] = (StaffInactive, LastAdmin)

    staff_id: StaffId
    name: Name = ""
    email: NewAddress = ""
    roles: tuple[Role, ...] = Field(default=(), min_length=1, max_length=5)
    limits: GivenLimits = GivenLimits()

    def decide(self, heads: Heads) -> Decision:
        before = _there(heads, self.staff_id)
        if not heads.staff(self.staff_id).active:
            raise StaffInactive(staff_id=self.staff_id)
        after = self.changed(before)
        if "admin" not in after.roles:
            _check_not_last_admin(heads, self.staff_id)
        if after != before:
            yield StaffUserChanged(staff_id=self.staff_id, before=before, after=after)


class DeactivateStaffUser(Command):
    """End a staff user's rights. A successor is asked for where something would be left without a manager."""

    ROLE: ClassVar[Needs] = "admin"
    TARGET: ClassVar[tuple[str, ...]] = ("staff", "staff_id")
    RAISES: ClassVar[Rejections] = (StaffInactive, LastAdmin)

    staff_id: StaffId
    successor_id: StaffId | None = None

    def reads(self) -> Iterable[Readable]:
        yield Admins.key()
        if self.successor_id:
            yield StaffUser.key(staff_id=self.successor_id)

    def decide(self, heads: Heads) -> Decision:
        _there(heads, self.staff_id)
        if self.successor_id:
            with named_by("successor_id"):
                _there(heads, self.successor_id)
            if self.successor_id == self.staff_id or not heads.staff(self.successor_id).active:
                raise StaffInactive(staff_id=self.successor_id)
        _check_not_last_admin(heads, self.staff_id)
        if heads.staff(self.staff_id).active:
            yield StaffUserDeactivated(staff_id=self.staff_id)


def _there(heads: Heads, staff_id: StaffId) -> StaffProfile:
    profile = heads.staff(staff_id).profile
    if profile is None:
        raise StaffNotFound(staff_id=staff_id)
    return profile


def _check_not_last_admin(heads: Heads, staff_id: StaffId) -> None:
    if heads.admins.staff == (staff_id,):
        raise LastAdmin(staff_id=staff_id)
