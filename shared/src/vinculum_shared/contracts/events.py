"""What every event has, and who caused it."""

from functools import cached_property
from typing import ClassVar, Literal

from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, RecordId, StaffId, Value, named

ActorKind = Literal["staff", "service", "contact", "platform", "system"]


class Actor(Value):
    """Who caused an event: the token's subject, or `system` for what follows from another event."""

    kind: ActorKind
    id: str


class Event(Value):
    """Something that happened. The class name is the type; what it changes is carried whole, before and after."""

    VERSION: ClassVar[int] = 1
    STREAM: ClassVar[tuple[str, ...]]
    SUBJECT: ClassVar[tuple[str, ...] | None] = None  # whose personal data it carries

    @classmethod
    def stream_of(cls, **ids: object) -> str:
        """Return the name of the stream that these ids are of."""
        return named(cls.STREAM, ids)

    @cached_property
    def stream(self) -> str:
        return named(self.STREAM, self.__dict__)

    @property
    def subject(self) -> str | None:
        return named(self.SUBJECT, self.__dict__) if self.SUBJECT else None


class StaffEvent(Event):
    STREAM: ClassVar[tuple[str, ...]] = ("staff", "staff_id")
    SUBJECT: ClassVar[tuple[str, ...] | None] = ("staff", "staff_id")

    staff_id: StaffId


class AccountEvent(Event):
    STREAM: ClassVar[tuple[str, ...]] = ("account", "account_id")
    SUBJECT: ClassVar[tuple[str, ...] | None] = ("account", "account_id")

    account_id: AccountId


class ContactEvent(Event):
    STREAM: ClassVar[tuple[str, ...]] = ("contact", "contact_id")
    SUBJECT: ClassVar[tuple[str, ...] | None] = ("contact", "contact_id")

    contact_id: ContactId


class LinkEvent(Event):
    """Of one pair; an address is named by its id, never written out."""

    STREAM: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    SUBJECT: ClassVar[tuple[str, ...] | None] = ("contact", "contact_id")

    account_id: AccountId
    contact_id: ContactId


class RecordEvent(Event):
    STREAM: ClassVar[tuple[str, ...]] = ("record", "record_id")

    record_id: RecordId
    account_id: AccountId | None = None
    contact_id: ContactId | None = None

    @property
    def subject(self) -> str:
        event = AccountEvent if self.account_id else ContactEvent
        return event.stream_of(account_id=self.account_id, contact_id=self.contact_id)


class Recipient(Value):
    """One address of one contact."""

    contact_id: ContactId
    email_id: EmailId
