"""The JSON Schemas of the events as they are on the wire, open for fields that come later.

`envelope.v1` has what all events have in common; the schema of each type refers to it and adds the type's own data.
`any_event` is the union of them all. Each schema is self-contained: what it refers to is in its `$defs`.
"""

import json
import re
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import SOURCE, long_type, personal_fields, schema_uri
from vinculum_shared.contracts.events import Actor, Event
from vinculum_shared.contracts.values import TENANT_ID

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
UUID: Final = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ANY_SUBJECT: Final = f"^(account|contact|staff)/{UUID}$"
ENVELOPE_FILE: Final = "envelope.v1"
ANY_EVENT_FILE: Final = "any_event"
OPTIONAL_ATTRIBUTES: Final = frozenset({"causationid", "traceparent"})


class Untitled(GenerateJsonSchema):
    """Fields go by their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  none of them
        return False


def schemas() -> dict[str, Schema]:
    """Return every schema by the name of its file: `contact_linked.v1`."""
    return {
        ENVELOPE_FILE: {"$schema": DIALECT, "$id": "urn:vinculum:schema:envelope:v1"} | envelope(),
        **{file_name(event_type): schema(event_type) for event_type in EVENT_TYPES.values()},
        ANY_EVENT_FILE: any_event(),
    }


def file_name(event_type: type[Event]) -> str:
    return long_type(event_type).removeprefix("vinculum.")


def schema(event_type: type[Event]) -> Schema:
    model: Schema = event_type.model_json_schema(mode="serialization", schema_generator=Untitled)
    definitions = model.pop("$defs", {})
    data, personal = parted(model, personal_fields(event_type), definitions)
    whole = {
        "$schema": DIALECT,
        "$id": schema_uri(event_type),
        "title": event_type.__name__,
        "description": event_type.__doc__,
        "x-stream": stream(event_type),
        "type": "object",
        "allOf": [{"$ref": "#/$defs/Envelope"}],
        "properties": {
            "type": {"const": long_type(event_type)},
            "subject": {"type": "string", "pattern": pattern(event_type.STREAM), "description": "The event's stream."},
            "dataschema": {"const": schema_uri(event_type)},
            "data": with_cause(data, personal_part(event_type, personal)),
        },
        "required": ["type", "subject", "dataschema", "data"],
    }
    return whole | {"$defs": used(whole, definitions | {"Envelope": envelope()})}


def any_event() -> Schema:
    """Return the union of all types. `type` says which one an event is."""
    definitions: dict[str, Schema] = {}
    for event_type in EVENT_TYPES.values():
        one = schema(event_type)
        definitions |= one.pop("$defs")
        definitions[event_type.__name__] = {key: value for key, value in one.items() if key not in {"$schema", "$id"}}
    return {
        "$schema": DIALECT,
        "$id": "urn:vinculum:schema:any_event",
        "title": "AnyEvent",
        "description": "An event of any type. More types may come: pass over those that you don't know.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in EVENT_TYPES],
        "$defs": definitions,
    }


def stream(event_type: type[Event]) -> str:
    """Return `link/{account_id}/{contact_id}` for an event of a link."""
    return braced(event_type.STREAM)


def braced(template: tuple[str, ...]) -> str:
    prefix, *fields = template
    return "/".join([prefix, *(f"{{{field}}}" for field in fields)])


def pattern(template: tuple[str, ...]) -> str:
    prefix, *fields = template
    return f"^{'/'.join([prefix, *(TENANT_ID if field == 'tenant' else UUID for field in fields)])}$"


def envelope() -> Schema:
    """Return the schema of what all events have: the attributes of CloudEvents, and those of the log."""
    uuid = {"type": "string", "format": "uuid"}
    count = {"type": "integer", "minimum": 1}
    properties = {
        "specversion": {"const": "1.0", "description": "Of CloudEvents."},
        "id": uuid | {"description": "The event's own id, a UUIDv7."},
        "source": {"const": SOURCE},
        "type": {"type": "string", "description": "`vinculum.<type>.v<version>`"},
        "subject": {"type": "string", "description": "The event's stream."},
        "time": {"type": "string", "format": "date-time", "description": "When it was recorded; never goes back."},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"type": "string", "description": "`urn:vinculum:schema:<type>:v<version>`"},
        "tenant": {"type": "string", "pattern": f"^{TENANT_ID}$", "description": "Whose log it is in; the Kafka key."},
        "position": count | {"description": "Its number in the tenant's log, which has no holes."},
        "streamversion": count | {"description": "Its number in its stream."},
        "commitindex": count | {"description": "Its number among the events of its command."},
        "commitsize": count | {"description": "How many events the command has; they are adjacent in the log."},
        "commandid": uuid | {"description": "The command that caused it."},
        "correlationid": uuid | {"description": "The command that began it all."},
        "causationid": uuid | {"description": "The event that it follows from."},
        "traceparent": {"type": "string", "description": "W3C trace context of the command."},
        "data": {"type": "object"},
    }
    return {
        "title": "Envelope",
        "description": "What all events have in common: a CloudEvents 1.0 event in structured mode.",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in OPTIONAL_ATTRIBUTES],
    }


def parted(model: Schema, fields: dict[str, Any], definitions: dict[str, Schema]) -> tuple[Schema, dict[str, Schema]]:
    """Part the schema of an object as the envelope parts events. A personal field without a value is absent."""
    properties, personal = dict(model["properties"]), {}
    for name, inner in fields.items():
        if inner is None:
            personal[name] = present(properties.pop(name))
        elif properties[name].get("type") == "array":
            item, taken = parted(resolved(properties[name]["items"], definitions), inner, definitions)
            personal[name] = {"type": "array", "items": {"type": "object", "properties": taken}}
            properties[name] |= {"items": item}
        else:
            properties[name], taken = parted(resolved(properties[name], definitions), inner, definitions)
            personal[name] = {"type": "object", "properties": taken}
    required = [name for name in model.get("required", ()) if name in properties]
    kept = {key: value for key, value in model.items() if key not in {"properties", "required", "title"}}
    return kept | {"properties": properties, "required": required}, personal


def present(nullable: Schema) -> Schema:
    value: Schema
    (value,) = (each for each in nullable["anyOf"] if each != {"type": "null"})
    documented = {key: each for key, each in nullable.items() if key not in {"anyOf", "default"}}
    return documented | value


def resolved(reference: Schema, definitions: dict[str, Schema]) -> Schema:
    name: str = reference["$ref"].rpartition("/")[2]
    return definitions[name]


def with_cause(data: Schema, personal: Schema) -> Schema:
    """Add what stands beside an event's own fields."""
    actor = Actor.model_json_schema(schema_generator=Untitled)
    beside = {
        "actor": {key: value for key, value in actor.items() if key != "title"},
        "reason": {"type": ["string", "null"], "description": "A code that the caller gave."},
        "effective_at": {"type": "string", "format": "date-time", "description": "When it was true in the world."},
        "personal": personal,
    }
    return {
        "type": "object",
        "properties": data["properties"] | beside,
        "required": [*data["required"], *beside],
    }


def personal_part(event_type: type[Event], fields: dict[str, Schema]) -> Schema:
    subject = {"type": "string", "pattern": pattern(event_type.SUBJECT) if event_type.SUBJECT else ANY_SUBJECT}
    return {
        "description": "Personal data of one subject; null where it is erased, not for the reader, or not there.",
        "anyOf": [
            {"type": "object", "properties": {"subject": subject, **fields}, "required": ["subject"]},
            {"type": "null"},
        ],
    }


def used(whole: Schema, definitions: dict[str, Schema]) -> dict[str, Schema]:
    """Return the definitions that the schema refers to, straight or by way of others."""
    names: set[str] = set()
    found = references(whole)
    while found:
        names |= found
        found = set().union(*(references(definitions[name]) for name in found)) - names
    return {name: definitions[name] for name in definitions if name in names}


def references(schema: Schema) -> set[str]:
    return set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
