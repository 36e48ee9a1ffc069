"""Who works at the tenant, and with which roles."""

from typing import ClassVar, Self

from vinculum_command.domain.heads.head import Head, Mark
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.staff import StaffProfile, StaffUserAdded, StaffUserChanged, StaffUserDeactivated


class StaffUser(Head):
    KEY: ClassVar[tuple[str, ...]] = ("staff", "staff_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (StaffUserAdded, StaffUserChanged, StaffUserDeactivated)

    profile: StaffProfile | None = None
    active: bool = False

    def fold(self, event: Event, mark: Mark) -> Self:
        match event:
            case StaffUserAdded():
                profile = StaffProfile.model_validate(event.model_dump())
                return self.evolve(profile=profile, active=True)
            case StaffUserChanged():
                return self.evolve(profile=event.after)
            case _:
                return self.evolve(active=False)
