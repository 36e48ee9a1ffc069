"""Contacts: made with or without accounts, changed, inactive for a while."""

from uuid import uuid4

import pytest

from support.decisions import Case, new
from vinculum_command.domain.contacts.activity import DeactivateContact, ReactivateContact
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.contacts.profiles import ChangeContact
from vinculum_command.domain.rejections import (
    AccountRequired,
    ContactAlreadyLinked,
    ContactInactive,
    ContactNotFound,
    IdTaken,
)
from vinculum_shared.contracts.contacts import ContactChanged
from vinculum_shared.contracts.tenants import Profile
from vinculum_shared.contracts.values import ContactId
from vinculum_shared.problems import Invalid

pytestmark = pytest.mark.unit


def create(*accounts: object, **fields: object) -> CreateContact:
    links = [{"account_id": account} for account in accounts]
    return CreateContact.model_validate({"link_accounts": links, **fields})


@pytest.mark.parametrize("profile", ["taxdome", "zoho", "dynamics", "teamleader"])
def test_a_contact_may_come_without_an_account(profile: Profile) -> None:
    outcome = Case.under(profile).when(create())
    assert (outcome.types, outcome.created) == (["ContactCreated"], True)


def test_a_contact_comes_inside_an_account_where_the_policy_says_so() -> None:
    case = Case.under("perfex")
    case.refused(create(), AccountRequired)
    assert case.when(create(case.account())).types == ["ContactCreated", "ContactLinked"]


def test_a_contact_is_linked_to_several_accounts_at_once_or_not_made() -> None:
    case = Case.under("taxdome")
    accounts = [case.account(new()), case.account(new())]
    assert case.when(create(*accounts)).types == ["ContactCreated", "ContactLinked", "ContactLinked"]
    case.refused(create(accounts[0], uuid4()), Invalid)


def test_of_several_accounts_one_is_all_that_some_policies_allow() -> None:
    case = Case.under("dynamics")
    case.refused(create(case.account(), case.account()), ContactAlreadyLinked)


def test_an_id_is_used_once() -> None:
    case = Case.under("dynamics")
    case.refused(create(id=case.contact()), IdTaken)


def test_a_change_carries_before_and_after_and_null_clears() -> None:
    case = Case.under("dynamics")
    contact = case.contact(first_name="Bo", last_name="Ek", locale="it")
    change = ChangeContact.model_validate({"contact_id": contact, "last_name": "Berg", "locale": None})
    (event,) = case.when(change).events
    assert isinstance(event, ContactChanged)
    assert (event.before.name, event.after.name, event.after.locale) == ("Bo Ek", "Bo Berg", None)
    assert case.when(change).events == ()


def test_a_change_of_external_ids_is_a_merge_patch() -> None:
    case = Case.under("dynamics")
    contact = case.contact(external_ids={"crm": "7", "erp": "8"})
    change = ChangeContact(contact_id=contact, external_ids={"crm": None, "dwh": "9"})
    (event,) = case.when(change).events
    assert isinstance(event, ContactChanged)
    assert (event.before.external_ids, event.after.external_ids) == ({"crm": "7", "erp": "8"}, {"erp": "8", "dwh": "9"})
    assert case.when(change).events == ()
    (event,) = case.when(ChangeContact(contact_id=contact, external_ids=None)).events
    assert isinstance(event, ContactChanged)
    assert event.after.external_ids == {}


def test_an_inactive_contact_is_not_changed_until_it_is_active_again() -> None:
    case = Case.under("dynamics")
    contact = case.contact()
    assert case.when(DeactivateContact(contact_id=contact)).types == ["ContactDeactivated"]
    assert case.when(DeactivateContact(contact_id=contact)).events == ()
    case.refused(ChangeContact(contact_id=contact, first_name="Bo"), ContactInactive)
    assert case.when(ReactivateContact(contact_id=contact)).types == ["ContactReactivated"]
    assert case.when(ReactivateContact(contact_id=contact)).events == ()
    case.given(ChangeContact(contact_id=contact, first_name="Bo"))


def test_what_is_not_there_is_not_found() -> None:
    case = Case.under("dynamics")
    nobody = ContactId(uuid4())
    for command in (ChangeContact(contact_id=nobody), DeactivateContact(contact_id=nobody)):
        case.refused(command, ContactNotFound)
    case.refused(ReactivateContact(contact_id=nobody), ContactNotFound)
