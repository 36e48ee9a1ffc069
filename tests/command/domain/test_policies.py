"""The five profiles, as the table of the design has them, and a tenant's own values in place of theirs."""

from typing import Any, get_args

import pytest

from vinculum_command.domain.policies import PROFILES, effective
from vinculum_shared.contracts.tenants import Policy, Profile

pytestmark = pytest.mark.unit

ANY, UP_TO_ONE, ONE, SOME = (0, None), (0, 1), (1, 1), (1, None)


@pytest.mark.parametrize(
    ("policy", "taxdome", "zoho", "perfex", "dynamics", "teamleader"),
    [
        ("max_accounts_per_contact", None, 1, 1, 1, None),
        ("min_contacts_per_account", 1, 0, 0, 0, 0),
        ("contact_requires_account", False, False, True, False, False),
        ("primary_contact", "optional", "optional", "first_forced", "optional", "optional"),
        ("unique_contact_email", False, False, True, False, False),
        ("access_unit", "email", "contact", "contact", "contact", "none"),
        ("default_features", "all", "support", "all", "none", "none"),
        ("features_fixed", True, True, False, False, True),
        ("ticket_visibility", "account", "account", "own", "own", "own"),
        ("default_topics", "none", "none", "all", "none", "none"),
        ("mail_without_permission", "send", "send", "hold", "hold", "send"),
        ("managers.account", ANY, UP_TO_ONE, ANY, UP_TO_ONE, UP_TO_ONE),
        ("managers.opportunity", UP_TO_ONE, UP_TO_ONE, UP_TO_ONE, UP_TO_ONE, ONE),
        ("managers.project", ANY, ANY, ANY, ANY, SOME),
        ("managers.ticket", UP_TO_ONE, UP_TO_ONE, UP_TO_ONE, UP_TO_ONE, UP_TO_ONE),
        ("second_manager", False, False, False, False, False),
        ("notify_managers", False, False, False, False, True),
        ("manager_limits_access", True, False, True, False, "per_staff_user"),
        ("merge_contacts", None, 3, 0, 2, 2),
        ("merge_accounts", 0, 3, 0, 2, 2),
        ("import_unmatched_account", "hold", "hold", "hold", "hold", "create"),
    ],
)
def test_each_profile_has_its_value(
    policy: str, taxdome: Any, zoho: Any, perfex: Any, dynamics: Any, teamleader: Any
) -> None:
    assert [value(PROFILES[profile], policy) for profile in get_args(Profile)] == [
        taxdome,
        zoho,
        perfex,
        dynamics,
        teamleader,
    ]


def value(policy: Policy, name: str) -> Any:
    if name.startswith("managers."):
        managers = getattr(policy.managers, name.removeprefix("managers."))
        return managers.min, managers.max
    return getattr(policy, name)


def test_a_tenant_s_own_values_take_the_place_of_the_profile_s() -> None:
    policy = effective("taxdome", {"min_contacts_per_account": 0, "managers": {"project": {"min": 1, "max": 2}}})
    assert policy.min_contacts_per_account == 0
    assert value(policy, "managers.project") == (1, 2)
    assert value(policy, "managers.account") == ANY


def test_of_how_many_managers_there_are_what_is_left_out_is_as_the_profile_has_it() -> None:
    policy = effective("teamleader", {"managers": {"opportunity": {"max": 2}, "account": {"max": None}}})
    assert value(policy, "managers.opportunity") == (1, 2)
    assert value(policy, "managers.account") == ANY
    assert value(policy, "managers.project") == SOME


def test_a_second_manager_is_one_more_for_accounts_and_opportunities() -> None:
    policy = effective("teamleader", {"second_manager": True})
    assert value(policy, "managers.account") == (0, 2)
    assert value(policy, "managers.opportunity") == (1, 2)
    assert value(policy, "managers.ticket") == UP_TO_ONE
    assert value(effective("taxdome", {"second_manager": True}), "managers.account") == ANY


@pytest.mark.parametrize(
    "overrides",
    [
        {"no_such_policy": True},
        {"max_accounts_per_contact": 0},
        {"access_unit": "device"},
        {"managers": {"invoice": {"min": 0, "max": 1}}},
        {"managers": 1},
        {"managers": {"account": {"min": -1, "max": 1}}},
        {"managers": {"opportunity": {"min": 2}}},
        {"managers": {"account": None}},
        {"features_fixed": None},
    ],
)
def test_what_can_t_be_is_refused_with_its_name(overrides: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(overrides))):
        effective("taxdome", overrides)
