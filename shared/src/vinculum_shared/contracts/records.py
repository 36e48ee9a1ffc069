"""What belongs to an account: so far invoices."""

from datetime import date
from decimal import Decimal
from typing import Literal

from vinculum_shared.contracts.events import Recipient, RecordEvent
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.contracts.values import Currency, Name, OpenEnum, Personal, Value, added

RecordType = Literal["invoice"]
ReminderKind = Literal["overdue"]


class RecordTerms(Value):
    title: Personal[Name | None] = None
    number: Name | None = None
    amount: Decimal | None = None
    currency: Currency | None = added()
    due: date | None = None


class RecordCreated(RecordEvent, RecordTerms):
    """The account it names is the account at creation; it stays so when contacts move (trap 6)."""

    type: OpenEnum[RecordType]


class RecordSent(RecordEvent):
    """Sent to these addresses and no others. `override`: chosen by hand, past preferences (PX-13)."""

    type: OpenEnum[RecordType]
    topic: Topic
    recipients: tuple[Recipient, ...]
    override: bool


class RecordReminded(RecordEvent):
    """A reminder about it is due to those who want mail about its topic (PX-7)."""

    type: OpenEnum[RecordType]
    topic: Topic
    kind: OpenEnum[ReminderKind]
