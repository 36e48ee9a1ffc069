"""What in a changed contract breaks those who read events, or the replay of the events that are recorded already.

Readers take the old schema at its word: whatever was promised must still hold for new events. Replay reads old events
by the new schema: whatever is recorded must still be valid. Pointers are into the event, not into its schema.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

Schema = dict[str, Any]

Kind = Literal[
    "type removed",
    "identity changed",
    "stream changed",
    "topic changed",
    "field removed",
    "made personal",
    "made public",
    "field became optional",
    "field became required",
    "required field added",
    "null allowed",
    "null refused",
    "retyped",
    "alternative added",
    "alternative removed",
    "value added",
    "value removed",
    "enumeration opened",
    "enumeration closed",
    "limit widened",
    "limit narrowed",
    "format changed",
    "default changed",
    "rule changed",
]

BREAKS: Final[dict[Kind, str]] = {
    "type removed": "readers and replay",
    "identity changed": "readers and replay",
    "stream changed": "readers and replay",
    "topic changed": "readers",
    "field removed": "readers",
    "made personal": "readers and replay",
    "made public": "the subject, whose data can't be erased any more",
    "field became optional": "readers",
    "field became required": "replay",
    "required field added": "replay",
    "null allowed": "readers",
    "null refused": "replay",
    "retyped": "readers and replay",
    "alternative added": "readers",
    "alternative removed": "replay",
    "value added": "readers",
    "value removed": "replay",
    "enumeration opened": "readers",
    "enumeration closed": "replay",
    "limit widened": "readers",
    "limit narrowed": "replay",
    "format changed": "readers and replay",
    "default changed": "replay",
    "rule changed": "readers and replay",
}

DATA: Final = "/data/"
PERSONAL: Final = "/data/personal/"
NULL: Final[Schema] = {"type": "null"}
DOCUMENTATION: Final = frozenset({"$schema", "$defs", "title", "description", "examples", "deprecated", "$comment"})
CHANGED: Final[dict[str, Kind]] = {
    "$id": "identity changed",
    "x-stream": "stream changed",
    "pattern": "format changed",
    "format": "format changed",
    "default": "default changed",
}
UPPER_LIMITS: Final = frozenset(
    {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "additionalProperties"}
)
LOWER_LIMITS: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
COMPARED: Final = frozenset({"properties", "required", "patternProperties", "const", "enum", "x-extensible-enum"})
INNER: Final = ("items", "additionalProperties", "propertyNames")
TRANSPORT: Final = (
    ("defaultContentType",),
    ("channels", "events", "address"),
    ("channels", "events", "bindings", "kafka", "partitions"),
    ("components", "messageTraits", "event", "bindings", "kafka", "key"),
)


class Change(NamedTuple):
    contract: str
    pointer: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.contract}{self.pointer}: {self.kind}, which breaks {BREAKS[self.kind]}"


def breaking_changes(old: Mapping[str, Schema], new: Mapping[str, Schema]) -> list[Change]:
    """Compare the schemas of all event types, by the names of their files."""
    changes: list[Change] = []
    for name, schema in old.items():
        if name in new:
            before, after = inlined(schema), inlined(new[name])
            changes += [Change(name, pointer, kind) for pointer, kind in moved(before, after, compared(before, after))]
        else:
            changes.append(Change(name, "", "type removed"))
    return changes


def transport_changes(old: Schema, new: Schema) -> list[Change]:
    """Compare what an AsyncAPI document says about the topic, its key, and what is in it."""
    return [
        Change("asyncapi", "/" + "/".join(path), "topic changed")
        for path in TRANSPORT
        if found(old, path) != found(new, path)
    ]


def found(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        document = document.get(key, {})
    return document


def inlined(schema: Schema) -> Schema:
    """Put definitions in the places of references: where a part is written down is no part of the contract."""
    definitions = schema.get("$defs", {})
    schema = joined(schema, definitions)

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(each) for each in node]
        if not isinstance(node, dict):
            return node
        meant = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
        return {key: inline(value) for key, value in {**meant, **node}.items() if key not in {"$ref", "$defs"}}

    result: Schema = inline(schema)
    return result


def joined(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Put together a type's own fields and those of the schemas that it extends; its own win."""
    properties: Schema = {}
    required: list[str] = []
    for each in (*(definitions[part["$ref"].rpartition("/")[2]] for part in schema.get("allOf", ())), schema):
        properties |= each.get("properties", {})
        required += each.get("required", ())
    return {key: value for key, value in schema.items() if key != "allOf"} | {
        "properties": properties,
        "required": list(dict.fromkeys(required)),
    }


Found = Iterator[tuple[str, Kind]]


def compared(old: Schema, new: Schema, at: str = "") -> Found:
    before, after = alternatives(old), alternatives(new)
    if NULL in before and NULL not in after:
        yield at, "null refused"
    if NULL in after and NULL not in before:
        yield at, "null allowed"
    before, after = ([each for each in options if each != NULL] for options in (before, after))
    if len(before) == len(after) == 1:
        yield from alike(before[0], after[0], at)
        return
    told_before, told_after = set(map(meaning, before)), set(map(meaning, after))
    if told_before - told_after:
        yield at, "alternative removed"
    if told_after - told_before:
        yield at, "alternative added"


def alternatives(schema: Schema) -> list[Schema]:
    if "anyOf" in schema:
        beside = {key: value for key, value in schema.items() if key not in {"anyOf", *DOCUMENTATION}}
        return [each if each == NULL else beside | each for each in schema["anyOf"]]
    if isinstance(schema.get("type"), list):
        return [NULL if each == "null" else schema | {"type": each} for each in schema["type"]]
    return [schema]


def meaning(schema: Schema) -> str:
    """Return a schema without its documentation, as text."""
    return json.dumps({key: value for key, value in schema.items() if key not in DOCUMENTATION}, sort_keys=True)


def alike(old: Schema, new: Schema, at: str) -> Found:
    if old.get("type") != new.get("type"):
        yield at, "retyped"
        return
    yield from fields(old, new, at)
    yield from values(old, new, at)
    for key in INNER:
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from compared(old[key], new[key], f"{at}/*")
    for pattern in shared(old, new, "patternProperties"):
        yield from compared(old["patternProperties"][pattern], new["patternProperties"][pattern], f"{at}/*")
    if set(old.get("patternProperties", {})) != set(new.get("patternProperties", {})):
        yield at, "rule changed"
    for key in sorted({*old, *new} - DOCUMENTATION - COMPARED):
        yield from rule(key, old.get(key), new.get(key), at)


def rule(key: str, old: Any, new: Any, at: str) -> Found:
    if old == new or (key in INNER and isinstance(old, dict) and isinstance(new, dict)):
        return
    if key in UPPER_LIMITS | LOWER_LIMITS:
        yield at, "limit narrowed" if narrows(key, old, new) else "limit widened"
    else:
        yield at, CHANGED.get(key, "rule changed")


def narrows(key: str, old: Any, new: Any) -> bool:
    """Tell if a limit that has changed lets less through. None, and True for additional properties, is no limit."""
    if any(each is None or each is True for each in (old, new)):
        return old is None or old is True
    if isinstance(old, dict) or isinstance(new, dict):
        return new is False
    return bool(new < old if key in UPPER_LIMITS else new > old)


def fields(old: Schema, new: Schema, at: str) -> Found:
    was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before:
        pointer = f"{at}/{name}"
        if name not in after:
            yield pointer, "field removed"
            continue
        if name in was_required - is_required:
            yield pointer, "field became optional"
        if name in is_required - was_required:
            yield pointer, "field became required"
        yield from compared(before[name], after[name], pointer)
    for name in is_required - set(before):
        yield f"{at}/{name}", "required field added"


def values(old: Schema, new: Schema, at: str) -> Found:
    """Compare enumerations. Of an open one readers know that it grows; of a closed one they don't."""
    if "const" in old and "const" in new:
        if old["const"] != new["const"]:
            yield at, "identity changed"
        return
    before, after = closed_values(old), closed_values(new)
    was_open, is_open = old.get("x-extensible-enum"), new.get("x-extensible-enum")
    if was_open and after:
        yield at, "enumeration closed"
    if before and is_open:
        yield at, "enumeration opened"
    known, still_known = set(before or was_open or ()), set(after or is_open or ())
    if known and still_known and known - still_known:
        yield at, "value removed"
    if before and after and still_known - known:
        yield at, "value added"
    if bool(known) != bool(still_known):
        yield at, "value removed" if still_known else "value added"


def closed_values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def moved(old: Schema, new: Schema, changes: Found) -> Found:
    """Name a field that went over the border of personal data by what happened, not as one that is gone."""
    added = set(pointers(new)) - set(pointers(old))
    for pointer, kind in changes:
        was_personal = pointer.startswith(PERSONAL)
        here, there = (PERSONAL, DATA) if was_personal else (DATA, PERSONAL)
        other_side = pointer.replace(here, there, 1)
        if kind == "field removed" and any(f"{each}/".startswith(f"{other_side}/") for each in added):
            yield pointer, "made public" if was_personal else "made personal"
        else:
            yield pointer, kind


def pointers(schema: Schema, at: str = "") -> Iterator[str]:
    for option in alternatives(schema):
        for name, inner in option.get("properties", {}).items():
            yield f"{at}/{name}"
            yield from pointers(inner, f"{at}/{name}")
        if isinstance(option.get("items"), dict):
            yield from pointers(option["items"], f"{at}/*")


def shared(old: Schema, new: Schema, key: str) -> list[str]:
    return [name for name in old.get(key, {}) if name in new.get(key, {})]
