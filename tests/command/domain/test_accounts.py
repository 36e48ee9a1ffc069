"""Accounts: made together with their contacts, changed, archived and restored."""

from uuid import uuid4

import pytest
from pydantic import JsonValue

from support.decisions import Case, new
from vinculum_command.domain.accounts import ArchiveAccount, ChangeAccount, CreateAccount, RestoreAccount
from vinculum_command.domain.rejections import (
    AccountArchived,
    AccountNotFound,
    ContactAlreadyLinked,
    ContactRequired,
    IdTaken,
)
from vinculum_shared.contracts.accounts import AccountChanged
from vinculum_shared.contracts.tenants import Profile
from vinculum_shared.contracts.values import AccountId
from vinculum_shared.problems import Invalid

pytestmark = pytest.mark.unit


def create(**fields: object) -> CreateAccount:
    return CreateAccount.model_validate({"name": "A", **fields})


def test_an_account_must_have_a_contact_existing_or_new() -> None:
    case = Case.under("taxdome")
    case.refused(create(), ContactRequired)
    existing = case.contact()
    assert case.when(create(link_contacts=[{"contact_id": existing}])).types == ["AccountCreated", "ContactLinked"]
    assert case.when(create(new_contacts=[new()])).types == ["AccountCreated", "ContactCreated", "ContactLinked"]


@pytest.mark.parametrize("profile", ["zoho", "perfex", "dynamics", "teamleader"])
def test_an_account_may_come_without_contacts(profile: Profile) -> None:
    outcome = Case.under(profile).when(create())
    assert (outcome.types, outcome.created) == (["AccountCreated"], True)


def test_an_account_with_too_few_contacts_for_the_policy_is_refused() -> None:
    case = Case.under("taxdome", min_contacts_per_account=2)
    case.refused(create(new_contacts=[new()]), ContactRequired)
    case.given(create(new_contacts=[new(), new()]))


def test_an_account_and_its_contacts_come_together_or_not_at_all() -> None:
    case = Case.under("dynamics")
    _, taken = case.linked()
    case.refused(create(new_contacts=[new()], link_contacts=[{"contact_id": taken}]), ContactAlreadyLinked)
    case.refused(create(link_contacts=[{"contact_id": uuid4()}]), Invalid)


def test_an_id_is_used_once() -> None:
    case = Case.under("dynamics")
    account = case.account()
    assert case.refused(create(id=account), IdTaken).facts == {"account_id": account}


def test_a_change_carries_the_whole_before_and_after_and_leaves_out_nothing_that_stays() -> None:
    case = Case.under("dynamics")
    account = case.account(name="Old", kind="company")
    (event,) = case.when(ChangeAccount(account_id=account, name="New")).events
    assert isinstance(event, AccountChanged)
    assert (event.before.name, event.after.name, event.after.kind) == ("Old", "New", "company")
    assert case.when(ChangeAccount(account_id=account, name="New")).events == ()


def test_a_change_of_details_and_external_ids_is_a_merge_patch_and_the_event_has_the_whole() -> None:
    case = Case.under("dynamics")
    account = case.account(details={"city": "Cluj", "vat": "1"}, external_ids={"crm": "7", "erp": "8"})
    patch = {"details": {"vat": None, "size": 3}, "external_ids": {"crm": None, "dwh": "9"}}
    change = ChangeAccount.model_validate({"account_id": account, **patch})
    (event,) = case.when(change).events
    assert isinstance(event, AccountChanged)
    assert (event.before.details, event.after.details) == ({"city": "Cluj", "vat": "1"}, {"city": "Cluj", "size": 3})
    assert (event.before.external_ids, event.after.external_ids) == ({"crm": "7", "erp": "8"}, {"erp": "8", "dwh": "9"})
    assert case.when(change).events == ()


def test_details_are_merged_as_deep_as_they_go_and_lists_are_replaced() -> None:
    case = Case.under("dynamics")
    account = case.account(details={"address": {"city": "Cluj", "zip": "1"}, "tags": ["a", {"b": 1}]})
    patch = {"address": {"zip": None, "lines": ["x"]}, "tags": ["c"]}
    (event,) = case.when(ChangeAccount.model_validate({"account_id": account, "details": patch})).events
    assert isinstance(event, AccountChanged)
    assert event.after.details == {"address": {"city": "Cluj", "lines": ["x"]}, "tags": ["c"]}


def test_one_is_not_true() -> None:
    case = Case.under("dynamics")
    account = case.account(details={"vip": 1})
    assert case.when(ChangeAccount(account_id=account, details={"vip": 1})).events == ()
    assert case.when(ChangeAccount(account_id=account, details={"vip": True})).types == ["AccountChanged"]


def test_null_clears_details_and_external_ids() -> None:
    case = Case.under("dynamics")
    account = case.account(details={"city": "Cluj"}, external_ids={"crm": "7"})
    clear = ChangeAccount.model_validate({"account_id": account, "details": None, "external_ids": None})
    (event,) = case.when(clear).events
    assert isinstance(event, AccountChanged)
    assert (event.after.details, event.after.external_ids, event.after.name) == (None, {}, "A")
    assert case.when(clear).events == ()


def test_a_change_that_would_make_too_many_external_ids_is_refused() -> None:
    case = Case.under("dynamics")
    account = case.account(external_ids={f"id{number}": "x" for number in range(20)})
    one_more = ChangeAccount(account_id=account, external_ids={"more": "x"})
    assert case.refused(one_more, Invalid).facts["errors"][0]["pointer"] == "/external_ids"
    case.given(ChangeAccount(account_id=account, external_ids={"more": "x", "id0": None}))


def test_a_change_that_would_make_too_many_details_is_refused() -> None:
    case = Case.under("dynamics")
    account = case.account(details={f"detail{number}": 1 for number in range(100)})
    one_more = ChangeAccount(account_id=account, details={"more": 1})
    assert case.refused(one_more, Invalid).facts["errors"][0]["pointer"] == "/details"
    others: dict[str, JsonValue] = {f"other{number}": 1 for number in range(100)}
    case.given(ChangeAccount(account_id=account, details=others | {f"detail{number}": None for number in range(100)}))


def test_an_archived_account_is_not_changed_until_it_is_restored() -> None:
    case = Case.under("dynamics")
    account = case.account()
    case.given(ArchiveAccount(account_id=account))
    case.refused(ChangeAccount(account_id=account, name="B"), AccountArchived)
    case.given(RestoreAccount(account_id=account))
    case.given(ChangeAccount(account_id=account, name="B"))


def test_archiving_and_restoring_again_changes_nothing() -> None:
    case = Case.under("dynamics")
    account = case.account()
    assert case.when(RestoreAccount(account_id=account)).events == ()
    assert case.when(ArchiveAccount(account_id=account)).types == ["AccountArchived"]
    assert case.when(ArchiveAccount(account_id=account)).events == ()
    assert case.when(RestoreAccount(account_id=account)).types == ["AccountRestored"]


def test_what_is_not_there_is_not_found() -> None:
    case = Case.under("dynamics")
    nowhere = AccountId(uuid4())
    for command in (ChangeAccount(account_id=nowhere), ArchiveAccount(account_id=nowhere)):
        case.refused(command, AccountNotFound)
    case.refused(RestoreAccount(account_id=nowhere), AccountNotFound)
