"""Firms that use Vinculum, and the rules each of them has chosen."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.topics import FEATURES, TOPICS, Feature, Topic
from vinculum_shared.contracts.values import WEB_ADDRESS, Address, Count, Flag, Locale, Name, TenantId, Value, added

Profile = Literal["taxdome", "zoho", "perfex", "dynamics", "teamleader"]
AccessUnit = Literal["email", "contact", "none"]
WithoutPermission = Literal["send", "hold"]


def _flag_or_per_user(value: object) -> object:
    """Say in one error what it may be; a union has one for each, in places that no body has."""
    if isinstance(value, bool) or value == "per_staff_user":
        return value
    raise ValueError("Give true, false or per_staff_user.")


class ManagerRange(Value):
    """How many managers a record of one type has; `max` null is any number."""

    min: Count = Field(ge=0)
    max: Count | None = Field(ge=1)


class ManagerRanges(Value):
    account: ManagerRange
    opportunity: ManagerRange
    project: ManagerRange
    ticket: ManagerRange


class Policy(Value):
    """The rules of a tenant, every one of them decided."""

    max_accounts_per_contact: Count | None = Field(ge=1)
    min_contacts_per_account: Count = Field(ge=0)
    contact_requires_account: Flag
    primary_contact: Literal["optional", "first_forced"]
    unique_contact_email: Flag
    access_unit: AccessUnit
    default_features: Literal["all", "none", Feature]
    features_fixed: Flag
    ticket_visibility: Literal["account", "own"]
    default_topics: Literal["all", "none"]
    mail_without_permission: WithoutPermission
    managers: ManagerRanges
    second_manager: Flag
    notify_managers: Flag
    manager_limits_access: Annotated[Flag | Literal["per_staff_user"], BeforeValidator(_flag_or_per_user)]
    merge_contacts: Count | None = Field(ge=0)
    merge_accounts: Count | None = Field(ge=0)
    import_unmatched_account: Literal["hold", "create"]

    def limits_access(self, roles: Iterable[str], *, limited_accounts: bool) -> bool:
        """Tell if a staff user with these roles sees only what they manage (TL-10)."""
        limits = limited_accounts if self.manager_limits_access == "per_staff_user" else self.manager_limits_access
        return limits and "agent" in roles and not {"viewer", "manager", "admin"} & set(roles)

    def starting_features(self) -> tuple[Feature, ...]:
        """Return what a new link opens (PX-3)."""
        if self.default_features == "all":
            return FEATURES
        return () if self.default_features == "none" else (self.default_features,)

    def starting_topics(self) -> tuple[Topic, ...]:
        """Return what a new link turns mail on for (PX-7)."""
        return TOPICS if self.default_topics == "all" else ()


def _ascii(address: str) -> str:
    if not address.isascii():
        raise ValueError("Give an address in ASCII, which every mail server takes.")
    return address


ReplyTo = Annotated[Address, AfterValidator(_ascii)]


PORTAL_URL_LENGTH_MAX: Final = 2000  # characters


class TenantSettings(Value):
    name: Name
    portal_url: str | None = Field(default=None, max_length=PORTAL_URL_LENGTH_MAX, pattern=WEB_ADDRESS)
    locale: Locale = "en"
    reply_to: ReplyTo | None = added()
    """Where replies to the tenant's mail go: an address of the firm, not of one person in it."""


class TenantEvent(Event):
    STREAM: ClassVar[tuple[str, ...]] = ("tenant", "tenant")

    tenant: TenantId


class TenantRegistered(TenantEvent, TenantSettings):
    """A firm starts to use Vinculum; its rules follow as PolicyChanged, its first staff user as StaffUserAdded."""


class TenantChanged(TenantEvent):
    """The tenant has another name, portal or language, or replies to its mail go elsewhere."""

    before: TenantSettings
    after: TenantSettings


class PolicyChanged(TenantEvent):
    """These rules hold from now on; what exists stays as it is."""

    profile: Profile
    before: Policy | None
    after: Policy
