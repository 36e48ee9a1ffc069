"""The one JSON form of an event: a CloudEvents 1.0 event in structured mode.

The same bytes are a Kafka value, a line of the log, and the data of a server-sent event. An event's personal data is
parted from the rest here and nowhere else: `data.personal` is an object with its `subject`, or null.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args
from uuid import UUID

import orjson
from pydantic import BaseModel, TypeAdapter

from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.events import Actor, Event
from vinculum_shared.contracts.values import PERSONAL

as_uuid: Final = TypeAdapter(UUID).validator.validate_python  # a tenth of what the class itself takes for a text

CONTENT_TYPE: Final = "application/cloudevents+json"
NDJSON: Final = "application/x-ndjson"  # an event a line
SOURCE: Final = "/vinculum"

E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Cause:
    """What the events of one command have in common."""

    tenant: str
    actor: Actor
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None = None
    traceparent: str | None = None
    reason: str | None = None
    effective_at: datetime | None = None


class Recorded(NamedTuple, Generic[E_co]):
    """An event as a reader has it. Personal fields of `data` are None where they were erased or left out."""

    tenant: str
    position: int
    id: UUID
    type: str
    stream: str
    stream_version: int
    commit_index: int
    commit_size: int
    recorded_at: datetime
    effective_at: datetime
    actor: Actor
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    traceparent: str | None
    reason: str | None
    data: E_co
    data_json: Mapping[str, Any]
    """As it was read, with actor, reason, effective_at and personal."""


class Unrecognised(Event):
    """An event of a type that this reader is too old to know; its position counts all the same."""

    @property
    def stream(self) -> str:
        raise NotImplementedError("the envelope has it")


class UnknownVersionError(ValueError):
    """A type that is known, in a version that is not: reading past it would make a read model wrong."""


@cache
def long_type(event_type: type[Event]) -> str:
    """Return `vinculum.contact_linked.v1` for ContactLinked, version 1."""
    return f"vinculum.{_snake(event_type.__name__)}.v{event_type.VERSION}"


@cache
def schema_uri(event_type: type[Event]) -> str:
    return f"urn:vinculum:schema:{_snake(event_type.__name__)}:v{event_type.VERSION}"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_BY_LONG_TYPE: Final[dict[str, type[Event]]] = {
    long_type(event_type): event_type for event_type in EVENT_TYPES.values()
}
_KNOWN: Final = frozenset(name.rpartition(".")[0] for name in _BY_LONG_TYPE)


def attributes(event: Event, event_id: UUID, stream_version: int, index: int, size: int, cause: Cause) -> bytes:
    """Return the context attributes that are known before the event has its position; `index` counts from 1."""
    optional: dict[str, Any] = {}
    if cause.causation_id:
        optional["causationid"] = cause.causation_id
    if cause.traceparent:
        optional["traceparent"] = cause.traceparent
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": SOURCE,
            "type": long_type(type(event)),
            "subject": event.stream,
            "datacontenttype": "application/json",
            "dataschema": schema_uri(type(event)),
            "tenant": cause.tenant,
            "streamversion": stream_version,
            "commitindex": index,
            "commitsize": size,
            "commandid": cause.command_id,
            "correlationid": cause.correlation_id,
            **optional,
        }
    )


def split(event: Event, cause: Cause) -> tuple[bytes, bytes | None]:
    """Part an event into its data, with actor and reason, and its personal data, if it has any."""
    data = event.model_dump(mode="json", by_alias=True)
    personal = _take(data, personal_fields(type(event)))
    data["actor"] = {"kind": cause.actor.kind, "id": cause.actor.id}
    data["reason"] = cause.reason
    return orjson.dumps(data), orjson.dumps({"subject": event.subject, **personal}) if personal else None


def wire(
    attributes: bytes, data: bytes, personal: bytes | None, position: int, at: datetime, effective: datetime
) -> bytes:
    """Put the stored parts together; the event store's own statement does the same for many rows."""
    instants = [orjson.dumps(instant, option=orjson.OPT_UTC_Z) for instant in (at, effective)]
    return b'%s,"position":%d,"time":%s,"data":%s,"effective_at":%s,"personal":%s}}' % (
        attributes[:-1],
        position,
        instants[0],
        data[:-1],
        instants[1],
        personal or b"null",
    )


def decode(value: bytes | str) -> Recorded[Event]:
    """Read the JSON form. ValueError (a pydantic ValidationError is one) where it is not an event of ours."""
    return from_json(orjson.loads(value))


def from_json(event: Mapping[str, Any]) -> Recorded[Event]:
    """Read the JSON form that is parsed already. ValueError as in `decode`."""
    try:
        data: dict[str, Any] = event["data"]
        at, effective = event["time"], data.get("effective_at")
        recorded_at = datetime.fromisoformat(at)
        causation_id = event.get("causationid")
        return Recorded(
            tenant=event["tenant"],
            position=event["position"],
            id=as_uuid(event["id"]),
            type=short_type(event["type"]),
            stream=event["subject"],
            stream_version=event["streamversion"],
            commit_index=event["commitindex"],
            commit_size=event["commitsize"],
            recorded_at=recorded_at,
            effective_at=datetime.fromisoformat(effective) if effective not in {None, at} else recorded_at,
            actor=actor(**data["actor"]),
            command_id=as_uuid(event["commandid"]),
            correlation_id=as_uuid(event["correlationid"]),
            causation_id=as_uuid(causation_id) if causation_id else None,
            traceparent=event.get("traceparent"),
            reason=data.get("reason"),
            data=_data(event["type"], data),
            data_json=data,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an event: {error!r}") from error


@lru_cache(maxsize=4_096)
def actor(**fields: Any) -> Actor:
    """Return an actor. Few act often: most events of a batch have the same one."""
    return Actor.model_validate(fields)


@lru_cache(maxsize=1_024)  # names come from outside: without a limit they would stay for ever
def short_type(name: str) -> str:
    return "".join(word.capitalize() for word in name.removeprefix("vinculum.").rpartition(".")[0].split("_"))


def _data(name: str, data: dict[str, Any]) -> Event:
    event_type = _BY_LONG_TYPE.get(name)
    if event_type is None:
        if name.rpartition(".")[0] in _KNOWN:
            raise UnknownVersionError(name)
        return Unrecognised()
    personal = data.get("personal")
    return event_type.model_validate(_joined(data, personal, personal_fields(event_type)) if personal else data)


@cache
def personal_fields(model: type[BaseModel]) -> dict[str, Any]:
    """Tell which fields are personal (None), or are models, or tuples of models, that have such fields."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        if PERSONAL in field.metadata:
            fields[key] = None
        else:
            for nested in filter(None, map(personal_fields, _models(field.annotation))):
                fields[key] = nested
    return fields


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _take(data: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Move the personal fields out of `data`. Empty if none of them has a value."""
    taken: dict[str, Any] = {}
    for key, inner in fields.items():
        if inner is None:
            value = data.pop(key)
        elif isinstance(data[key], list):
            parts = [_take(item, inner) for item in data[key]]
            value = parts if any(parts) else None
        else:
            value = data[key] and (_take(data[key], inner) or None)
        if value is not None:
            taken[key] = value
    return taken


def _joined(data: Mapping[str, Any], personal: Mapping[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    joined = dict(data)
    for key, inner in fields.items():
        if key not in personal:
            continue
        if inner is None:
            joined[key] = personal[key]
        elif isinstance(data[key], list):
            pairs = zip(data[key], personal[key], strict=True)
            joined[key] = [_joined(item, part, inner) for item, part in pairs]
        else:
            joined[key] = _joined(data[key], personal[key], inner)
    return joined
