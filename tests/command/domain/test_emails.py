"""A contact's addresses, and what a change of one does to the logins by it."""

from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from support.decisions import Case, new
from vinculum_command.domain.access import SetPortalAccess
from vinculum_command.domain.accounts import ArchiveAccount, CreateAccount, RestoreAccount
from vinculum_command.domain.commands import Caller
from vinculum_command.domain.contacts.activity import DeactivateContact
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.contacts.emails import AddEmail, ChangeEmail, RemoveEmail
from vinculum_command.domain.contacts.profiles import EMAILS_MAX
from vinculum_command.domain.heads.contacts import Contact
from vinculum_command.domain.links import LinkContacts
from vinculum_command.domain.rejections import (
    ContactInactive,
    ContactNotFound,
    EmailNotFound,
    EmailTaken,
    IdTaken,
    InvitationInvalid,
)
from vinculum_command.domain.tenants import ChangePolicy
from vinculum_shared.contracts.contacts import EmailChanged
from vinculum_shared.contracts.tenants import Profile
from vinculum_shared.contracts.values import ContactId, EmailId
from vinculum_shared.problems import Invalid

pytestmark = pytest.mark.unit

NOBODY, NO_ADDRESS = ContactId(uuid4()), EmailId(uuid4())


def add(contact_id: ContactId, address: str, **fields: object) -> AddEmail:
    return AddEmail.model_validate({"contact_id": contact_id, "address": address, **fields})


def change(contact_id: ContactId, email_id: EmailId, **fields: object) -> ChangeEmail:
    return ChangeEmail.model_validate({"contact_id": contact_id, "email_id": email_id, **fields})


def primary(case: Case, contact_id: ContactId) -> list[bool]:
    return [email.primary for email in case.head(Contact, contact_id=contact_id).emails]


class TestThePrimaryAddress:
    def test_is_the_first_one(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact()
        outcome = case.when(add(contact, "b@example.com"))
        assert (outcome.types, outcome.created) == (["EmailAdded"], True)
        case.given(add(contact, "b@example.org"))
        assert primary(case, contact) == [True, False]

    def test_moves_to_an_address_that_is_added_or_preferred(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact("b@example.com")
        assert case.when(add(contact, "b@example.org", primary=True)).types == ["EmailChanged", "EmailAdded"]
        assert primary(case, contact) == [False, True]
        outcome = case.when(change(contact, case.email(contact, 0), primary=True))
        assert outcome.types == ["EmailChanged", "EmailChanged"]
        assert primary(case, contact) == [True, False]

    def test_moves_when_it_is_removed(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact("b@example.com", "b@example.org")
        outcome = case.when(RemoveEmail(contact_id=contact, email_id=case.email(contact)))
        assert outcome.types == ["EmailRemoved", "EmailChanged"]
        assert primary(case, contact) == [True]

    def test_is_not_given_up_for_none(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact("b@example.com")
        for no_more in (False, None):
            case.refused(change(contact, case.email(contact), primary=no_more), Invalid)

    def test_is_one_of_those_that_a_new_contact_comes_with(self) -> None:
        emails: list[dict[str, Any]] = [{"address": "a@example.com"}, {"address": "b@example.com", "primary": True}]
        case = Case.under("taxdome")
        contact = case.contact(emails=emails)
        assert primary(case, contact) == [False, True]
        with pytest.raises(ValidationError) as refused:
            CreateContact.model_validate({"emails": [{**email, "primary": True} for email in emails]})
        assert [each["loc"] for each in refused.value.errors()] == [("emails", 1, "primary")]


class TestAnAddress:
    @pytest.mark.parametrize("profile", ["taxdome", "zoho", "dynamics", "teamleader"])
    def test_may_be_shared_by_contacts(self, profile: Profile) -> None:
        case = Case.under(profile)
        case.contact("office@example.com")
        case.contact("office@example.com")

    def test_belongs_to_one_contact_only_where_the_policy_says_so(self) -> None:
        case = Case.under("perfex")
        _, contact = case.linked("b@example.com")
        other, colleague = case.linked("c@example.com")
        assert case.refused(add(colleague, "B@EXAMPLE.com"), EmailTaken).facts == {"contact_id": contact}
        case.refused(change(colleague, case.email(colleague), address="b@example.com"), EmailTaken)
        taken = {"emails": [{"address": "b@example.com"}], "link_accounts": [{"account_id": other}]}
        case.refused(CreateContact.model_validate(taken), EmailTaken)
        case.given(RemoveEmail(contact_id=contact, email_id=case.email(contact)), add(colleague, "b@example.com"))

    def test_is_not_twice_on_one_contact(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact("b@example.com", "b@example.org")
        assert case.when(add(contact, "B@example.com", primary=True)).events == ()
        case.refused(change(contact, case.email(contact, 1), address="b@example.com"), EmailTaken)
        with pytest.raises(ValidationError) as refused:
            CreateContact.model_validate(new("x@example.com", "X@example.com"))
        assert [each["loc"] for each in refused.value.errors()] == [("emails", 1, "address")]

    def test_is_not_on_two_new_contacts_of_a_command_where_it_belongs_to_one(self) -> None:
        members = [new("a@example.com"), new("b@example.com", "A@example.com")]
        account = CreateAccount.model_validate({"name": "A", "new_contacts": members})
        links = {"account_id": uuid4(), "contacts": [{"new_contact": member} for member in members]}
        case = Case.under("perfex")
        case.given(CreateAccount.model_validate({"id": links["account_id"], "name": "B"}))
        assert case.faults(account) == [("/new_contacts/1/emails/1/address", "duplicate")]
        link = LinkContacts.model_validate(links)
        assert case.faults(link) == [("/contacts/1/new_contact/emails/1/address", "duplicate")]
        Case.under("dynamics").given(account)

    def test_has_an_id_of_its_own(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact("b@example.com")
        case.refused(add(contact, "b@example.org", id=case.email(contact)), IdTaken)
        same = [{"id": NO_ADDRESS, "address": address} for address in ("a@example.com", "b@example.com")]
        with pytest.raises(ValidationError) as refused:
            CreateContact.model_validate({"emails": same})
        assert [each["loc"] for each in refused.value.errors()] == [("emails", 1, "id")]

    def test_keeps_what_a_stricter_policy_would_not_allow_and_can_be_labelled(self) -> None:
        case = Case.under("taxdome")
        contact, _ = case.contact("office@example.com"), case.contact("office@example.com")
        case.given(ChangePolicy(profile="taxdome", overrides={"unique_contact_email": True}))
        assert case.when(change(contact, case.email(contact), label="Office")).types == ["EmailChanged"]

    def test_is_one_of_a_limited_number(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact(*(f"b{number}@example.com" for number in range(EMAILS_MAX)))
        case.refused(add(contact, "b@example.com"), Invalid)

    def test_is_not_added_to_or_changed_on_an_inactive_contact_but_can_be_removed(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact("b@example.com")
        case.given(DeactivateContact(contact_id=contact))
        case.refused(add(contact, "b@example.org"), ContactInactive)
        case.refused(change(contact, case.email(contact), label="Work"), ContactInactive)
        case.given(RemoveEmail(contact_id=contact, email_id=case.email(contact)))

    def test_that_is_not_there_is_not_found(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact("b@example.com")
        case.given(DeactivateContact(contact_id=contact))
        case.refused(change(contact, NO_ADDRESS, label="Work"), EmailNotFound)
        case.refused(RemoveEmail(contact_id=contact, email_id=NO_ADDRESS), EmailNotFound)
        case.refused(add(NOBODY, "b@example.com"), ContactNotFound)


class TestAnotherAddress:
    def test_is_invited_anew_where_the_old_one_was_active(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        outcome = case.when(change(contact, case.email(contact), address="new@example.com"))
        assert outcome.types == ["EmailChanged", "PortalAccessChanged"]
        assert case.entry(account, contact).state == "invited"

    def test_is_invited_anew_where_the_old_one_was_invited_and_the_old_invitation_is_dead(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        old = case.accept(account, contact)
        case.given(change(contact, case.email(contact), address="new@example.com"))
        case.refused(old, InvitationInvalid, by=Caller(kind="contact", id=str(contact)))
        case.given(case.accept(account, contact), by=Caller(kind="contact", id=str(contact)))

    def test_is_invited_on_every_account_that_the_old_one_entered_and_on_no_other(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        other, third = case.account(contact), case.account(contact)
        case.active(account, contact)
        case.given(SetPortalAccess(account_id=other, contact_id=contact, login=True))
        case.given(change(contact, case.email(contact), address="new@example.com"))
        states = [case.entry(each, contact).state for each in (account, other, third)]
        assert states == ["invited", "invited", "off"]

    def test_stays_suspended_where_the_old_one_was_and_comes_back_with_an_invitation(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        case.given(ArchiveAccount(account_id=account))
        outcome = case.when(change(contact, case.email(contact), address="new@example.com"))
        assert outcome.types == ["EmailChanged", "PortalAccessChanged"]
        assert case.entry(account, contact).state == "suspended"
        case.given(RestoreAccount(account_id=account))
        assert case.entry(account, contact).state == "invited"

    def test_is_none_if_only_the_case_differs(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        (event,) = case.when(change(contact, case.email(contact), address="B@Example.com")).events
        assert isinstance(event, EmailChanged)
        assert (event.before.address, event.after.address) == ("b@example.com", "B@Example.com")
        assert case.entry(account, contact).allowed

    def test_is_none_if_only_the_label_differs_or_nothing_does(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        assert case.when(change(contact, case.email(contact), label="Work")).types == ["EmailChanged"]
        assert case.when(change(contact, case.email(contact), address="b@example.com", label="Work")).events == ()


def test_a_removed_address_opens_nothing_any_more_and_the_others_stay() -> None:
    case = Case.under("taxdome")
    account, contact = case.linked("b@example.com", "b@example.org")
    first, second = case.email(contact, 0), case.email(contact, 1)
    case.active(account, contact, first)
    case.active(account, contact, second)
    outcome = case.when(RemoveEmail(contact_id=contact, email_id=first))
    assert outcome.types == ["EmailRemoved", "EmailChanged", "PortalAccessChanged"]
    assert not case.entry(account, contact, first).allowed
    assert case.entry(account, contact, second).allowed
