"""An id that is unknown: 404 where the path has it, else 422 at the field that has it."""

import re
from collections.abc import Iterator
from typing import Any, Final, NewType, get_args

import pytest
from pydantic import BaseModel

from support.decisions import Case, new
from vinculum_command.domain.access import SetPortalAccess
from vinculum_command.domain.accounts import CreateAccount
from vinculum_command.domain.commands import Command
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.links import LinkAccounts, LinkContacts, TransferContact
from vinculum_command.domain.notifications import SetNotifications
from vinculum_command.domain.records import CreateRecord, SendRecord
from vinculum_command.domain.staff import AddStaffUser, DeactivateStaffUser
from vinculum_command.http.routes import COMMANDS, PATH_FIELDS
from vinculum_shared.contracts.values import ContactId
from vinculum_shared.problems import NotFound

pytestmark = pytest.mark.unit

UNKNOWN: Final = "01990000-0000-7000-8000-0000000000ff"


def founded() -> tuple[Case, dict[str, Any]]:
    """A tenant with one of each thing, and their ids."""
    case = Case.under("dynamics")
    account, contact = case.linked("b@example.com")
    record = CreateRecord(type="invoice", account_id=account)
    staff = AddStaffUser(name="Sam", email="sam@example.com", roles=("agent",))
    case.given(record, staff)
    return case, {"account": account, "contact": contact, "record": record.id, "staff": staff.id}


def bodies(known: dict[str, Any]) -> Iterator[tuple[Command, str, str]]:
    """Give, for each id that a body may have, a command in which it is unknown; where it is; and the code."""
    account, contact, record = known["account"], known["contact"], known["record"]
    pair = {"account_id": account, "contact_id": contact}
    members = [{"contact_id": contact}, {"contact_id": UNKNOWN}]
    accounts = [{"account_id": account}, {"account_id": UNKNOWN}]
    brought = [{"new_contact": new()}, {"contact_id": UNKNOWN}]
    move = {"contact_id": contact, "from_account_id": account, "to_account_id": account}
    invoice = {"type": "invoice", **pair}
    for kind, fields, where, code in (
        (CreateAccount, {"name": "A", "link_contacts": members[1:]}, "/link_contacts/0/contact_id", "contact"),
        (CreateContact, {"link_accounts": accounts[1:]}, "/link_accounts/0/account_id", "account"),
        (LinkContacts, {"account_id": account, "contacts": members}, "/contacts/1/contact_id", "contact"),
        (LinkContacts, {"account_id": account, "contacts": brought}, "/contacts/1/contact_id", "contact"),
        (LinkAccounts, {"contact_id": contact, "accounts": accounts}, "/accounts/1/account_id", "account"),
        (TransferContact, move | {"from_account_id": UNKNOWN}, "/from_account_id", "account"),
        (TransferContact, move | {"to_account_id": UNKNOWN}, "/to_account_id", "account"),
        (SetPortalAccess, {**pair, "login": True, "email_id": UNKNOWN}, "/email_id", "email"),
        (SetNotifications, {**pair, "topics": {"task": False}, "email_id": UNKNOWN}, "/email_id", "email"),
        (DeactivateStaffUser, {"staff_id": known["staff"], "successor_id": UNKNOWN}, "/successor_id", "staff"),
        (CreateRecord, invoice | {"account_id": UNKNOWN}, "/account_id", "account"),
        (CreateRecord, invoice | {"contact_id": UNKNOWN}, "/contact_id", "contact"),
        (SendRecord, {"record_id": record, "contact_ids": [contact, UNKNOWN]}, "/contact_ids/1", "contact"),
    ):
        yield kind.model_validate(fields), where, f"{code}_not_found"


def test_in_a_body_is_pointed_at() -> None:
    case, known = founded()
    for command, where, code in bodies(known):
        assert case.faults(command) == [(where, code)], command


def test_of_a_body_every_one_is_tried() -> None:
    _, known = founded()
    tried = {(type(command), re.sub(r"/\d+", "/n", where)) for command, where, _ in bodies(known)}
    assert tried == {
        (kind, f"/{field}")
        for kind in COMMANDS.values()
        for field in references(kind)
        if field not in PATH_FIELDS[kind]
    }


def references(model: type[BaseModel]) -> Iterator[str]:
    """Name the fields that refer to something by its id."""
    for name, field in model.model_fields.items():
        if name != "id":
            yield from (f"{name}{inner}" for inner in inside(field.annotation))


def inside(annotation: Any) -> Iterator[str]:
    many = "/n" if getattr(annotation, "__origin__", None) is tuple else ""
    if isinstance(annotation, NewType):
        yield ""
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from (f"/{each}" for each in references(annotation))
    for argument in get_args(annotation):
        yield from (f"{many}{each}" for each in inside(argument))


def test_in_a_path_is_not_found_though_the_body_has_the_same_value() -> None:
    case, _ = founded()
    for command in (
        LinkAccounts.model_validate({"contact_id": UNKNOWN, "accounts": [{"account_id": UNKNOWN}]}),
        LinkContacts.model_validate({"account_id": UNKNOWN, "contacts": [{"contact_id": UNKNOWN, "role": UNKNOWN}]}),
        TransferContact.model_validate(dict.fromkeys(TransferContact.model_fields, UNKNOWN) | {"effective_at": None}),
        DeactivateStaffUser.model_validate({"staff_id": UNKNOWN, "successor_id": UNKNOWN}),
        SendRecord.model_validate({"record_id": UNKNOWN, "contact_ids": [UNKNOWN]}),
    ):
        case.refused(command, NotFound)


def test_of_a_contact_who_is_not_linked_is_pointed_at_in_the_body() -> None:
    case, known = founded()
    stranger = case.contact("c@example.com")
    other = case.account()
    move = {"contact_id": stranger, "from_account_id": known["account"], "to_account_id": other}
    assert case.faults(TransferContact.model_validate(move)) == [("/from_account_id", "contact_not_linked")]
    send = SendRecord(record_id=known["record"], contact_ids=(ContactId(known["contact"]), stranger))
    assert case.faults(send) == [("/contact_ids/1", "contact_not_linked")]
