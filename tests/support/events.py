"""A tenant's log, made from events: numbered, cut into commits, and in the form in which readers get them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from vinculum_shared.contracts.envelope import Cause, Recorded, attributes, decode, split, wire
from vinculum_shared.contracts.events import Actor, Event

SYSTEM: Final = Actor(kind="system", id="system")
BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Log:
    """What one tenant has recorded. Time goes on by a second with each commit."""

    tenant: str
    recorded: list[Recorded[Event]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    """The same events in their JSON form, as on Kafka and in the log."""
    versions: dict[str, int] = field(default_factory=dict)
    now: datetime = BEGINNING

    def commit(
        self,
        *events: Event,
        actor: Actor = SYSTEM,
        reason: str | None = None,
        effective_at: datetime | None = None,
        command_id: UUID | None = None,
    ) -> Sequence[Recorded[Event]]:
        """Append the events of one command, and give them as a reader has them."""
        self.now += timedelta(seconds=1)
        command_id = command_id or uuid4()
        cause = Cause(self.tenant, actor, command_id, command_id, reason=reason)
        lines = [
            wire(
                attributes(event, uuid4(), self.next_version(event.stream), index, len(events), cause),
                *split(event, cause),
                position=len(self.lines) + index,
                at=self.now,
                effective=effective_at or self.now,
            )
            for index, event in enumerate(events, start=1)
        ]
        recorded = [decode(line) for line in lines]
        self.lines += lines
        self.recorded += recorded
        return recorded

    def next_version(self, stream: str) -> int:
        self.versions[stream] = self.versions.get(stream, 0) + 1
        return self.versions[stream]
