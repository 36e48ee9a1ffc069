"""What a link shows, what it sends mail about, and the warnings when that reaches nobody."""

from collections.abc import Iterable
from uuid import uuid4

import pytest

from support.decisions import Case, Outcome, hashed, new
from vinculum_command.domain.accounts import ArchiveAccount
from vinculum_command.domain.commands import MailWithoutPermission, TopicUncovered
from vinculum_command.domain.contacts.activity import DeactivateContact
from vinculum_command.domain.contacts.emails import AddEmail, ChangeEmail, RemoveEmail
from vinculum_command.domain.links import PutLink, TransferContact, UnlinkContact
from vinculum_command.domain.notifications import ACCOUNTS_WARNED_OF_MAX, SetNotifications, SetPermissions
from vinculum_command.domain.rejections import (
    AccountArchived,
    ContactInactive,
    ContactNotLinked,
    PermissionsFixed,
)
from vinculum_command.domain.unsubscriptions import Unsubscribe
from vinculum_shared.contracts.links import NotificationPreferencesChanged, PermissionsChanged
from vinculum_shared.contracts.tenants import Profile
from vinculum_shared.contracts.topics import FEATURES, TOPICS, Feature, Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId

pytestmark = pytest.mark.unit


def show(account_id: AccountId, contact_id: ContactId, *features: Feature) -> SetPermissions:
    return SetPermissions(account_id=account_id, contact_id=contact_id, features=frozenset(features))


def mail(
    account_id: AccountId, contact_id: ContactId, *topics: Topic, on: bool = True, email_id: EmailId | None = None
) -> SetNotifications:
    return SetNotifications(
        account_id=account_id, contact_id=contact_id, topics=dict.fromkeys(topics, on), email_id=email_id
    )


def uncovered(outcome: Outcome) -> list[tuple[AccountId, Topic]]:
    return [(each.account_id, each.topic) for each in outcome.cautions if isinstance(each, TopicUncovered)]


def without_permission(outcome: Outcome) -> list[Topic]:
    return [each.topic for each in outcome.cautions if isinstance(each, MailWithoutPermission)]


class TestPermissions:
    @pytest.mark.parametrize("profile", ["taxdome", "zoho", "teamleader"])
    def test_are_fixed_by_some_policies(self, profile: Profile) -> None:
        case = Case.under(profile)
        case.refused(show(*case.linked(), "invoices"), PermissionsFixed)

    @pytest.mark.parametrize("profile", ["perfex", "dynamics"])
    def test_are_chosen_for_each_link_under_others(self, profile: Profile) -> None:
        case = Case.under(profile)
        account, contact = case.linked()
        (event,) = case.when(show(account, contact, "support", "invoices")).events
        assert isinstance(event, PermissionsChanged)
        assert event.after == ("invoices", "support")
        assert case.when(show(account, contact, "invoices", "support")).events == ()

    def test_can_be_taken_from_archived_and_inactive_but_not_given_to_them(self) -> None:
        case = Case.under("perfex")
        account, contact = case.linked()
        case.given(ArchiveAccount(account_id=account), show(account, contact, "support"))
        case.refused(show(account, contact, "support", "invoices"), AccountArchived)
        account, contact = case.linked()
        case.given(DeactivateContact(contact_id=contact), show(account, contact))
        case.refused(show(account, contact, "support"), ContactInactive)

    def test_belong_to_a_link(self) -> None:
        case = Case.under("perfex")
        account, (_, contact) = case.account(new()), case.linked()
        case.refused(show(account, contact), ContactNotLinked)


class TestPreferences:
    def test_are_changed_topic_by_topic_and_those_left_out_stay(self) -> None:
        case = Case.under("perfex")
        account, contact = case.linked("b@example.com")
        (event,) = case.when(mail(account, contact, "invoice", "task", on=False)).events
        assert isinstance(event, NotificationPreferencesChanged)
        assert event.before.topics == TOPICS
        assert event.after.topics == tuple(topic for topic in TOPICS if topic not in {"invoice", "task"})
        assert case.when(mail(account, contact, "invoice", on=False)).events == ()

    def test_of_an_address_are_its_own(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com", "b@example.org")
        second = case.email(contact, 1)
        case.given(mail(account, contact, "invoice", email_id=second))
        preferences = case.link(account, contact).preferences
        assert (preferences.topics, preferences.by_email) == ((), {second: {"invoice": True}})

    def test_for_the_link_hold_for_all_its_addresses(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com", "b@example.org")
        first, second = case.email(contact, 0), case.email(contact, 1)
        case.given(mail(account, contact, "task", "invoice", email_id=second))
        case.given(mail(account, contact, "invoice", on=False, email_id=first))
        case.given(mail(account, contact, "invoice"))
        preferences = case.link(account, contact).preferences
        assert (preferences.topics, preferences.by_email) == (("invoice",), {second: {"task": True}})
        case.given(mail(account, contact, "task", on=False))
        assert case.link(account, contact).preferences.by_email == {}

    def test_of_an_address_that_is_not_there_are_not_found(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.given(ArchiveAccount(account_id=account))
        off = mail(account, contact, "invoice", email_id=EmailId(uuid4()))
        assert case.faults(off) == [("/email_id", "email_not_found")]

    def test_can_be_turned_off_on_archived_and_inactive_but_not_on(self) -> None:
        case = Case.under("perfex")
        account, contact = case.linked("b@example.com")
        case.given(DeactivateContact(contact_id=contact), mail(account, contact, "invoice", on=False))
        case.refused(mail(account, contact, "invoice"), ContactInactive)
        case.given(ArchiveAccount(account_id=account), mail(account, contact, "task", on=False))
        case.refused(mail(account, contact, "task"), AccountArchived)


class TestATopicIsUncovered:
    """Warned of when a command takes the last one who gets mail about it, and at no other time (PX-8)."""

    def account(self, case: Case, *addresses: Iterable[str]) -> tuple[AccountId, list[ContactId]]:
        members = [new(*each) for each in addresses]
        return case.account(*members), [ContactId(member["id"]) for member in members]

    def test_by_turning_it_off(self) -> None:
        case = Case.under("perfex")
        account, (first, second) = self.account(case, ["a@example.com"], ["b@example.com"])
        assert uncovered(case.when(mail(account, first, "invoice", "task", on=False))) == []
        assert uncovered(case.when(mail(account, second, "invoice", on=False))) == [(account, "invoice")]
        assert uncovered(case.when(mail(account, second, "invoice", "task", on=False))) == [(account, "task")]

    def test_by_turning_it_off_for_the_one_address(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com", "b@example.org")
        case.given(mail(account, contact, "invoice"))
        case.given(mail(account, contact, "invoice", email_id=case.email(contact, 1)))
        off = mail(account, contact, "invoice", on=False, email_id=case.email(contact, 0))
        assert uncovered(case.when(off)) == []
        off = mail(account, contact, "invoice", on=False, email_id=case.email(contact, 1))
        assert uncovered(case.when(off)) == [(account, "invoice")]

    def test_by_an_unlink_and_by_a_transfer(self) -> None:
        case = Case.under("dynamics", mail_without_permission="send")
        account, (first, second) = self.account(case, ["a@example.com"], ["b@example.com"])
        case.given(mail(account, first, "invoice"), mail(account, second, "invoice", "task"))
        assert uncovered(case.when(UnlinkContact(account_id=account, contact_id=first))) == []
        move = TransferContact(contact_id=second, from_account_id=account, to_account_id=case.account())
        assert uncovered(case.when(move)) == [(account, "invoice"), (account, "task")]

    def test_by_deactivating_on_each_account(self) -> None:
        case = Case.under("taxdome", default_topics="all")
        contact = case.contact("b@example.com")
        account, other = case.account(contact), case.account(contact, new("c@example.com"))
        assert {each for each, _ in uncovered(case.when(DeactivateContact(contact_id=contact)))} == {account}
        assert case.link(other, contact).linked

    def test_by_removing_the_last_address(self) -> None:
        case = Case.under("perfex")
        account, (contact,) = self.account(case, ["b@example.com", "b@example.org"])
        remove = [RemoveEmail(contact_id=contact, email_id=case.email(contact, number)) for number in (0, 1)]
        assert uncovered(case.when(remove[0])) == []
        assert uncovered(case.when(remove[1])) == [(account, topic) for topic in TOPICS]

    def test_by_closing_the_feature_where_such_mail_is_held(self) -> None:
        case = Case.under("perfex")
        account, (contact,) = self.account(case, ["b@example.com"])
        outcome = case.when(show(account, contact, "support", "projects", "contracts", "estimates"))
        assert uncovered(outcome) == [(account, "invoice"), (account, "credit_note")]

    def test_by_preferring_an_address_that_gets_none(self) -> None:
        case = Case.under("perfex")
        account, contact = case.linked("a@example.com", "b@example.com")
        case.given(mail(account, contact, "invoice", on=False, email_id=case.email(contact, 1)))
        prefer = ChangeEmail(contact_id=contact, email_id=case.email(contact, 1), primary=True)
        assert uncovered(case.when(prefer)) == [(account, "invoice")]
        assert case.loads <= 3

    @pytest.mark.parametrize("covered", [False, True], ids=["alone", "one of two"])
    def test_by_an_address_whose_recipient_has_unsubscribed(self, *, covered: bool) -> None:
        case = Case.under("perfex", contact_requires_account=False, unique_contact_email=False)
        account, (contact, *_) = self.account(case, ["a@example.com"], *[["c@example.com"]] * covered)
        wish = {"account_id": account, "contact_id": contact, "address_hash": hashed("b@example.com")}
        case.given(Unsubscribe.model_validate({**wish, "topic": "invoice"}))
        lost = [] if covered else [(account, "invoice")]
        correct = ChangeEmail(contact_id=contact, email_id=case.email(contact), address="b@example.com")
        assert uncovered(case.copy().when(correct)) == lost
        add = AddEmail(contact_id=contact, address="b@example.com", primary=True)
        assert uncovered(case.when(add)) == lost
        assert case.loads <= 4

    def test_not_where_somebody_is_left_who_is_inactive_or_has_no_address_or_may_not_see_it(self) -> None:
        case = Case.under("perfex")
        account, (contact, inactive, nowhere, blind) = self.account(
            case, ["a@example.com"], ["b@example.com"], [], ["c@example.com"]
        )
        assert case.link(account, nowhere).preferences.topics == TOPICS
        case.given(DeactivateContact(contact_id=inactive), show(account, blind))
        assert uncovered(case.when(mail(account, contact, "invoice", on=False))) == [(account, "invoice")]

    def test_not_by_somebody_who_got_no_mail_anyway(self) -> None:
        case = Case.under("perfex", contact_requires_account=False)
        account, (_, nowhere) = self.account(case, [], [])
        assert uncovered(case.when(UnlinkContact(account_id=account, contact_id=nowhere))) == []

    def test_not_while_more_get_it_than_are_known_by_id(self) -> None:
        case = Case.under("perfex")
        account, contacts = self.account(case, *([f"c{number}@example.com"] for number in range(12)))
        outcomes = [case.when(mail(account, contact, "invoice", on=False)) for contact in contacts]
        assert [len(uncovered(outcome)) for outcome in outcomes] == [0] * 11 + [1]

    def test_on_a_limited_number_of_accounts_of_one_contact(self) -> None:
        case = Case.under("taxdome", default_topics="all", min_contacts_per_account=0)
        contact = case.contact("b@example.com")
        for _ in range(ACCOUNTS_WARNED_OF_MAX + 1):
            case.account(contact)
        outcome = case.when(DeactivateContact(contact_id=contact))
        assert len(uncovered(outcome)) == ACCOUNTS_WARNED_OF_MAX * len(TOPICS)


class TestMailWithoutPermission:
    """Warned of when mail is on whose feature is closed, unless the policy will have it so (trap 7)."""

    def test_by_closing_the_feature(self) -> None:
        case = Case.under("perfex")
        account, contact = case.linked("b@example.com")
        outcome = case.when(show(account, contact, *(feature for feature in FEATURES if feature != "invoices")))
        assert without_permission(outcome) == ["invoice", "credit_note"]

    def test_by_turning_the_mail_on_for_the_topic_that_is_turned_on(self) -> None:
        case = Case.under("dynamics")
        account, contact = case.linked("b@example.com")
        assert without_permission(case.when(mail(account, contact, "invoice"))) == ["invoice"]
        assert without_permission(case.when(mail(account, contact, "ticket"))) == ["ticket"]

    def test_not_where_the_mail_is_off_or_the_feature_open(self) -> None:
        case = Case.under("dynamics")
        account, contact = case.linked("b@example.com")
        assert without_permission(case.when(show(account, contact, "invoices"))) == []
        assert without_permission(case.when(mail(account, contact, "invoice"))) == []
        assert without_permission(case.when(mail(account, contact, "invoice", on=False))) == []

    def test_also_where_it_is_sent_if_the_feature_could_be_opened(self) -> None:
        case = Case.under("dynamics", mail_without_permission="send")
        account, contact = case.linked("b@example.com")
        assert without_permission(case.when(mail(account, contact, "invoice"))) == ["invoice"]
        case.given(show(account, contact, "invoices"))
        assert without_permission(case.when(show(account, contact))) == ["invoice"]

    def test_also_where_features_are_fixed_if_it_is_held(self) -> None:
        case = Case.under("zoho", mail_without_permission="hold")
        account, contact = case.linked("b@example.com")
        assert without_permission(case.when(mail(account, contact, "invoice"))) == ["invoice"]

    @pytest.mark.parametrize("profile", ["zoho", "teamleader"])
    def test_not_where_features_are_fixed_and_it_is_sent(self, profile: Profile) -> None:
        case = Case.under(profile)
        account, contact = case.linked("b@example.com")
        assert case.when(mail(account, contact, "invoice")).cautions == ()

    def test_not_by_a_link_that_starts_so(self) -> None:
        case = Case.under("dynamics", default_topics="all")
        account, contact = case.account(), case.contact("b@example.com")
        assert case.when(PutLink(account_id=account, contact_id=contact)).cautions == ()

    def test_that_is_held_from_the_start_was_never_covered(self) -> None:
        case = Case.under("dynamics")
        account, contact = case.linked("b@example.com")
        assert uncovered(case.when(mail(account, contact, "invoice"))) == []
        assert uncovered(case.when(mail(account, contact, "invoice", on=False))) == []

    def test_nothing_is_warned_of_where_an_address_is_added(self) -> None:
        case = Case.under("perfex")
        _, contact = case.linked("b@example.com")
        assert case.when(AddEmail(contact_id=contact, address="b@example.org", primary=True)).cautions == ()
