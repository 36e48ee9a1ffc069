"""Records: what belongs to an account, is sent and reminded of."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from vinculum_command.domain.commands import Command, Decision, TopicUncovered, new_id
from vinculum_command.domain.heads.contacts import Contact
from vinculum_command.domain.heads.links import Link
from vinculum_command.domain.heads.records import Record
from vinculum_command.domain.heads.view import LINKS_AT_ONCE_MAX, Enumeration, Heads, Readable
from vinculum_command.domain.notifications import members
from vinculum_command.domain.record_types import RECORD_TYPES
from vinculum_command.domain.rejections import ContactInactive, EmailRequired, IdTaken, NotOverdue
from vinculum_shared.contracts.events import Recipient
from vinculum_shared.contracts.records import (
    RecordCreated,
    RecordReminded,
    RecordSent,
    RecordTerms,
    RecordType,
    ReminderKind,
)
from vinculum_shared.contracts.values import AccountId, ContactId, RecordId
from vinculum_shared.problems import Invalid
from vinculum_shared.recipients import by_hand, recipients

Amount = Annotated[Decimal, Field(max_digits=18, decimal_places=4)]


class CreateRecord(RecordTerms, Command):
    """Make a record of one of the types. The account it names stays its account."""

    CREATES: ClassVar[bool] = True
    TARGET: ClassVar[tuple[str, ...]] = ("record", "id")

    id: RecordId = Field(default_factory=new_id)
    type: RecordType
    account_id: AccountId | None = None
    contact_id: ContactId | None = None
    amount: Amount | None = None
    due: date | None = None

    @model_validator(mode="after")
    def _as_its_type_is(self) -> Self:
        kind, given = RECORD_TYPES[self.type], self.model_fields_set - {"id", "type"}
        if given - kind.fields:
            raise ValueError(f"a record of type {self.type} has no {', '.join(sorted(given - kind.fields))}")
        if kind.needs - given:
            raise ValueError(f"a record of type {self.type} needs {', '.join(sorted(kind.needs - given))}")
        return self

    def reads(self) -> Iterable[Readable]:
        if self.account_id:
            yield f"account/{self.account_id}"
        if self.contact_id:
            yield from (f"contact/{self.contact_id}", f"memberships/{self.contact_id}")

    def decide(self, heads: Heads) -> Decision:
        if heads.exists(Record.key(record_id=self.id)):
            raise IdTaken(record_id=self.id)
        if self.account_id:
            heads.active_account(self.account_id)
        if self.contact_id:
            heads.active_contact(self.contact_id)
        yield RecordCreated.of(self, record_id=self.id)


class SendRecord(Command):
    """Send a record to those who want mail about its topic, or to contacts chosen by hand (PX-11 to PX-13)."""

    TARGET: ClassVar[tuple[str, ...]] = ("record", "record_id")

    record_id: RecordId
    contact_ids: tuple[ContactId, ...] | None = Field(default=None, min_length=1, max_length=200)

    def decide(self, heads: Heads) -> Decision:
        record = heads.record_head(self.record_id)
        assert record.type
        assert record.account_id
        heads.active_account(record.account_id)
        topic = RECORD_TYPES[record.type].topic
        found = self._recipients(heads, record)
        yield RecordSent(
            record_id=self.record_id,
            account_id=record.account_id,
            contact_id=record.contact_id,
            type=record.type,
            topic=topic,
            recipients=tuple(found),
            override=self.contact_ids is not None,
        )
        if not found:
            yield TopicUncovered(account_id=record.account_id, topic=topic)

    def _recipients(self, heads: Heads, record: Record) -> list[Recipient]:
        assert record.account_id
        if self.contact_ids is None:
            return default_recipients(heads, record)
        account_id = record.account_id
        heads.prefetch(
            key
            for contact_id in self.contact_ids
            for key in (Link.key(account_id=account_id, contact_id=contact_id), Contact.key(contact_id=contact_id))
        )
        links = [heads.linked(account_id, contact_id) for contact_id in self.contact_ids]
        for contact_id in self.contact_ids:
            contact = heads.contact(contact_id)
            if contact.inactive:
                raise ContactInactive(contact_id=contact_id)
            if contact.primary_email is None:
                raise EmailRequired(contact_id=contact_id)
        return by_hand(members(heads, links), self.contact_ids)


class RemindRecord(Command):
    """Remind of a record that is overdue those who want mail about its topic (PX-7)."""

    TARGET: ClassVar[tuple[str, ...]] = ("record", "record_id")

    record_id: RecordId
    kind: ReminderKind

    def decide(self, heads: Heads) -> Decision:
        record = heads.record_head(self.record_id)
        assert record.type
        assert record.account_id
        heads.active_account(record.account_id)
        due = record.terms.due
        if due is None or due >= heads.at.date():
            raise NotOverdue(record_id=self.record_id, due=due)
        topic = RECORD_TYPES[record.type].topic
        found = default_recipients(heads, record)
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


def default_recipients(heads: Heads, record: Record) -> list[Recipient]:
    """Give those who want mail about the record's topic and may have it."""
    assert record.type
    links = heads.links(Enumeration(account_id=record.account_id))
    if len(links) > LINKS_AT_ONCE_MAX:
        detail = f"the account has more than {LINKS_AT_ONCE_MAX} contacts: say which ones it goes to"
        raise Invalid(errors=[{"pointer": "/contact_ids", "code": "missing", "detail": detail}])
    heads.prefetch(Contact.key(contact_id=link.contact_id) for link in links)
    hold = heads.policy.mail_without_permission
    return recipients(RECORD_TYPES[record.type].topic, members(heads, links), mail_without_permission=hold)
