"""The catalogue of event types, to be read."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final

from reference.markdown import Schema, code, in_words, table
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import long_type
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.schemas import envelope, file_name, schema, stream

HEADER: Final = ("field", "value", "", "")
INTRODUCTION: Final = """\
# Events

Every event is one JSON object, the same on Kafka, in the log and as a server-sent event: a CloudEvents 1.0 event in
structured mode. Its attributes are the same for all types. `data` has the fields of the type, which are listed below,
and beside them, in every type:

- `actor`, who caused it: `kind` (`staff`, `service`, `contact`, `platform`, `system`) and `id`
- `effective_at`, when it was true in the world; where nobody said, when it was recorded
- `reason`, a code that the caller gave, or null
- `personal`, the fields marked *personal*, under the same names, and whose they are (`subject`). It is null if there
  are none, if they were erased, and for a reader without the scope `personal`; one without a value is left out.

A type is frozen once it is here. It may gain optional fields, and enumerations that say *more to come* may gain values;
anything else is a new version of the type.
"""


def document() -> str:
    return "\n".join([INTRODUCTION, *attribute_section(), *type_sections(), *value_sections()])


def attribute_section() -> Iterator[str]:
    yield "## Attributes\n"
    attributes = {name: each for name, each in envelope()["properties"].items() if name != "data"}
    rows = [(code(name), in_words(each), each.get("description", "")) for name, each in attributes.items()]
    yield table(("attribute", "value", ""), rows)


def type_sections() -> Iterator[str]:
    for of_stream, types in groupby(EVENT_TYPES.values(), stream):
        yield f"## {of_stream}\n"
        for event_type in types:
            yield from type_section(event_type)


def type_section(event_type: type[Event]) -> Iterator[str]:
    name = file_name(event_type)
    yield f"### {event_type.__name__}\n"
    yield f"{event_type.__doc__}\n"
    yield f"`{long_type(event_type)}`, version {event_type.VERSION}; [schema](schemas/{name}.json)\n"
    yield table(HEADER, sorted(rows(event_type), key=itemgetter(3, 2)))


def rows(event_type: type[Event]) -> Iterator[tuple[str, str, str, str]]:
    data = schema(event_type)["properties"]["data"]
    personal = data["properties"]["personal"]["anyOf"][0]
    own = {name: each for name, each in data["properties"].items() if name not in BESIDE}
    yield from field_rows({"properties": own, "required": data["required"]}, "")
    of_subject = {name: each for name, each in personal["properties"].items() if name != "subject"}
    yield from field_rows({"properties": of_subject}, "personal")


BESIDE: Final = frozenset({"actor", "effective_at", "reason", "personal"})


def field_rows(model: Schema, mark: str, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    for name, each in model["properties"].items():
        nested = each["items"] if each.get("type") == "array" else each
        path = f"{prefix}{name}{'[]' if nested is not each else ''}"
        if nested.get("properties"):
            yield from field_rows(nested, mark, f"{path}.")
        else:
            optional = "" if mark or name in model.get("required", ()) else "optional"
            yield code(f"{prefix}{name}"), in_words(each), optional, mark


def value_sections() -> Iterator[str]:
    yield "## Values\n"
    definitions = {
        name: each
        for event_type in EVENT_TYPES.values()
        for name, each in schema(event_type)["$defs"].items()
        if "properties" in each
    }
    for name, each in sorted(definitions.items()):
        yield f"### {name}\n"
        if "description" in each:
            yield f"{each['description']}\n"
        yield table(HEADER[:3], (row[:3] for row in field_rows(each, "")))
