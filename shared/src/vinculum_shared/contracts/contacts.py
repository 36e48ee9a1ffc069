"""The people that a tenant deals with, and their addresses."""

from pydantic import Field

from vinculum_shared.contracts.events import ContactEvent
from vinculum_shared.contracts.values import (
    Address,
    AddressHash,
    EmailId,
    ExternalIds,
    Flag,
    Locale,
    Name,
    Personal,
    Phones,
    Value,
)


class Email(Value):
    """An address of a contact. `address_hash` is keyed, so that who shares a login can be told after an erasure."""

    email_id: EmailId
    address: Personal[Address | None] = None
    address_hash: str
    label: Personal[Name | None] = None
    primary: Flag = False


class ContactProfile(Value):
    first_name: Personal[Name | None] = None
    last_name: Personal[Name | None] = None
    phones: Personal[Phones | None] = None
    locale: Locale | None = None
    external_ids: ExternalIds = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """As one shows it: first name, last name; empty when erased."""
        return " ".join(part for part in (self.first_name, self.last_name) if part)


class ContactCreated(ContactEvent, ContactProfile):
    """The tenant knows this contact from now on; its links follow in the same commit."""

    emails: tuple[Email, ...] = Field(default=(), max_length=20)


class ContactChanged(ContactEvent):
    """Has another name, phones, language or external ids."""

    before: ContactProfile
    after: ContactProfile


class EmailAdded(ContactEvent, Email):
    """May be reached at one more address."""


class EmailChanged(ContactEvent):
    """An address was corrected, labelled, or made the primary one; `email_id` stays."""

    email_id: EmailId
    before: Email
    after: Email


class EmailRemoved(ContactEvent, Email):
    """The address is no longer used, and opens nothing."""


class EmailSuppressed(ContactEvent):
    """A mail server said that this address of the contact does not exist: no mail is sent to it, whoever has it."""

    address_hash: AddressHash


class EmailReleased(ContactEvent):
    """Mail is sent to the address again."""

    address_hash: AddressHash


class ContactDeactivated(ContactEvent):
    """Enters nothing any more; each access that was on is suspended."""


class ContactReactivated(ContactEvent):
    """Active again; each access is as it was."""
