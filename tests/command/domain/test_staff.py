"""Staff users: who works at the tenant, and with which roles."""

from uuid import uuid4

import pytest

from support.decisions import Case
from vinculum_command.domain.rejections import IdTaken, LastAdmin, StaffInactive, StaffNotFound
from vinculum_command.domain.staff import AddStaffUser, ChangeStaffUser, DeactivateStaffUser
from vinculum_shared.contracts.staff import Limits, Role, StaffUserAdded, StaffUserChanged
from vinculum_shared.contracts.values import StaffId

pytestmark = pytest.mark.unit


def added(case: Case, role: Role = "agent") -> StaffId:
    command = AddStaffUser(name="Sam", email="sam@example.com", roles=(role,))
    case.given(command)
    return command.id


def test_a_staff_user_is_added_with_an_id_of_its_own() -> None:
    case = Case.under("zoho")
    again = AddStaffUser(id=added(case), name="Sam", email="sam@example.com", roles=("agent",))
    case.refused(again, IdTaken)


def test_a_change_carries_before_and_after() -> None:
    case = Case.under("zoho")
    staff_id = added(case)
    change = ChangeStaffUser(staff_id=staff_id, roles=("manager", "agent"))
    (event,) = case.when(change).events
    assert isinstance(event, StaffUserChanged)
    assert (event.before.roles, event.after.roles, event.after.name) == (("agent",), ("manager", "agent"), "Sam")
    assert case.when(change).events == ()


def test_of_limits_those_left_out_stay() -> None:
    case = Case.under("teamleader")
    staff_id = added(case)
    for limits in ({"accounts": True}, {"opportunities": True}):
        case.given(ChangeStaffUser.model_validate({"staff_id": staff_id, "limits": limits}))
    (event,) = case.when(ChangeStaffUser(staff_id=staff_id, name="Pat")).events
    assert isinstance(event, StaffUserChanged)
    assert event.after.limits == Limits(accounts=True, opportunities=True)


def test_an_inactive_staff_user_is_not_changed() -> None:
    case = Case.under("zoho")
    staff_id = added(case)
    deactivate = DeactivateStaffUser(staff_id=staff_id)
    assert case.when(deactivate).types == ["StaffUserDeactivated"]
    assert case.when(deactivate).events == ()
    case.refused(ChangeStaffUser(staff_id=staff_id, name="Pat"), StaffInactive)


def test_a_successor_is_an_active_staff_user_and_another_one() -> None:
    case = Case.under("zoho")
    leaving, inactive, successor = added(case), added(case), added(case)
    case.given(DeactivateStaffUser(staff_id=inactive))
    nobody = DeactivateStaffUser(staff_id=leaving, successor_id=StaffId(uuid4()))
    assert case.faults(nobody) == [("/successor_id", "staff_not_found")]
    case.refused(DeactivateStaffUser(staff_id=leaving, successor_id=inactive), StaffInactive)
    case.refused(DeactivateStaffUser(staff_id=leaving, successor_id=leaving), StaffInactive)
    case.given(DeactivateStaffUser(staff_id=leaving, successor_id=successor))


def test_a_tenant_keeps_an_active_admin() -> None:
    case = Case.under("zoho")
    first = next(event.staff_id for event in case.events if isinstance(event, StaffUserAdded))
    case.given(DeactivateStaffUser(staff_id=added(case, "admin")))
    for command in (DeactivateStaffUser(staff_id=first), ChangeStaffUser(staff_id=first, roles=("manager",))):
        assert case.refused(command, LastAdmin).facts == {"staff_id": first}
    case.given(ChangeStaffUser(staff_id=first, name="Ada L.", roles=("viewer", "admin")))
    second = added(case)
    case.given(ChangeStaffUser(staff_id=second, roles=("admin",)), DeactivateStaffUser(staff_id=first))
    case.refused(ChangeStaffUser(staff_id=second, roles=("agent",)), LastAdmin)


def test_of_two_admins_who_end_each_other_one_stays() -> None:
    case = Case.under("zoho")
    first = next(event.staff_id for event in case.events if isinstance(event, StaffUserAdded))
    second = added(case, "admin")
    ended, refused = case.together(DeactivateStaffUser(staff_id=first), DeactivateStaffUser(staff_id=second))
    assert ended.types == ["StaffUserDeactivated"]
    assert isinstance(refused.refusal, LastAdmin)


def test_who_is_not_there_is_not_found() -> None:
    case = Case.under("zoho")
    nobody = StaffId(uuid4())
    case.refused(ChangeStaffUser(staff_id=nobody, name="Pat"), StaffNotFound)
    case.refused(DeactivateStaffUser(staff_id=nobody), StaffNotFound)
