"""What each type of record is: a row of values, never asked for by name elsewhere."""

from dataclasses import dataclass
from typing import Final

from vinculum_shared.contracts.records import RecordType
from vinculum_shared.contracts.topics import Topic


@dataclass(frozen=True, slots=True)
class RecordKind:
    """`fields` it has, those of them that it `needs`, and the topic of its mail."""

    topic: Topic
    fields: frozenset[str]
    needs: frozenset[str]


RECORD_TYPES: Final[dict[RecordType, RecordKind]] = {
    "invoice": RecordKind(
        topic="invoice",
        fields=frozenset({"title", "account_id", "contact_id", "number", "amount", "currency", "due"}),
        needs=frozenset({"account_id"}),
    ),
}
