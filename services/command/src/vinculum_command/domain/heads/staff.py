"""Who works at the tenant, and with which roles."""

from typing import ClassVar, Self

from vinculum_command.domain.heads.head import Head, Mark
from vinculum_shared.contracts.events import Event, StaffEvent
from vinculum_shared.contracts.staff import StaffProfile, StaffUserAdded, StaffUserChanged, StaffUserDeactivated
from vinculum_shared.contracts.values import StaffId


class StaffUser(Head):
    KEY: ClassVar[tuple[str, ...]] = ("staff", "staff_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (StaffUserAdded, StaffUserChanged, StaffUserDeactivated)

    profile: StaffProfile | None = None
    active: bool = False

    def fold(self, event: Event, mark: Mark) -> Self:
        match event:
            case StaffUserAdded():
                profile = StaffProfile.of(event)
                return self.evolve(profile=profile, active=True)
            case StaffUserChanged():
                return self.evolve(profile=event.after)
            case _:
                return self.evolve(active=False)


class Admins(Head):
    """The active staff users who are admins."""

    KEY: ClassVar[tuple[str, ...]] = ("admins",)
    EVENTS: ClassVar[tuple[type[Event], ...]] = StaffUser.EVENTS

    staff: tuple[StaffId, ...] = ()

    def fold(self, event: Event, mark: Mark) -> Self:
        assert isinstance(event, StaffEvent)
        others = tuple(staff_id for staff_id in self.staff if staff_id != event.staff_id)
        match event:
            case StaffUserAdded(roles=roles) | StaffUserChanged(after=StaffProfile(roles=roles)) if "admin" in roles:
                return self.evolve(staff=(*others, event.staff_id))
            case _:
                return self.evolve(staff=others)
