"""The tenant's settings and its rules."""

from typing import ClassVar, Self

from vinculum_command.domain.heads.head import Head, Mark
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.tenants import (
    Policy,
    PolicyChanged,
    Profile,
    TenantChanged,
    TenantRegistered,
    TenantSettings,
)


class Tenant(Head):
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "tenant")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (TenantRegistered, TenantChanged, PolicyChanged)

    settings: TenantSettings | None = None

    def fold(self, event: Event, mark: Mark) -> Self:
        match event:
            case TenantRegistered():
                settings = TenantSettings.of(event)
                return self.evolve(settings=settings)
            case TenantChanged():
                return self.evolve(settings=event.after)
            case _:
                return self


class Rules(Head):
    """Every decision relies on it, so that no command slips past a change of the policy."""

    KEY: ClassVar[tuple[str, ...]] = ("policy",)
    EVENTS: ClassVar[tuple[type[Event], ...]] = (PolicyChanged,)

    profile: Profile | None = None
    policy: Policy | None = None

    def fold(self, event: Event, mark: Mark) -> Self:
        assert isinstance(event, PolicyChanged)
        return self.evolve(profile=event.profile, policy=event.after)
