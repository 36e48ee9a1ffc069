"""What belongs to an account."""

from typing import ClassVar, Self

from vinculum_command.domain.heads.head import Head, Mark
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.records import RecordCreated, RecordReminded, RecordSent, RecordTerms, RecordType
from vinculum_shared.contracts.values import AccountId, ContactId


class Record(Head):
    KEY: ClassVar[tuple[str, ...]] = ("record", "record_id")
    EVENTS: ClassVar[tuple[type[Event], ...]] = (RecordCreated, RecordSent, RecordReminded)

    type: RecordType | None = None
    account_id: AccountId | None = None
    contact_id: ContactId | None = None
    terms: RecordTerms = RecordTerms()

    def fold(self, event: Event, mark: Mark) -> Self:
        if not isinstance(event, RecordCreated):
            return self
        terms = RecordTerms.of(event)
        return self.evolve(type=event.type, account_id=event.account_id, contact_id=event.contact_id, terms=terms)
