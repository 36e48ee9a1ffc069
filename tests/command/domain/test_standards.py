"""Codes of public standards: commands name those that exist, and what is stored stays readable."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from support.decisions import Case
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.contacts.profiles import ChangeContact
from vinculum_command.domain.records import CreateRecord
from vinculum_command.domain.standards import Currency, Locale
from vinculum_command.domain.tenants import ChangeTenant, RegisterTenant
from vinculum_shared.contracts.contacts import ContactChanged, ContactCreated
from vinculum_shared.contracts.values import ContactId

pytestmark = pytest.mark.unit

ID = "01980000-0000-7000-8000-000000000001"
ADMIN = {"name": "Ada", "email": "ada@example.com"}


@pytest.mark.parametrize("tag", ["en", "it", "it-AT", "en-MX", "it-US", "ro-RO", "tl", "iw", "yi", "pt-BR"])
def test_any_language_may_be_named_with_any_region(tag: str) -> None:
    assert TypeAdapter(Locale).validate_python(tag) == tag


@pytest.mark.parametrize("tag", ["xx", "xx-YY", "jp", "it-XX", "en-UK", "italian", "it_IT", "IT", "it-it", "", "it-"])
@pytest.mark.parametrize(
    ("command", "fields"),
    [
        (RegisterTenant, {"tenant": "acme", "name": "Acme", "profile": "zoho", "admin": ADMIN}),
        (ChangeTenant, {"tenant": "acme"}),
        (CreateContact, {}),
        (ChangeContact, {"contact_id": ID}),
    ],
)
def test_a_tag_that_is_no_language_is_refused(command: Any, fields: dict[str, Any], tag: str) -> None:
    with pytest.raises(ValidationError) as refused:
        command.model_validate({**fields, "locale": tag})
    (error,) = refused.value.errors()
    assert (error["loc"], error["type"]) == (("locale",), "unknown_locale")


@pytest.mark.parametrize("code", ["EUR", "JPY", "KWD", "CLF", "ITL"])
def test_a_currency_may_be_any_that_is_or_was_money(code: str) -> None:
    assert TypeAdapter(Currency).validate_python(code) == code


@pytest.mark.parametrize("code", ["eur", "€", "EURO", "ABC", "XXX", "XTS", "XAU", ""])
def test_a_code_that_is_no_currency_is_refused(code: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CreateRecord.model_validate({"type": "invoice", "account_id": ID, "amount": "1.00", "currency": code})
    (error,) = refused.value.errors()
    assert (error["loc"], error["type"]) == (("currency",), "unknown_currency")


def test_a_contact_with_a_tag_that_would_be_refused_today_can_be_changed() -> None:
    case = Case.under("zoho")
    contact = ContactId(UUID(ID))
    case.happened(ContactCreated(contact_id=contact, first_name="Bo", locale="xx-YY"))
    (event,) = case.when(ChangeContact(contact_id=contact, first_name="Bob")).events
    assert isinstance(event, ContactChanged)
    assert (event.after.first_name, event.after.locale) == ("Bob", "xx-YY")
