"""Records: to whom they are sent, and when they are reminded of."""

import re
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from pydantic import ValidationError

from support.decisions import Case, Outcome, hashed, new
from support.firms import an_email
from vinculum_command.domain.accounts import ArchiveAccount
from vinculum_command.domain.contacts.activity import DeactivateContact
from vinculum_command.domain.heads.view import LINKS_AT_ONCE_MAX
from vinculum_command.domain.links import TransferContact
from vinculum_command.domain.notifications import SetNotifications, SetPermissions
from vinculum_command.domain.records import CreateRecord, RemindRecord, SendRecord
from vinculum_command.domain.rejections import (
    AccountArchived,
    ContactInactive,
    EmailRequired,
    IdTaken,
    NotOverdue,
    RecordNotFound,
)
from vinculum_command.domain.unsubscriptions import Unsubscribe
from vinculum_shared.contracts.contacts import ContactCreated
from vinculum_shared.contracts.links import ContactLinked
from vinculum_shared.contracts.records import RecordCreated, RecordReminded, RecordSent
from vinculum_shared.contracts.topics import FEATURES
from vinculum_shared.contracts.values import AccountId, ContactId, RecordId
from vinculum_shared.problems import Invalid

pytestmark = pytest.mark.unit


def invoice(case: Case, account_id: AccountId, **fields: object) -> RecordId:
    command = CreateRecord.model_validate({"type": "invoice", "account_id": account_id, "title": "Works", **fields})
    case.given(command)
    return command.id


def send(record_id: RecordId, *contacts: ContactId) -> SendRecord:
    return SendRecord(record_id=record_id, contact_ids=contacts or None)


def recipients(outcome: Outcome) -> tuple[list[ContactId], bool]:
    (event,) = outcome.events
    assert isinstance(event, RecordSent)
    return [each.contact_id for each in event.recipients], event.override


def an_invoice_of_two() -> tuple[Case, AccountId, ContactId, ContactId, RecordId]:
    """Of whom the first wants mail about invoices, and the second does not."""
    case = Case.under("perfex")
    first, second = new("a@example.com"), new("b@example.com")
    account = case.account(first, second)
    case.given(SetNotifications(account_id=account, contact_id=second["id"], topics={"invoice": False}))
    return case, account, first["id"], second["id"], invoice(case, account, due=case.at.date())


class TestSending:
    def test_goes_to_those_who_want_mail_about_the_topic(self) -> None:
        case, _, first, _, record = an_invoice_of_two()
        assert recipients(case.when(send(record))) == ([first], False)

    def test_goes_to_all_who_are_chosen_by_hand_and_says_so(self) -> None:
        case, _, first, second, record = an_invoice_of_two()
        assert recipients(case.when(send(record, second))) == ([second], True)
        assert recipients(case.when(send(record, second, first, second))) == ([second, first], True)

    def test_by_hand_leaves_out_a_recipient_who_has_unsubscribed_and_warns(self) -> None:
        case, account, first, second, record = an_invoice_of_two()
        case.given(
            Unsubscribe(account_id=account, contact_id=first, topic="invoice", address_hash=hashed("a@example.com"))
        )
        outcome = case.when(send(record, first, second))
        assert recipients(outcome) == ([second], True)
        assert outcome.codes == ["unsubscribed"]
        outcome = case.when(send(record, first))
        assert recipients(outcome) == ([], True)
        assert outcome.codes == ["unsubscribed", "topic_uncovered"]

    def test_by_hand_beats_the_hold_too(self) -> None:
        case, account, first, _, record = an_invoice_of_two()
        case.given(SetPermissions(account_id=account, contact_id=first, features=frozenset()))
        outcome = case.when(send(record))
        assert recipients(outcome) == ([], False)
        assert outcome.codes == ["topic_uncovered"]
        assert recipients(case.when(send(record, first))) == ([first], True)

    def test_goes_to_each_address_that_has_it_on(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com", "b@example.org")
        second = case.email(contact, 1)
        on = SetNotifications(account_id=account, contact_id=contact, topics={"invoice": True}, email_id=second)
        case.given(on)
        (event,) = case.when(send(invoice(case, account))).events
        assert isinstance(event, RecordSent)
        assert [each.email_id for each in event.recipients] == [second]

    def test_that_reaches_nobody_is_recorded_and_warned_of(self) -> None:
        case = Case.under("taxdome")
        outcome = case.when(send(invoice(case, case.account(new("b@example.com")))))
        assert (recipients(outcome), outcome.codes) == (([], False), ["topic_uncovered"])

    def test_leaves_out_who_is_inactive_and_refuses_to_choose_them(self) -> None:
        case, _, first, _, record = an_invoice_of_two()
        case.given(DeactivateContact(contact_id=first))
        assert recipients(case.when(send(record))) == ([], False)
        case.refused(send(record, first), ContactInactive)

    def test_is_refused_to_those_who_are_not_linked_or_have_no_address(self) -> None:
        case, account, first, _, record = an_invoice_of_two()
        elsewhere = case.linked("c@example.com")[1]
        assert case.faults(send(record, first, elsewhere)) == [("/contact_ids/1", "contact_not_linked")]
        assert case.faults(send(record, ContactId(uuid4()))) == [("/contact_ids/0", "contact_not_found")]
        nowhere = case.contact(link_accounts=[{"account_id": account}])
        case.refused(send(record, nowhere), EmailRequired)

    def test_is_not_for_archived_accounts(self) -> None:
        case, account, _, _, record = an_invoice_of_two()
        case.given(ArchiveAccount(account_id=account))
        case.refused(send(record), AccountArchived)
        case.refused(RemindRecord(record_id=record, kind="overdue"), AccountArchived)

    def test_needs_a_choice_where_there_are_more_contacts_than_one_commit_looks_at(self) -> None:
        case = Case.under("dynamics")
        account = case.account()
        for _ in range(LINKS_AT_ONCE_MAX + 1):
            contact = ContactId(uuid4())
            case.happened(
                ContactCreated(contact_id=contact, emails=(an_email("b@example.com", primary=True),)),
                ContactLinked(account_id=account, contact_id=contact, features=FEATURES),
            )
        record = invoice(case, account)
        assert case.refused(send(record), Invalid).facts["errors"][0]["pointer"] == "/contact_ids"
        assert recipients(case.when(send(record, contact))) == ([contact], True)


class TestReminding:
    def test_is_for_what_is_overdue_not_for_what_is_due_today(self) -> None:
        case, _, _, _, record = an_invoice_of_two()
        remind = RemindRecord(record_id=record, kind="overdue")
        assert case.refused(remind, NotOverdue).facts == {"record_id": record, "due": case.at.date()}
        case.at += timedelta(days=1)
        outcome = case.when(remind)
        (event,) = outcome.events
        assert isinstance(event, RecordReminded)
        assert (event.topic, event.kind, outcome.cautions) == ("invoice", "overdue", ())

    def test_of_what_has_no_date_is_up_to_whoever_asks_for_it(self) -> None:
        case, account, _, _, _ = an_invoice_of_two()
        assert case.when(RemindRecord(record_id=invoice(case, account), kind="overdue")).types == ["RecordReminded"]

    def test_of_what_nobody_wants_mail_about_is_warned_of(self) -> None:
        case, account, first, _, record = an_invoice_of_two()
        case.given(SetNotifications(account_id=account, contact_id=first, topics={"invoice": False}))
        case.at += timedelta(days=1)
        assert case.when(RemindRecord(record_id=record, kind="overdue")).codes == ["topic_uncovered"]


class TestARecord:
    def test_stays_with_its_account_when_its_contact_moves(self) -> None:
        case = Case.under("dynamics")
        account, contact = case.linked("b@example.com")
        record = invoice(case, account, contact_id=contact)
        other = case.account()
        case.given(TransferContact(contact_id=contact, from_account_id=account, to_account_id=other))
        (event,) = case.when(send(record)).events
        assert isinstance(event, RecordSent)
        assert event.account_id == account

    def test_is_made_for_an_account_that_is_there_and_not_archived(self) -> None:
        case = Case.under("dynamics")
        account = case.account()
        case.given(ArchiveAccount(account_id=account))
        archived = CreateRecord(type="invoice", account_id=account)
        case.refused(archived, AccountArchived)
        nowhere = archived.model_copy(update={"account_id": AccountId(uuid4())})
        assert case.faults(nowhere) == [("/account_id", "account_not_found")]
        case.refused(archived.model_copy(update={"contact_id": ContactId(uuid4())}), Invalid)

    def test_has_an_amount_in_a_currency(self) -> None:
        case = Case.under("zoho")
        invoice(case, case.account(), amount="1250.00", currency="EUR")
        created = case.events[-1]
        assert isinstance(created, RecordCreated)
        assert (created.amount, created.currency) == (Decimal("1250.00"), "EUR")

    @pytest.mark.parametrize("amount", ["0", "0.0000", "-12.5", "007", "99999999999999.9999", 0, -1, 1e3, 0.1])
    def test_has_its_amount_in_plain_decimal_notation(self, amount: object) -> None:
        created = CreateRecord.model_validate({"type": "invoice", "account_id": uuid4(), "amount": amount})
        assert created.amount == Decimal(str(amount))
        assert re.fullmatch(r"-?\d+(\.\d+)?", created.model_dump(mode="json")["amount"])

    @pytest.mark.parametrize(
        "amount",
        [
            *("1e3", "1E+3", "١٢", "1_000", " 5 ", "5\n", "+5", ".5", "5.", "-0", "-0.00", "", "-", "NaN", "Infinity"),
            *("0.0000000", "1.23456", "1" * 15, "1,5"),
        ],
    )
    def test_is_refused_with_an_amount_in_another_notation(self, amount: str) -> None:
        with pytest.raises(ValidationError, match="Give a plain decimal number"):
            CreateRecord.model_validate({"type": "invoice", "account_id": uuid4(), "amount": amount})

    def test_never_has_a_negative_zero(self) -> None:
        created = CreateRecord.model_validate({"type": "invoice", "account_id": uuid4(), "amount": -0.0})
        assert str(created.amount) == "0.0"

    def test_has_the_fields_of_its_type(self) -> None:
        with pytest.raises(ValidationError, match="needs account_id"):
            CreateRecord.model_validate({"type": "invoice"})

    def test_has_an_id_of_its_own(self) -> None:
        case = Case.under("dynamics")
        account = case.account()
        case.refused(CreateRecord(type="invoice", account_id=account, id=invoice(case, account)), IdTaken)

    def test_that_is_not_there_is_not_found(self) -> None:
        case = Case.under("dynamics")
        nothing = RecordId(uuid4())
        case.refused(send(nothing), RecordNotFound)
        case.refused(RemindRecord(record_id=nothing, kind="overdue"), RecordNotFound)
