"""Records: what belongs to an account, is sent and reminded of."""

import re
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from vinculum_command.domain.access import pair_keys
from vinculum_command.domain.commands import (
    Command,
    Decision,
    RecipientUnsubscribed,
    Rejections,
    TopicUncovered,
    named_by,
    new_id,
)
from vinculum_command.domain.contacts.suppression import suppressed
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.contacts import Contact
from vinculum_command.domain.heads.links import Memberships
from vinculum_command.domain.heads.records import Record
from vinculum_command.domain.heads.view import LINKS_AT_ONCE_MAX, Enumeration, Heads, Readable
from vinculum_command.domain.notifications import members, reached_by
from vinculum_command.domain.record_types import RECORD_TYPES
from vinculum_command.domain.rejections import (
    AccountArchived,
    ContactInactive,
    ContactNotLinked,
    EmailRequired,
    IdTaken,
    NotOverdue,
)
from vinculum_command.domain.standards import Currency
from vinculum_command.domain.unsubscriptions import against
from vinculum_shared.contracts.events import Recipient
from vinculum_shared.contracts.records import (
    RecordCreated,
    RecordReminded,
    RecordSent,
    RecordTerms,
    RecordType,
    ReminderKind,
)
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.contracts.values import AccountId, ContactId, Day, RecordId, misplaced
from vinculum_shared.problems import Invalid
from vinculum_shared.recipients import by_hand

AMOUNT: Final = r"^(?!-[0.]+$)-?[0-9]{1,14}(\.[0-9]{1,4})?$"


def _plain(amount: object) -> object:
    """Refuse other notations that Decimal reads: exponents, underscores, blanks, digits of other scripts."""
    if isinstance(amount, str) and not re.fullmatch(AMOUNT, amount):
        raise ValueError('Give a plain decimal number of at most 14 digits and 4 decimal places, such as "1250.00".')
    return amount


def _unsigned_zero(amount: Decimal) -> Decimal:
    return amount or amount.copy_abs()


Amount = Annotated[
    Decimal,
    Field(max_digits=18, decimal_places=4),
    BeforeValidator(_plain),
    AfterValidator(_unsigned_zero),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": AMOUNT}]}),
]


class CreateRecord(RecordTerms, Command):
    """Make a record of one of the types. The account it names stays its account."""

    CREATES: ClassVar[bool] = True
    TARGET: ClassVar[tuple[str, ...]] = ("record", "id")
    RAISES: ClassVar[Rejections] = (IdTaken, AccountArchived, ContactInactive)

    id: RecordId = Field(default_factory=new_id)
    type: RecordType
    account_id: AccountId | None = None
    contact_id: ContactId | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    due: Day | None = None

    @model_validator(mode="after")
    def _as_its_type_is(self) -> Self:
        kind = RECORD_TYPES[self.type]
        unknown = sorted(self.model_fields_set - {"id", "type"} - kind.fields)
        missing = sorted(name for name in kind.needs if getattr(self, name) is None)
        if unknown:
            raise misplaced("unknown_field", f"A record of type {self.type} has no {unknown[0]}.", unknown[0])
        if missing:
            raise misplaced("missing", f"A record of type {self.type} needs {missing[0]}. Give it.", missing[0])
        return self

    def reads(self) -> Iterable[Readable]:
        if self.account_id:
            yield Account.key(account_id=self.account_id)
        if self.contact_id:
            yield Contact.key(contact_id=self.contact_id)
            yield Memberships.key(contact_id=self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        if heads.exists(Record.key(record_id=self.id)):
            raise IdTaken(record_id=self.id)
        if self.account_id:
            with named_by("account_id"):
                heads.account(self.account_id)
        if self.contact_id:
            with named_by("contact_id"):
                heads.contact(self.contact_id)
        heads.check_active(self.account_id, self.contact_id)
        yield RecordCreated.of(self, record_id=self.id)


class SendRecord(Command):
    """Send a record to those who want mail about its topic, or to contacts chosen by hand (PX-11 to PX-13).

    A contact chosen by hand gets it whatever staff have turned off, but not if the recipient has unsubscribed.
    """

    TARGET: ClassVar[tuple[str, ...]] = ("record", "record_id")
    RAISES: ClassVar[Rejections] = (AccountArchived, ContactInactive, ContactNotLinked, EmailRequired)

    record_id: RecordId
    contact_ids: tuple[ContactId, ...] | None = Field(default=None, min_length=1, max_length=200)

    def decide(self, heads: Heads) -> Decision:
        record = heads.record(self.record_id)
        assert record.type
        assert record.account_id
        topic = RECORD_TYPES[record.type].topic
        unsubscribed: list[RecipientUnsubscribed] = []
        if self.contact_ids is None:
            found = _default_recipients(heads, record.account_id, topic)
        else:
            chosen = _chosen_recipients(heads, record.account_id, self.contact_ids)
            unsubscribed = list(against(heads, record.account_id, topic, chosen))
            unwilling = {each.email_id for each in unsubscribed}
            found = [each for each in chosen if each.email_id not in unwilling]
        yield RecordSent(
            record_id=self.record_id,
            account_id=record.account_id,
            contact_id=record.contact_id,
            type=record.type,
            topic=topic,
            recipients=tuple(found),
            override=self.contact_ids is not None,
        )
        yield from unsubscribed
        if not found:
            yield TopicUncovered(account_id=record.account_id, topic=topic)
        yield from suppressed(heads, found)


class RemindRecord(Command):
    """Remind those who want mail about its topic of a record that is overdue (PX-7): past its date, if it has one."""

    TARGET: ClassVar[tuple[str, ...]] = ("record", "record_id")
    RAISES: ClassVar[Rejections] = (NotOverdue, AccountArchived, ContactInactive)

    record_id: RecordId
    kind: ReminderKind

    def decide(self, heads: Heads) -> Decision:
        record = heads.record(self.record_id)
        assert record.type
        assert record.account_id
        topic, due = RECORD_TYPES[record.type].topic, record.terms.due
        found = _default_recipients(heads, record.account_id, topic)
        if due and due >= heads.at.date():
            raise NotOverdue(record_id=self.record_id, due=due)
        yield RecordReminded(
            record_id=self.record_id,
            account_id=record.account_id,
            contact_id=record.contact_id,
            type=record.type,
            topic=topic,
            kind=self.kind,
        )
        if not found:
            yield TopicUncovered(account_id=record.account_id, topic=topic)
        yield from suppressed(heads, found)


def _default_recipients(heads: Heads, account_id: AccountId, topic: Topic) -> list[Recipient]:
    """Return those who want mail about the topic and may have it."""
    everybody = Enumeration(account_id=account_id)
    heads.prefetch([Account.key(account_id=account_id), everybody])
    heads.check_active(account_id)
    links = heads.links(everybody)
    if links.after:
        detail = f"The account has more than {LINKS_AT_ONCE_MAX} contacts. Name those that it goes to."
        raise Invalid.at("/contact_ids", "missing", detail)
    heads.prefetch(Contact.key(contact_id=link.contact_id) for link in links.found)
    return reached_by(heads, topic, links.found)


def _chosen_recipients(heads: Heads, account_id: AccountId, chosen: Collection[ContactId]) -> list[Recipient]:
    """Return contacts chosen by hand: that beats preference and hold (PX-13)."""
    heads.prefetch(key for contact_id in chosen for key in pair_keys(account_id, contact_id))
    links = {}
    for number, contact_id in enumerate(chosen):
        with named_by("contact_ids", number):
            links[contact_id] = heads.linked(account_id, contact_id)
    for contact_id in links:
        heads.check_active(account_id, contact_id)
    for contact_id in links:
        if heads.known_contact(contact_id).primary_email is None:
            raise EmailRequired(contact_id=contact_id)
    return by_hand(members(heads, links.values()))
