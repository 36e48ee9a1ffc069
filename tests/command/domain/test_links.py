"""Links: who may be linked to whom, what a link says, and what ends with it."""

from datetime import timedelta
from uuid import uuid4

import pytest
from pydantic import ValidationError

from support.decisions import Case, new
from vinculum_command.domain.accounts import ArchiveAccount
from vinculum_command.domain.contacts.activity import DeactivateContact
from vinculum_command.domain.links import (
    ChangeLink,
    LinkAccounts,
    LinkContacts,
    PutLink,
    TransferContact,
    UnlinkContact,
)
from vinculum_command.domain.rejections import (
    AccountArchived,
    AccountNotFound,
    AccountRequired,
    ContactAlreadyLinked,
    ContactInactive,
    ContactNotFound,
    ContactNotLinked,
    IdTaken,
    LastContact,
    PrimaryRequired,
)
from vinculum_shared.contracts.links import ContactLinked, ContactUnlinked, LinkChanged, LinkTerms
from vinculum_shared.contracts.tenants import Profile
from vinculum_shared.contracts.topics import FEATURES, TOPICS
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.problems import Invalid

pytestmark = pytest.mark.unit

NOBODY = ContactId(uuid4())
NOWHERE = AccountId(uuid4())


def link_contacts(account_id: AccountId, *contacts: object) -> LinkContacts:
    return LinkContacts.model_validate({"account_id": account_id, "contacts": contacts})


@pytest.mark.parametrize("profile", ["taxdome", "teamleader"])
def test_a_contact_may_have_many_accounts(profile: Profile) -> None:
    case = Case.under(profile)
    contact = case.contact()
    accounts = [case.account(new()) for _ in range(3)]
    command = LinkAccounts.model_validate(
        {"contact_id": contact, "accounts": [{"account_id": account} for account in accounts]}
    )
    assert case.when(command).types == ["ContactLinked"] * 3


@pytest.mark.parametrize("profile", ["zoho", "perfex", "dynamics"])
def test_a_contact_may_have_one_account_only_and_the_refusal_names_it(profile: Profile) -> None:
    case = Case.under(profile)
    account, contact = case.linked()
    refusal = case.refused(PutLink(account_id=case.account(new()), contact_id=contact), ContactAlreadyLinked)
    assert refusal.facts == {"contact_id": contact, "account_id": account}
    assert case.link(account, contact).linked


def test_once_unlinked_a_contact_is_free_for_another_account() -> None:
    case = Case.under("dynamics")
    account, contact = case.linked()
    case.given(UnlinkContact(account_id=account, contact_id=contact))
    assert case.when(PutLink(account_id=case.account(), contact_id=contact)).created


def test_several_contacts_are_linked_all_or_none() -> None:
    case = Case.under("dynamics")
    account, (_, taken), free = case.account(), case.linked(), case.contact()
    command = link_contacts(account, {"contact_id": free}, {"contact_id": taken})
    case.refused(command, ContactAlreadyLinked)
    assert not case.link(account, free).linked


def test_a_pair_that_is_linked_already_adds_no_event() -> None:
    case = Case.under("taxdome")
    account, contact = case.linked()
    outcome = case.when(link_contacts(account, {"contact_id": contact, "role": "CEO"}, {"new_contact": new()}))
    assert outcome.types == ["ContactCreated", "ContactLinked"]
    assert case.link(account, contact).terms.role is None


def test_the_same_contact_twice_in_one_command_is_linked_once() -> None:
    case = Case.under("zoho")
    account, contact = case.account(), case.contact()
    assert case.when(link_contacts(account, {"contact_id": contact}, {"contact_id": contact})).types == [
        "ContactLinked"
    ]


def test_a_new_contact_needs_an_id_of_its_own() -> None:
    case = Case.under("zoho")
    account, contact = case.linked()
    case.refused(link_contacts(account, {"new_contact": new() | {"id": contact}}), IdTaken)


def test_a_list_names_an_existing_or_a_new_contact_never_both_or_neither() -> None:
    for contact in ({}, {"contact_id": NOBODY, "new_contact": new()}):
        with pytest.raises(ValidationError, match="either contact_id or new_contact"):
            link_contacts(NOWHERE, contact)


@pytest.mark.parametrize(
    ("profile", "features", "topics"),
    [
        ("taxdome", FEATURES, ()),
        ("zoho", ("support",), ()),
        ("perfex", FEATURES, TOPICS),
        ("dynamics", (), ()),
        ("teamleader", (), ()),
    ],
)
def test_a_link_starts_from_the_defaults(profile: Profile, features: object, topics: object) -> None:
    case = Case.under(profile)
    account = case.account(new())
    (_, event) = case.when(link_contacts(account, {"new_contact": new()})).events
    assert isinstance(event, ContactLinked)
    assert (event.features, event.topics, event.source) == (features, topics, "api")


def test_put_links_then_changes_and_keeps_the_fields_left_out() -> None:
    case = Case.under("taxdome")
    account, contact = case.account(new()), case.contact()
    put = PutLink(account_id=account, contact_id=contact, role="CEO", job_title="Chief")
    assert case.when(put).created
    assert case.when(put).events == ()
    outcome = case.when(PutLink(account_id=account, contact_id=contact, role="CFO"))
    assert (outcome.types, outcome.created) == (["LinkChanged"], False)
    terms = case.link(account, contact).terms
    assert (terms.role, terms.job_title) == ("CFO", "Chief")


def test_null_clears_a_field() -> None:
    case = Case.under("taxdome")
    account, contact = case.linked()
    case.given(ChangeLink(account_id=account, contact_id=contact, role="CEO", job_title="Chief", primary=True))
    case.given(ChangeLink(account_id=account, contact_id=contact, role=None, job_title=None, primary=None))
    assert case.link(account, contact).terms == LinkTerms(role=None, job_title=None, primary=False)


def test_of_an_account_s_contacts_at_most_one_is_primary() -> None:
    case = Case.under("taxdome")
    first, second = case.contact(), case.contact()
    account = case.account(first, second)
    case.given(PutLink(account_id=account, contact_id=first, primary=True))
    demoted, promoted = case.when(ChangeLink(account_id=account, contact_id=second, primary=True)).events
    assert isinstance(demoted, LinkChanged)
    assert isinstance(promoted, LinkChanged)
    assert (demoted.contact_id, demoted.before.primary, demoted.after.primary) == (first, True, False)
    assert (promoted.contact_id, promoted.after.primary) == (second, True)


def test_the_primary_contact_is_optional() -> None:
    case = Case.under("taxdome")
    account, contact = case.linked()
    case.given(PutLink(account_id=account, contact_id=contact, primary=True))
    case.given(PutLink(account_id=account, contact_id=contact, primary=False))
    assert not case.link(account, contact).terms.primary


class TestWhereTheFirstContactIsForcedToBePrimary:
    def account(self, case: Case) -> tuple[AccountId, ContactId, ContactId]:
        first, second = new(), new()
        return case.account(first, second), first["id"], second["id"]

    def test_the_first_one_is_and_the_second_is_not(self) -> None:
        case = Case.under("perfex")
        account, first, second = self.account(case)
        assert case.link(account, first).terms.primary
        assert not case.link(account, second).terms.primary

    def test_it_moves_when_another_becomes_primary(self) -> None:
        case = Case.under("perfex")
        account, first, second = self.account(case)
        outcome = case.when(ChangeLink(account_id=account, contact_id=second, primary=True))
        assert outcome.types == ["LinkChanged", "LinkChanged"]
        assert not case.link(account, first).terms.primary

    def test_it_moves_to_a_new_contact_who_comes_as_primary(self) -> None:
        case = Case.under("perfex")
        account, first, _ = self.account(case)
        outcome = case.when(link_contacts(account, {"new_contact": new(), "primary": True}))
        assert outcome.types == ["ContactCreated", "LinkChanged", "ContactLinked"]
        assert not case.link(account, first).terms.primary

    def test_it_can_t_be_unticked(self) -> None:
        case = Case.under("perfex")
        account, first, _ = self.account(case)
        case.refused(PutLink(account_id=account, contact_id=first, primary=False), PrimaryRequired)

    def test_the_primary_contact_stays_while_there_are_others(self) -> None:
        case = Case.under("perfex", contact_requires_account=False)
        account, first, second = self.account(case)
        case.refused(UnlinkContact(account_id=account, contact_id=first), PrimaryRequired)
        case.given(UnlinkContact(account_id=account, contact_id=second))
        case.given(UnlinkContact(account_id=account, contact_id=first))
        assert case.when(PutLink(account_id=account, contact_id=second)).types == ["ContactLinked"]
        assert case.link(account, second).terms.primary

    def test_nor_can_it_be_moved_to_another_account(self) -> None:
        case = Case.under("perfex")
        account, first, _ = self.account(case)
        move = TransferContact(contact_id=first, from_account_id=account, to_account_id=case.account(new()))
        case.refused(move, PrimaryRequired)


def test_an_account_keeps_its_last_contact() -> None:
    case = Case.under("taxdome")
    contact = case.contact()
    account = case.account(contact)
    assert case.refused(UnlinkContact(account_id=account, contact_id=contact), LastContact).facts == {
        "account_id": account
    }


@pytest.mark.parametrize("profile", ["zoho", "dynamics", "teamleader"])
def test_an_account_without_contacts_is_legal(profile: Profile) -> None:
    case = Case.under(profile)
    contact = case.contact()
    account = case.account(contact)
    assert case.when(UnlinkContact(account_id=account, contact_id=contact)).types == ["ContactUnlinked"]


def test_a_contact_who_must_have_an_account_keeps_the_last_one() -> None:
    case = Case.under("perfex")
    account, contact = case.linked()
    case.refused(UnlinkContact(account_id=account, contact_id=contact), AccountRequired)


def test_an_unlink_carries_what_ends_and_the_link_starts_anew_from_the_defaults() -> None:
    case = Case.under("taxdome", default_features="none", features_fixed=False)
    account, contact = case.linked()
    case.given(PutLink(account_id=account, contact_id=contact, role="CEO"))
    (event,) = case.when(UnlinkContact(account_id=account, contact_id=contact, comment="Left us")).events
    assert isinstance(event, ContactUnlinked)
    assert (event.before.role, event.comment) == ("CEO", "Left us")
    case.given(PutLink(account_id=account, contact_id=contact))
    assert case.link(account, contact).terms.role is None


def test_what_is_not_linked_can_t_be_unlinked() -> None:
    case = Case.under("taxdome")
    account, contact = case.account(new()), case.contact()
    case.refused(UnlinkContact(account_id=account, contact_id=contact), ContactNotLinked)


def test_taking_away_is_allowed_on_archived_and_inactive_too() -> None:
    case = Case.under("taxdome")
    account, contact = case.linked()
    case.given(ArchiveAccount(account_id=account), DeactivateContact(contact_id=contact))
    assert case.when(UnlinkContact(account_id=account, contact_id=contact)).types == ["ContactUnlinked"]


class TestTransfer:
    def test_moves_a_contact_where_only_one_account_is_allowed(self) -> None:
        case = Case.under("dynamics")
        account, contact = case.linked("b@example.com")
        case.given(ChangeLink(account_id=account, contact_id=contact, role="CEO", primary=True))
        case.active(account, contact)
        other = case.account()
        outcome = case.when(TransferContact(contact_id=contact, from_account_id=account, to_account_id=other))
        assert outcome.types == ["ContactUnlinked", "PortalAccessChanged", "ContactLinked"]
        assert not case.entry(other, contact).allowed
        terms = case.link(other, contact).terms
        assert (terms.role, terms.primary) == ("CEO", False)

    def test_to_the_same_account_changes_nothing(self) -> None:
        case = Case.under("dynamics")
        account, contact = case.linked()
        move = TransferContact(contact_id=contact, from_account_id=account, to_account_id=account)
        assert case.when(move).events == ()

    def test_leaves_no_account_without_its_last_contact(self) -> None:
        case = Case.under("taxdome")
        contact = case.contact()
        account, other = case.account(contact), case.account(new())
        move = TransferContact(contact_id=contact, from_account_id=account, to_account_id=other)
        case.refused(move, LastContact)

    def test_goes_to_accounts_that_are_there_and_not_archived(self) -> None:
        case = Case.under("dynamics")
        (account, contact), archived = case.linked(), case.account()
        case.given(ArchiveAccount(account_id=archived))
        move = TransferContact(contact_id=contact, from_account_id=account, to_account_id=archived)
        case.refused(move, AccountArchived)
        nowhere = move.model_copy(update={"to_account_id": NOWHERE})
        assert case.faults(nowhere) == [("/to_account_id", "account_not_found")]


def test_existence_is_checked_before_archived_or_inactive_and_that_before_cardinality() -> None:
    case = Case.under("dynamics")
    (archived, inactive), other = case.linked(), case.account()
    case.given(ArchiveAccount(account_id=archived))
    case.refused(PutLink(account_id=archived, contact_id=NOBODY), ContactNotFound)
    case.refused(PutLink(account_id=NOWHERE, contact_id=inactive), AccountNotFound)
    case.refused(ChangeLink(account_id=archived, contact_id=case.contact()), ContactNotLinked)
    case.refused(ChangeLink(account_id=archived, contact_id=inactive, role="CEO"), AccountArchived)
    case.given(DeactivateContact(contact_id=inactive))
    case.refused(PutLink(account_id=other, contact_id=inactive), ContactInactive)


def test_nothing_is_true_in_the_future() -> None:
    case = Case.under("dynamics")
    account, contact = case.account(), case.contact()
    later = PutLink(account_id=account, contact_id=contact, effective_at=case.at + timedelta(seconds=1))
    assert case.refused(later, Invalid).facts["errors"][0]["code"] == "in_the_future"
    case.given(later.model_copy(update={"effective_at": case.at}))
