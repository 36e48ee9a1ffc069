"""The five profiles: each a column of values, so that nothing ever asks which profile a tenant has."""

from collections.abc import Mapping
from typing import Any, Final, get_args

from vinculum_command.domain.merge_patch import merged
from vinculum_shared.contracts.tenants import ManagerRange, ManagerRanges, Policy, Profile
from vinculum_shared.contracts.values import misplaced

_ANY: Final = {"min": 0, "max": None}
_UP_TO_ONE: Final = {"min": 0, "max": 1}
_ONE: Final = {"min": 1, "max": 1}
_SOME: Final = {"min": 1, "max": None}

# fmt: off
_TABLE: Final[dict[str, tuple[Any, ...]]] = {  # statements
    # policy                     taxdome    zoho       perfex          dynamics   teamleader
    "max_accounts_per_contact": (None,      1,         1,              1,         None),       # TD-28 ZD-3 PX-1 DY-17
    "min_contacts_per_account": (1,         0,         0,              0,         0),          # TD-2 ZD-23 DY-13
    "contact_requires_account": (False,     False,     True,           False,     False),      # PX-1 DY-24
    "primary_contact":         ("optional", "optional", "first_forced", "optional", "optional"),
    "unique_contact_email":     (False,     False,     True,           False,     False),
    "access_unit":             ("email",   "contact", "contact",      "contact", "none"),      # TD-18
    "default_features":        ("all",     "support", "all",          "none",    "none"),      # PX-3
    "features_fixed":           (True,      True,      False,          False,     True),
    "ticket_visibility":       ("account", "account", "own",          "own",     "own"),       # ZD-5
    "default_topics":          ("none",    "none",    "all",          "none",    "none"),      # PX-7
    "mail_without_permission": ("send",    "send",    "hold",         "hold",    "send"),
    "managers.account":         (_ANY,      _UP_TO_ONE, _ANY,          _UP_TO_ONE, _UP_TO_ONE),  # TL-8
    "managers.opportunity":     (_UP_TO_ONE, _UP_TO_ONE, _UP_TO_ONE,   _UP_TO_ONE, _ONE),        # TL-8
    "managers.project":         (_ANY,      _ANY,      _ANY,           _ANY,      _SOME),        # TL-19
    "managers.ticket":          (_UP_TO_ONE, _UP_TO_ONE, _UP_TO_ONE,   _UP_TO_ONE, _UP_TO_ONE),  # TL-22
    "second_manager":           (False,     False,     False,          False,     False),      # TL-11 TL-12
    "notify_managers":          (False,     False,     False,          False,     True),       # TL-9
    "manager_limits_access":    (True,      False,     True,           False,     "per_staff_user"),  # TL-10
    "merge_contacts":           (None,      3,         0,              2,         2),          # ZD-30
    "merge_accounts":           (0,         3,         0,              2,         2),          # ZD-30
    "import_unmatched_account": ("hold",    "hold",    "hold",         "hold",    "create"),   # TD-24
}
# fmt: on


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in flat.items() if "." not in name}
    values["managers"] = {
        name.removeprefix("managers."): value for name, value in flat.items() if name.startswith("managers.")
    }
    return values


PROFILES: Final[dict[Profile, Policy]] = {
    profile: Policy.model_validate(_nested({name: row[column] for name, row in _TABLE.items()}))
    for column, profile in enumerate(get_args(Profile))
}


def effective(profile: Profile, overrides: Mapping[str, Any]) -> Policy:
    """Return the profile's policy with the tenant's own values in place. ValidationError says which ones can't be."""
    values = merged(PROFILES[profile].model_dump(), overrides, null_removes=False)
    policy = Policy.model_validate(values, extra="forbid")
    for name, managers in policy.managers:
        if managers.max is not None and managers.min > managers.max:
            raise misplaced("greater_than_max", "Give a min that is not more than max.", "managers", name, "min")
    return policy.evolve(managers=_with_second(policy.managers)) if policy.second_manager else policy


def _with_second(managers: ManagerRanges) -> ManagerRanges:
    """Let accounts and opportunities that have one manager at most have two (TL-11)."""
    return managers.evolve(account=_two(managers.account), opportunity=_two(managers.opportunity))


def _two(managers: ManagerRange) -> ManagerRange:
    return managers.evolve(max=2) if managers.max == 1 else managers
