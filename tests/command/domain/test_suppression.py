"""Addresses that mail can't arrive at."""

from uuid import uuid4

import pytest

from support.decisions import Case, hashed
from vinculum_command.domain.access import SetPortalAccess
from vinculum_command.domain.accounts import ArchiveAccount, RestoreAccount
from vinculum_command.domain.commands import AddressSuppressed, Command
from vinculum_command.domain.contacts.activity import DeactivateContact, ReactivateContact
from vinculum_command.domain.contacts.emails import AddEmail, ChangeEmail
from vinculum_command.domain.contacts.suppression import ReleaseEmail, SuppressEmail
from vinculum_command.domain.records import CreateRecord, RemindRecord, SendRecord
from vinculum_shared.contracts.values import ContactId, RecordId

pytestmark = pytest.mark.unit

ADDRESS = "b@example.com"


def suppress(contact_id: ContactId, address: str = ADDRESS) -> SuppressEmail:
    return SuppressEmail(contact_id=contact_id, address_hash=hashed(address))


def release(contact_id: ContactId, address: str = ADDRESS) -> ReleaseEmail:
    return ReleaseEmail(contact_id=contact_id, address_hash=hashed(address))


def warned(case: Case, command: Command) -> list[ContactId]:
    return [each.contact_id for each in case.copy().when(command).cautions if isinstance(each, AddressSuppressed)]


def test_what_is_so_already_is_no_event() -> None:
    case = Case.under("perfex")
    _, contact = case.linked(ADDRESS)
    commands = [release(contact), suppress(contact), suppress(contact), release(contact), release(contact)]
    types = [case.when(command).types for command in commands]
    assert types == [[], ["EmailSuppressed"], [], ["EmailReleased"], []]


def test_commands_that_cause_mail_to_the_address_warn_until_it_is_released() -> None:
    case = Case.under("perfex", default_topics="all")
    account, contact = case.linked(ADDRESS)
    invoice = RecordId(uuid4())
    case.given(CreateRecord.model_validate({"id": invoice, "type": "invoice", "account_id": account}))
    commands: list[Command] = [
        SendRecord(record_id=invoice),
        SendRecord.model_validate({"record_id": invoice, "contact_ids": [contact]}),
        RemindRecord(record_id=invoice, kind="overdue"),
        SetPortalAccess(account_id=account, contact_id=contact, login=True),
    ]
    assert [warned(case, command) for command in commands] == [[], [], [], []]
    case.given(suppress(contact))
    assert [warned(case, command) for command in commands] == [[contact]] * 4
    case.given(release(contact))
    assert [warned(case, command) for command in commands] == [[], [], [], []]


def test_an_invitation_that_is_under_way_to_the_address_is_warned_of() -> None:
    case = Case.under("perfex")
    account, contact = case.linked(ADDRESS)
    invite = SetPortalAccess(account_id=account, contact_id=contact, login=True)
    case.given(invite, suppress(contact))
    assert case.when(invite).codes == ["invitation_pending", "address_suppressed"]


def test_an_invitation_that_is_sent_anew_to_the_address_is_warned_of() -> None:
    """By restoring the account or reactivating the contact, which gives back an invitation that was not used yet."""
    case = Case.under("perfex")
    account, contact = case.linked(ADDRESS)
    case.given(SetPortalAccess(account_id=account, contact_id=contact, login=True), suppress(contact))
    suspend: list[tuple[Command, Command]] = [
        (ArchiveAccount(account_id=account), RestoreAccount(account_id=account)),
        (DeactivateContact(contact_id=contact), ReactivateContact(contact_id=contact)),
    ]
    for away, back in suspend:
        case.given(away)
        outcome = case.when(back)
        assert outcome.codes == ["address_suppressed"]
        assert case.loads <= 3


def test_whoever_else_has_the_address_is_warned_of() -> None:
    case = Case.under("taxdome")
    _, contact = case.linked(ADDRESS)
    _, other = case.linked("c@example.com")
    case.given(suppress(contact))
    assert warned(case, AddEmail(contact_id=other, address=ADDRESS)) == [other]
    change = ChangeEmail(contact_id=other, email_id=case.email(other), address=ADDRESS)
    assert warned(case, change) == [other]
    assert warned(case, AddEmail(contact_id=other, address="d@example.com")) == []
