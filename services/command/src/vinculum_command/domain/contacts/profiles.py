"""Who a contact is."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from vinculum_command.domain.commands import Command, Decision, Rejections, new_id
from vinculum_command.domain.heads.contacts import Contact, Login
from vinculum_command.domain.heads.links import Memberships
from vinculum_command.domain.heads.view import Heads, Readable
from vinculum_command.domain.rejections import ContactInactive, EmailTaken, IdTaken
from vinculum_command.domain.standards import Locale
from vinculum_shared.contracts.addresses import NewAddress, comparable
from vinculum_shared.contracts.contacts import ContactChanged, ContactCreated, ContactProfile, Email
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.values import (
    ContactId,
    EmailId,
    ExternalIdsPatch,
    Flag,
    Input,
    Name,
    Phones,
    check_once,
)
from vinculum_shared.problems import invalid

EMAILS_MAX: Final = 20
ADDRESSES_MAX: Final = 1_000  # that one command adds
INTERNATIONAL_COST: Final = 10  # what it takes to check an address with letters beyond ASCII, compared with others


class NewEmail(Input):
    id: EmailId = Field(default_factory=new_id)
    address: NewAddress
    label: Name | None = None
    primary: Flag = False


def few(emails: object) -> object:
    """Refuse more addresses than a contact has, before each of them is looked at."""
    if isinstance(emails, list) and len(emails) > EMAILS_MAX:
        lengths = {"field_type": "List", "max_length": EMAILS_MAX, "actual_length": len(emails)}
        raise PydanticKnownError("too_long", lengths)
    return emails


class NewContact(ContactProfile, Input):
    """A contact that is to be. The first address is the primary one, unless another says so."""

    id: ContactId = Field(default_factory=new_id)
    locale: Locale | None = None
    emails: Annotated[tuple[NewEmail, ...], BeforeValidator(few)] = Field(default=(), max_length=EMAILS_MAX)

    @field_validator("emails")
    @classmethod
    def _of_its_own(cls, emails: tuple[NewEmail, ...]) -> tuple[NewEmail, ...]:
        if len(emails) > 1:
            check_once(((n, "id"), email.id) for n, email in enumerate(emails))
            check_once(((n, "address"), comparable(email.address)) for n, email in enumerate(emails))
            check_once(((n, "primary"), True) for n, email in enumerate(emails) if email.primary)
        return emails


def logins(heads: Heads, *contacts: NewContact) -> Iterator[str]:
    """Name the heads of new contacts' addresses."""
    return (Login.key(address_hash=heads.hashed(email.address)) for new in contacts for email in new.emails)


def few_addresses(contacts: object) -> object:
    """Refuse more addresses than one command may add, before each of them is looked at."""
    if isinstance(contacts, list):
        new = (each.get("new_contact", each) for each in contacts if isinstance(each, dict))
        emails = (each.get("emails") for each in new if isinstance(each, dict))
        if sum(map(_cost, chain.from_iterable(each for each in emails if isinstance(each, list)))) > ADDRESSES_MAX:
            detail = "one command adds at most {max} addresses (one with letters beyond ASCII counts as ten): "
            detail += "send the other contacts in another one"
            raise PydanticCustomError("too_many", detail, {"max": ADDRESSES_MAX})
    return contacts


def _cost(email: object) -> int:
    address = email.get("address") if isinstance(email, dict) else None
    return 1 if not isinstance(address, str) or address.isascii() else INTERNATIONAL_COST


def check_addresses(heads: Heads, contacts: Iterable[tuple[tuple[str | int, ...], NewContact]]) -> None:
    """Refuse an address that two new contacts would share, where each belongs to one contact only."""
    if not heads.policy.unique_contact_email:
        return
    try:
        check_once(
            ((*place, "emails", n, "address"), comparable(email.address))
            for place, new in contacts
            for n, email in enumerate(new.emails)
        )
    except ValidationError as error:
        raise invalid(error.errors()) from None


def create(heads: Heads, new: NewContact) -> Iterator[Event]:
    """Make a contact; that it has an account where it must is for the caller to see to."""
    if heads.exists(Contact.key(contact_id=new.id)):
        raise IdTaken(contact_id=new.id)
    primary = next((email.id for email in new.emails if email.primary), new.emails[0].id if new.emails else None)
    emails = tuple(as_email(heads, email, primary=email.id == primary) for email in new.emails)
    heads.prefetch(logins(heads, new))
    for email in emails:
        check_free(heads, email)
    yield ContactCreated.of(new, contact_id=new.id, emails=emails)


def as_email(heads: Heads, new: NewEmail, *, primary: bool) -> Email:
    return Email(
        email_id=new.id, address=new.address, address_hash=heads.hashed(new.address), label=new.label, primary=primary
    )


def check_free(heads: Heads, email: Email) -> None:
    """Refuse an address that a contact has, where each belongs to one contact only. Name the contact to who sees it."""
    login = heads.login(email.address_hash)
    if login.count and heads.policy.unique_contact_email:
        seen = [contact_id for contact_id in login.holders if heads.sees_contact(contact_id)]
        facts: dict[str, Any] = {"contact_id": seen[0]} if seen else {}
        raise EmailTaken(**facts)


class ChangeContact(Command):
    """Change a contact's name, phones, language or external ids; of the last, the keys that are given."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")
    RAISES: ClassVar[Rejections] = (ContactInactive,)

    contact_id: ContactId
    first_name: Name | None = None
    last_name: Name | None = None
    phones: Phones | None = None
    locale: Locale | None = None
    external_ids: ExternalIdsPatch | None = None

    def reads(self) -> Iterable[Readable]:
        yield Memberships.key(contact_id=self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        heads.check_active(contact_id=self.contact_id)
        before = heads.contact(self.contact_id).profile
        assert before
        after = self.changed(before)
        if after != before:
            yield ContactChanged(contact_id=self.contact_id, before=before, after=after)
