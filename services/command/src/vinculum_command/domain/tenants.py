"""Tenants: registration, settings, and the change of their rules."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from vinculum_command.domain.commands import Caution, Command, Decision, Needs, PolicyViolations, Rejections, new_id
from vinculum_command.domain.heads.staff import StaffUser
from vinculum_command.domain.heads.tenants import Rules
from vinculum_command.domain.heads.view import Heads, Readable, Violations
from vinculum_command.domain.policies import effective
from vinculum_command.domain.rejections import IdTaken, TenantNotFound
from vinculum_command.domain.standards import Locale
from vinculum_shared.contracts.addresses import NewAddress, check
from vinculum_shared.contracts.staff import StaffUserAdded
from vinculum_shared.contracts.tenants import (
    PORTAL_URL_LENGTH_MAX,
    Policy,
    PolicyChanged,
    Profile,
    ReplyTo,
    TenantChanged,
    TenantRegistered,
    TenantSettings,
)
from vinculum_shared.contracts.values import INVISIBLE, WEB_ADDRESS, Input, Name, StaffId, TenantId

NewReplyTo = Annotated[ReplyTo, BeforeValidator(check)]


def _honest(url: str) -> str:
    """Refuse what shows another address than the one that a browser opens."""
    if "@" in url.split("/", 3)[2]:
        raise ValueError("Give the address without a user name or password.")
    if re.search(f"[{INVISIBLE}]", url):
        raise ValueError("Remove the invisible characters.")
    return url


NewPortalUrl = Annotated[
    str, StringConstraints(max_length=PORTAL_URL_LENGTH_MAX, pattern=WEB_ADDRESS), AfterValidator(_honest)
]


class PolicyTerms(Input):
    profile: Profile
    overrides: Annotated[dict[str, JsonValue], Field(default_factory=dict, max_length=50)]

    @field_validator("overrides")
    @classmethod
    def _valid(cls, overrides: dict[str, JsonValue], info: ValidationInfo) -> dict[str, JsonValue]:
        if "profile" in info.data:
            effective(info.data["profile"], overrides)
        return overrides

    def effective(self) -> Policy:
        return effective(self.profile, self.overrides)


class FirstAdmin(Input):
    id: StaffId = Field(default_factory=new_id)
    name: Name
    email: NewAddress


class RegisterTenant(TenantSettings, PolicyTerms, Command):
    """Let a firm use Vinculum, with the rules of a profile and its first staff user."""

    ROLE: ClassVar[Needs] = "platform"
    CREATES: ClassVar[bool] = True
    TARGET: ClassVar[tuple[str, ...]] = ("tenant", "tenant")
    RAISES: ClassVar[Rejections] = (IdTaken,)

    tenant: TenantId
    portal_url: NewPortalUrl | None = None
    locale: Locale = "en"
    reply_to: NewReplyTo | None = None
    admin: FirstAdmin

    def reads(self) -> Iterable[Readable]:
        return (StaffUser.key(staff_id=self.admin.id),)

    def decide(self, heads: Heads) -> Decision:
        if heads.tenant_settings:
            raise IdTaken(tenant=self.tenant)
        yield TenantRegistered.of(self)
        yield PolicyChanged(tenant=self.tenant, profile=self.profile, before=None, after=self.effective())
        admin = self.admin
        yield StaffUserAdded(staff_id=admin.id, name=admin.name, email=admin.email, roles=("admin",))


class ChangeTenant(TenantSettings, Command):
    """Change the tenant's name, portal, language, or where replies to its mail go."""

    ROLE: ClassVar[Needs] = "admin"
    TARGET: ClassVar[tuple[str, ...]] = ("tenant", "tenant")

    tenant: TenantId
    name: Name = ""
    portal_url: NewPortalUrl | None = None
    locale: Locale = "en"
    reply_to: NewReplyTo | None = None

    def decide(self, heads: Heads) -> Decision:
        before = heads.tenant_settings
        if before is None or self.tenant != heads.tenant:
            raise TenantNotFound(tenant=self.tenant)
        after = self.changed(before)
        if after != before:
            yield TenantChanged(tenant=self.tenant, before=before, after=after)


class ChangePolicy(PolicyTerms, Command):
    """Choose a profile and the tenant's own values. What exists already stays."""

    ROLE: ClassVar[Needs] = "admin"
    TARGET: ClassVar[tuple[str, ...]] = Rules.KEY

    def decide(self, heads: Heads) -> Decision:
        before, after = heads.policy, self.effective()
        if after != before or self.profile != heads.rules.profile:
            yield PolicyChanged(tenant=heads.tenant, profile=self.profile, before=before, after=after)
            yield from _violations(heads, before, after)


COUNTED: Final = frozenset(
    {"max_accounts_per_contact", "min_contacts_per_account", "contact_requires_account", "unique_contact_email"}
)
"""Policies whose violations are counted; event_store.VIOLATIONS has how."""


def _violations(heads: Heads, before: Policy, after: Policy) -> Iterator[Caution]:
    """Count what the stricter of the new values would not allow."""
    stricter: dict[str, Any] = {
        name: value
        for name, value in after.model_dump(include={*COUNTED}).items()
        if value != getattr(before, name) and value not in (None, 0)
    }
    wanted = [Violations(name, int(value)) for name, value in stricter.items()]
    heads.prefetch(wanted)
    for each in wanted:
        count = heads.violations(each.policy, each.bound)
        if count:
            yield PolicyViolations(policy=each.policy, count=count)
