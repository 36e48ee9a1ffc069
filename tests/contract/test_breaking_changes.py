"""What may change in a frozen contract and what may not: each way to break it is tried, and each is told by name."""

import copy
import json
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal

import pytest

import generate
from breaking_changes import BREAKS, Kind, breaking_changes, transport_changes
from vinculum_command import asyncapi
from vinculum_shared.contracts import schemas
from vinculum_shared.contracts.contacts import Email, EmailAdded
from vinculum_shared.contracts.events import ContactEvent, LinkEvent, RecordEvent
from vinculum_shared.contracts.links import ContactLinked, LinkTerms
from vinculum_shared.contracts.records import RecordReminded, RecordType
from vinculum_shared.contracts.topics import Feature, Topic
from vinculum_shared.contracts.values import Name, OpenEnum, Personal

pytestmark = pytest.mark.contract

Edit = Callable[[dict[str, Any]], None]
SCHEMAS: Final = schemas.schemas()
ENVELOPE: Final = "/$defs/Envelope"
ATTRIBUTES: Final = f"{ENVELOPE}/properties"
OF_DATA: Final = "/properties/data"
DATA: Final = f"{OF_DATA}/properties"
PERSONAL: Final = f"{DATA}/personal/anyOf/0/properties"


def at(schema: dict[str, Any], pointer: str) -> tuple[Any, str]:
    *path, last = pointer.removeprefix("/").split("/")
    node: Any = schema
    for key in path:
        node = node[int(key) if isinstance(node, list) else key]
    return node, last


def put(pointer: str, value: Any) -> Edit:
    def edit(schema: dict[str, Any]) -> None:
        node, key = at(schema, pointer)
        node[key] = value

    return edit


def drop(pointer: str) -> Edit:
    def edit(schema: dict[str, Any]) -> None:
        node, key = at(schema, pointer)
        del node[key]

    return edit


def move(source: str, target: str) -> Edit:
    def edit(schema: dict[str, Any]) -> None:
        node, key = at(schema, source)
        put(target, node.pop(key))(schema)

    return edit


def add(pointer: str, value: Any) -> Edit:
    return lambda schema: at(schema, f"{pointer}/-")[0].append(value)


def take(pointer: str, value: Any) -> Edit:
    return lambda schema: at(schema, f"{pointer}/-")[0].remove(value)


def both(*edits: Edit) -> Edit:
    def edit(schema: dict[str, Any]) -> None:
        for each in edits:
            each(schema)

    return edit


BREAKING: Final[list[tuple[str, str, Edit, Kind]]] = [
    # what an event is known by
    ("the type has another name", "contact_linked.v1", put("/properties/type/const", "x"), "identity changed"),
    (
        "the dataschema is another one",
        "contact_linked.v1",
        put("/properties/dataschema/const", "x"),
        "identity changed",
    ),
    ("the schema has another id", "contact_linked.v1", put("/$id", "x"), "identity changed"),
    (
        "the source is another one",
        "contact_linked.v1",
        put(f"{ATTRIBUTES}/source/const", "/x"),
        "identity changed",
    ),
    ("CloudEvents 2", "contact_linked.v1", put(f"{ATTRIBUTES}/specversion/const", "2.0"), "identity changed"),
    (
        "the data is no JSON",
        "contact_linked.v1",
        put(f"{ATTRIBUTES}/datacontenttype/const", "x"),
        "identity changed",
    ),
    # order and streams
    ("the stream is named otherwise", "contact_linked.v1", put("/x-stream", "pair/{account_id}"), "stream changed"),
    ("the pair is the other way round", "contact_linked.v1", put("/x-stream", "link/{c}/{a}"), "stream changed"),
    ("the subject looks different", "contact_linked.v1", put("/properties/subject/pattern", "^x"), "format changed"),
    ("the position is gone", "contact_linked.v1", drop(f"{ATTRIBUTES}/position"), "field removed"),
    (
        "the position may be missing",
        "contact_linked.v1",
        take(f"{ENVELOPE}/required", "position"),
        "field became optional",
    ),
    ("the tenant may be missing", "contact_linked.v1", take(f"{ENVELOPE}/required", "tenant"), "field became optional"),
    ("commits have no size", "contact_linked.v1", drop(f"{ATTRIBUTES}/commitsize"), "field removed"),
    ("positions from 0", "contact_linked.v1", put(f"{ATTRIBUTES}/position/minimum", 0), "limit widened"),
    ("positions are text", "contact_linked.v1", put(f"{ATTRIBUTES}/position/type", "string"), "retyped"),
    (
        "the stream's version is gone",
        "contact_linked.v1",
        drop(f"{ATTRIBUTES}/streamversion"),
        "field removed",
    ),
    ("the time is local", "contact_linked.v1", put(f"{ATTRIBUTES}/time/format", "date"), "format changed"),
    (
        "events may follow from nothing",
        "contact_linked.v1",
        drop(f"{ATTRIBUTES}/causationid"),
        "field removed",
    ),
    # fields
    ("a field is gone", "contact_linked.v1", drop(f"{DATA}/source"), "field removed"),
    ("a field is renamed", "contact_linked.v1", move(f"{DATA}/source", f"{DATA}/origin"), "field removed"),
    ("a nested field is gone", "link_changed.v1", drop(f"{DATA}/before/properties/role"), "field removed"),
    (
        "a field of a list is gone",
        "contact_created.v1",
        drop(f"{DATA}/emails/items/properties/primary"),
        "field removed",
    ),
    (
        "a field of a definition is gone",
        "policy_changed.v1",
        drop("/$defs/Policy/properties/second_manager"),
        "field removed",
    ),
    ("a field may be missing", "contact_linked.v1", take(f"{OF_DATA}/required", "account_id"), "field became optional"),
    ("the actor may be missing", "contact_linked.v1", take(f"{OF_DATA}/required", "actor"), "field became optional"),
    ("an old field is needed", "contact_linked.v1", add(f"{OF_DATA}/required", "source"), "field became required"),
    (
        "a new field is needed",
        "contact_linked.v1",
        both(put(f"{DATA}/until", {"type": "string"}), add(f"{OF_DATA}/required", "until")),
        "required field added",
    ),
    ("a default is another one", "contact_linked.v1", put(f"{DATA}/source/default", "sync"), "default changed"),
    # personal data
    (
        "a field becomes personal",
        "contact_linked.v1",
        move(f"{DATA}/role", f"{PERSONAL}/role"),
        "made personal",
    ),
    (
        "a field is personal no more",
        "contact_linked.v1",
        move(f"{PERSONAL}/job_title", f"{DATA}/job_title"),
        "made public",
    ),
    (
        "a nested field is personal no more",
        "link_changed.v1",
        move(f"{PERSONAL}/after/properties/job_title", f"{DATA}/after/properties/job_title"),
        "made public",
    ),
    (
        "the last nested field is personal no more",
        "link_changed.v1",
        both(
            put(f"{DATA}/after/properties/job_title", {"type": "string"}),
            drop(f"{PERSONAL}/after"),
        ),
        "made public",
    ),
    (
        "a field of a list becomes personal",
        "contact_created.v1",
        move(f"{DATA}/emails/items/properties/address_hash", f"{PERSONAL}/emails/items/properties/address_hash"),
        "made personal",
    ),
    (
        "the subject is another one",
        "contact_linked.v1",
        put(f"{PERSONAL}/subject/pattern", "^account/"),
        "format changed",
    ),
    (
        "personal data is never erased",
        "contact_linked.v1",
        take(f"{DATA}/personal/anyOf", {"type": "null"}),
        "null refused",
    ),
    # types and values
    ("a field has another type", "contact_linked.v1", put(f"{DATA}/primary/type", "string"), "retyped"),
    ("a list is one value", "contact_linked.v1", put(f"{DATA}/features/type", "string"), "retyped"),
    (
        "whole numbers have fractions",
        "policy_changed.v1",
        put("/$defs/ManagerRange/properties/min/type", "number"),
        "retyped",
    ),
    ("items have another type", "contact_linked.v1", put(f"{DATA}/topics/items", {"type": "integer"}), "retyped"),
    ("a field may be null", "contact_linked.v1", put(f"{DATA}/primary/type", ["boolean", "null"]), "null allowed"),
    ("a field is never null", "contact_linked.v1", put(f"{DATA}/role", {"type": "string"}), "null refused"),
    ("a reason is needed", "contact_linked.v1", put(f"{DATA}/reason/type", "string"), "null refused"),
    (
        "one more type is possible",
        "policy_changed.v1",
        add("/$defs/Policy/properties/manager_limits_access/anyOf", {"type": "integer"}),
        "alternative added",
    ),
    (
        "one type is not possible any more",
        "policy_changed.v1",
        put("/$defs/Policy/properties/manager_limits_access", {"type": "boolean"}),
        "alternative removed",
    ),
    ("a closed enumeration grows", "portal_access_changed.v1", add(f"{DATA}/why/enum", "bored"), "value added"),
    ("a value is gone", "portal_access_changed.v1", take(f"{DATA}/why/enum", "expired"), "value removed"),
    (
        "an open enumeration loses a value",
        "record_sent.v1",
        put(f"{DATA}/type/x-extensible-enum", ["x"]),
        "value removed",
    ),
    ("any value is possible", "portal_access_changed.v1", drop(f"{DATA}/why/enum"), "value added"),
    ("not any value is possible", "contact_linked.v1", put(f"{DATA}/source/enum", ["api"]), "value removed"),
    (
        "an open enumeration is closed",
        "record_sent.v1",
        both(drop(f"{DATA}/type/x-extensible-enum"), put(f"{DATA}/type/enum", ["invoice"])),
        "enumeration closed",
    ),
    (
        "a closed enumeration is open",
        "record_sent.v1",
        both(move(f"{DATA}/topic/enum", f"{DATA}/topic/x-extensible-enum")),
        "enumeration opened",
    ),
    # limits
    ("names are longer", "contact_linked.v1", put(f"{PERSONAL}/job_title/maxLength", 900), "limit widened"),
    ("names are shorter", "contact_linked.v1", put(f"{PERSONAL}/job_title/maxLength", 90), "limit narrowed"),
    ("names may be empty", "contact_linked.v1", put(f"{PERSONAL}/job_title/minLength", 0), "limit widened"),
    ("names have no limit", "contact_linked.v1", drop(f"{PERSONAL}/job_title/maxLength"), "limit widened"),
    (
        "a number begins higher",
        "policy_changed.v1",
        put("/$defs/ManagerRange/properties/min/minimum", 1),
        "limit narrowed",
    ),
    ("a list has a limit", "contact_linked.v1", put(f"{DATA}/features/maxItems", 3), "limit narrowed"),
    ("names look different", "contact_linked.v1", put(f"{PERSONAL}/job_title/pattern", "^x$"), "format changed"),
    ("ids are no UUIDs", "contact_linked.v1", drop(f"{DATA}/account_id/format"), "format changed"),
    (
        "keys look different",
        "account_created.v1",
        put(f"{DATA}/external_ids/patternProperties", {".": {}}),
        "rule changed",
    ),
    (
        "fields that come later are refused",
        "contact_linked.v1",
        put("/additionalProperties", value=False),
        "limit narrowed",
    ),
    ("a rule that nobody knows", "contact_linked.v1", put(f"{DATA}/features/uniqueItems", value=True), "rule changed"),
]

ALLOWED: Final[list[tuple[str, str, Edit]]] = [
    ("a new optional field", "contact_linked.v1", put(f"{DATA}/until", {"type": "string"})),
    ("a new optional field of a nested value", "link_changed.v1", put(f"{DATA}/before/properties/x", {"type": "null"})),
    ("a new optional field of a definition", "policy_changed.v1", put("/$defs/Policy/properties/x", {"default": 1})),
    ("a new personal field", "contact_linked.v1", put(f"{PERSONAL}/note", {"type": "string"})),
    ("a new optional attribute", "contact_linked.v1", put("/properties/sampledrate", {"type": "integer"})),
    ("an open enumeration grows", "record_sent.v1", add(f"{DATA}/type/x-extensible-enum", "estimate")),
    ("other words for the type", "contact_linked.v1", put("/description", "Better said.")),
    ("other words for a field", "contact_linked.v1", put(f"{DATA}/source/description", "Where it came from.")),
    ("an example", "contact_linked.v1", put(f"{DATA}/source/examples", ["api"])),
    ("a field that is not to be used any more", "contact_linked.v1", put(f"{DATA}/source/deprecated", value=True)),
    ("fields in another order", "contact_linked.v1", move(f"{DATA}/account_id", f"{DATA}/account_id")),
    (
        "null said otherwise",
        "contact_linked.v1",
        put(f"{DATA}/reason", {"anyOf": [{"type": "null"}, {"type": "string"}]}),
    ),
    (
        "a definition written out where it is used",
        "contact_unlinked.v1",
        lambda schema: at(schema, f"{DATA}/preferences")[0].update(
            preferences={**schema["$defs"]["NotificationPreferences"], "default": {"topics": [], "by_email": {}}}
        ),
    ),
]


def changed(name: str, edit: Edit) -> dict[str, Any]:
    new = copy.deepcopy(SCHEMAS)
    edit(new[name])
    return new


@pytest.mark.parametrize(("name", "edit", "kind"), [row[1:] for row in BREAKING], ids=[row[0] for row in BREAKING])
def test_it_is_caught_when(name: str, edit: Edit, kind: Kind) -> None:
    found = breaking_changes(SCHEMAS, changed(name, edit))
    assert kind in {change.kind for change in found}
    assert {change.contract for change in found} == {name}


@pytest.mark.parametrize(("name", "edit"), [row[1:] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_it_is_allowed_to_have(name: str, edit: Edit) -> None:
    assert breaking_changes(SCHEMAS, changed(name, edit)) == []


def test_a_new_type_is_allowed() -> None:
    assert breaking_changes(SCHEMAS, SCHEMAS | {"contact_forgotten.v1": {}}) == []


def test_a_type_or_a_version_that_is_gone_is_caught() -> None:
    new = dict(SCHEMAS)
    new["contact_linked.v2"] = new.pop("contact_linked.v1")
    assert [change.kind for change in breaking_changes(SCHEMAS, new)] == ["type removed"]


def test_every_kind_of_change_is_tried() -> None:
    assert set(BREAKS) - {kind for *_, kind in BREAKING} == {"type removed", "topic changed"}


TRANSPORT: Final = [
    ("the topic has another name", put("/channels/events/address", "events")),
    ("there are more partitions", put("/channels/events/bindings/kafka/partitions", 24)),
    ("the key is not the tenant", put("/components/messageTraits/event/bindings/kafka/key", {"type": "integer"})),
    ("records have no key", drop("/components/messageTraits/event/bindings/kafka/key")),
    ("the events are in binary mode", put("/defaultContentType", "application/json")),
]


@pytest.mark.parametrize("edit", [row[1] for row in TRANSPORT], ids=[row[0] for row in TRANSPORT])
def test_it_is_caught_of_the_topic_when(edit: Edit) -> None:
    old, new = asyncapi.document(), asyncapi.document()
    assert transport_changes(old, new) == []
    edit(new)
    assert [change.kind for change in transport_changes(old, new)] == ["topic changed"]


class Renamed(LinkEvent, LinkTerms):
    origin: str = "api"
    features: tuple[Feature, ...] = ()
    topics: tuple[Topic, ...] = ()


class Public(ContactLinked):
    job_title: Name | None = None


class Private(LinkEvent, LinkTerms):
    source: Personal[str | None] = None
    features: tuple[Feature, ...] = ()
    topics: tuple[Topic, ...] = ()


class Elsewhere(ContactLinked):
    STREAM: ClassVar[tuple[str, ...]] = ("link", "contact_id", "account_id")


class Second(ContactLinked):
    VERSION: ClassVar[int] = 2


class Grown(RecordEvent):
    type: OpenEnum[RecordType]
    topic: Topic
    kind: OpenEnum[Literal["overdue", "due_soon"]]


class AddedFor(ContactEvent, Email):
    until: str | None = None


MODELS: Final = [
    (ContactLinked, Renamed, {"/data/source": "field removed"}),
    (ContactLinked, Public, {"/data/personal/job_title": "made public"}),
    (ContactLinked, Private, {"/data/source": "made personal"}),
    (ContactLinked, Elsewhere, {"": "stream changed"}),
    (ContactLinked, Second, {"": "identity changed", "/type": "identity changed", "/dataschema": "identity changed"}),
    (RecordReminded, Grown, {}),
    (EmailAdded, AddedFor, {}),
]


@pytest.mark.parametrize(("old", "new", "expected"), MODELS, ids=[new.__name__ for _, new, _ in MODELS])
def test_a_changed_model_is_told_by_what_it_changes(old: Any, new: Any, expected: dict[str, str]) -> None:
    """From the class to the verdict: the changed class stands in for the old one, under its name."""
    new.__name__, name = old.__name__, schemas.file_name(old)
    found = breaking_changes({name: schemas.schema(old)}, {name: schemas.schema(new)})
    assert {change.pointer: change.kind for change in found} == expected


def test_a_frozen_schema_is_not_overwritten_unawares() -> None:
    old, new = (
        {f"schemas/{name}.json": json.dumps(schema) for name, schema in each.items()}
        for each in (SCHEMAS, changed("contact_linked.v1", drop(f"{DATA}/source")))
    )
    with pytest.raises(SystemExit, match="/data/source: field removed, which breaks readers"):
        generate.refuse(generate.changes(old, new))


def test_a_stale_document_is_named() -> None:
    with pytest.raises(SystemExit, match=r"docs/reference/events.md is stale.\n.*tools/generate.py"):
        generate.check({"events.md": "old", "errors.md": "same"}, {"events.md": "new", "errors.md": "same"})
