"""What came of a command: what is written of it, what is kept for its key, what its caller is told."""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import orjson

from vinculum_command.domain.commands import Caution, Command, Order
from vinculum_command.domain.heads.view import Recording
from vinculum_command.event_store import Append, Kept, Key, NewEvent, NewRequest
from vinculum_command.turns import Pace
from vinculum_shared.contracts import envelope
from vinculum_shared.problems import Invalid

KEPT_FOR: Final = timedelta(hours=72)
KEPT_FOR_GENERATED: Final = timedelta(hours=1)
EVENT_BYTES_MAX: Final = 256 * 1024


class IdempotencyKeyReused(Invalid):
    """The idempotency key belongs to a request with another body.

    Use a new key for a new command, or repeat that request as it was.
    """


class EventTooLarge(Invalid):
    """What the command makes happen is larger than an event may be.

    Give less text or fewer details.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told. `position` is that of the last event, or the log's end where there is none."""

    status: int
    id: str
    version: int
    position: int | None
    events: tuple[tuple[str, str, int | None], ...]
    warnings: tuple[Mapping[str, Any], ...]
    replayed: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "version": self.version,
            "position": self.position,
            "events": [{"id": id_, "type": type_, "position": position} for id_, type_, position in self.events],
            "warnings": list(self.warnings),
        }


@dataclass(slots=True)
class Outcome:
    """What was decided: a refusal, or events, perhaps none. `ends` counts the tenant's events of the group so far."""

    refusal: Exception | None = None
    kept: Kept | None = None  # the answer that is repeated
    id: str = ""
    recorded: list[Recording] = field(default_factory=list)
    version: int = 0
    status: int = 200
    cautions: list[Caution] = field(default_factory=list)
    following: list[Command] = field(default_factory=list)
    ends: int = 0


@dataclass(slots=True, eq=False)
class Waiting:
    """A command, its key, and who waits for its answer."""

    order: Order
    key: Key
    answer: asyncio.Future[Answer]
    key_given: bool = False
    """By the caller; one that was made here is only ever met again by our own second try."""
    kept: Kept | None = None
    """What is stored for the key."""
    cost: int = 1
    """About how many events it will have."""
    since: float = field(default_factory=time.monotonic)

    def give(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def refuse(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # whoever waited for it may have gone

    @property
    def hash(self) -> bytes:
        """What tells the same request from another one with its key."""
        return fingerprint(self.order.command) if self.key_given else b""


def fingerprint(command: Command) -> bytes:
    """Return the hash of a command's name and the fields that were sent: the same in every process and release."""
    fields = command.model_dump(mode="json", exclude_unset=True)
    return hashlib.sha256(orjson.dumps([type(command).__name__, fields], option=orjson.OPT_SORT_KEYS)).digest()


async def add_events(append: Append, order: Order, recorded: list[Recording], pace: Pace) -> None:
    """Add a command's events to what is written. EventTooLarge: none of them is."""
    command, caller = order.command, order.caller
    cause = envelope.Cause(
        tenant=order.tenant,
        actor=envelope.actor(kind=caller.kind, id=caller.id),
        command_id=order.command_id,
        correlation_id=order.correlation_id or order.command_id,
        causation_id=order.causation_id,
        traceparent=order.traceparent,
        reason=command.__dict__.get("reason"),  # getattr of what a model lacks is slow
        effective_at=command.__dict__.get("effective_at"),
    )
    events, total = [], 0
    base = append.tenants.get(order.tenant, 0)
    for index, (event, mark) in enumerate(recorded, 1):
        if pace.over:
            await pace.turn()
        data, personal = envelope.split(event, cause)
        size = len(data) + len(personal or b"")
        if size > EVENT_BYTES_MAX:
            raise EventTooLarge(f"{mark.type} would have more than {EVENT_BYTES_MAX} bytes", type=mark.type)
        total += size
        attributes = envelope.attributes(event, mark.event_id, mark.stream_version, index, len(recorded), cause)
        events.append(
            NewEvent(
                order.tenant,
                base + index,
                mark.event_id,
                mark.type,
                mark.stream,
                mark.stream_version,
                cause.effective_at,
                event.__dict__.get("account_id"),
                event.__dict__.get("contact_id"),
                attributes.decode(),
                data.decode(),
                personal.decode() if personal else None,
            )
        )
    append.events += events
    append.event_bytes += total
    append.tenants[order.tenant] = base + len(events)


def request(waiting: Waiting, outcome: Outcome) -> NewRequest:
    """Give what is kept for the command's key: all of its answer but the positions, which only the append knows."""
    body = {
        "id": outcome.id,
        "version": outcome.version,
        "events": [(str(mark.event_id), mark.type) for _, mark in outcome.recorded],
        "warnings": [caution.model_dump(mode="json") for caution in outcome.cautions],
    }
    count = len(outcome.recorded)
    kept = KEPT_FOR if waiting.key_given else KEPT_FOR_GENERATED
    answer = orjson.dumps(body).decode()
    return NewRequest(*waiting.key, waiting.hash, outcome.status, answer, outcome.ends, count, kept)


def answer(outcome: Outcome, position: int | None) -> Answer:
    """Give the answer of a command whose last event has that position; None for a dry run."""
    first = None if position is None else position - len(outcome.recorded) + 1
    return Answer(
        status=200 if position is None else outcome.status,
        id=outcome.id,
        version=outcome.version,
        position=position,
        events=_numbered([(str(mark.event_id), mark.type) for _, mark in outcome.recorded], first),
        warnings=tuple(caution.model_dump(mode="json") for caution in outcome.cautions),
    )


def replay(waiting: Waiting, kept: Kept) -> None:
    """Give the answer that is kept for the key, if it is that of the same request."""
    if kept.hash != waiting.hash:
        waiting.refuse(IdempotencyKeyReused())
        return
    body = kept.answer
    waiting.give(
        Answer(
            status=kept.status,
            id=body["id"],
            version=body["version"],
            position=kept.position,
            events=_numbered([(id_, type_) for id_, type_ in body["events"]], kept.position - kept.event_count + 1),
            warnings=tuple(body["warnings"]),
            replayed=waiting.key_given,
        )
    )


def _numbered(events: Iterable[tuple[str, str]], first: int | None) -> tuple[tuple[str, str, int | None], ...]:
    return tuple((id_, type_, None if first is None else first + n) for n, (id_, type_) in enumerate(events))
