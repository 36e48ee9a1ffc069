"""What is written in docs/reference is what the code says, and says all of it."""

import json
import re
from collections.abc import Iterator
from inspect import getdoc
from typing import Any, Final, TypeVar, get_args

import openapi_spec_validator
import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

import generate
from reference import errors
from vinculum_command.domain.access import AcceptInvitation, SettleAccess
from vinculum_command.domain.commands import Command, EffectiveAt
from vinculum_command.domain.contacts.suppression import OfAnAddress
from vinculum_command.http.routes import COMMANDS
from vinculum_notifier.outcomes import OUTCOMES, REASONS, WAITS, Outcome, Reason, Wait
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import CONTENT_TYPE, Unrecognised, long_type, schema_uri
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.schemas import file_name
from vinculum_shared.problems import Problem

pytestmark = pytest.mark.contract

COMMITTED: Final = generate.committed()
ASYNCAPI: Final[dict[str, Any]] = json.loads(COMMITTED["asyncapi.json"])
NOT_GIVEN_BY_NAME: Final = {AcceptInvitation, SettleAccess}
PUBLIC_TAGS: Final = {"contracts", "health", "unsubscribe"}
REFERENCE: Final = r'"#/components/schemas/(\w+)"'
BASES: Final = {Command, EffectiveAt, OfAnAddress}

T = TypeVar("T")


def ours(base: type[T]) -> Iterator[type[T]]:
    """Find the classes of the packages that derive from a class, not those that tests make."""
    for each in base.__subclasses__():
        if each.__module__.startswith("vinculum_"):
            yield each
            yield from ours(each)


def operations(service: str) -> list[dict[str, Any]]:
    document = json.loads(COMMITTED[f"openapi-{service}.json"])
    return [operation for path in document["paths"].values() for operation in path.values()]


def leaves(base: type[T]) -> set[type[T]]:
    return {each for each in ours(base) if not list(ours(each))}


def test_no_document_is_stale() -> None:
    new = generate.documents()
    assert [name for name in {*COMMITTED, *new} if COMMITTED.get(name) != new.get(name)] == [], generate.RENEW


def test_no_frozen_contract_is_broken() -> None:
    assert generate.changes(COMMITTED, generate.documents()) == []


def test_every_type_with_a_stream_is_in_the_catalogue() -> None:
    assert leaves(Event) - {Unrecognised} == set(EVENT_TYPES.values())
    assert all(event_type.STREAM for event_type in EVENT_TYPES.values())


def test_every_type_says_when_it_happens() -> None:
    assert [each for each in EVENT_TYPES.values() if not each.__dict__["__doc__"]] == []
    for event_type in EVENT_TYPES.values():
        assert f"### {event_type.__name__}\n\n{event_type.__doc__}" in COMMITTED["events.md"]
        assert f"`{long_type(event_type)}`, version {event_type.VERSION}" in COMMITTED["events.md"]


@pytest.mark.parametrize("event_type", EVENT_TYPES.values(), ids=EVENT_TYPES)
def test_a_schema_is_valid_open_and_named_by_its_type(event_type: type[Event]) -> None:
    schema = json.loads(COMMITTED[f"schemas/{file_name(event_type)}.json"])
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == schema_uri(event_type) == schema["properties"]["dataschema"]["const"]
    assert schema["properties"]["type"]["const"] == long_type(event_type)
    assert "additionalProperties" not in {*schema, *schema["properties"]["data"]}


def test_patterns_are_read_the_same_by_ecmascript() -> None:
    """In its unicode mode, as JSON Schema wants it: nothing is escaped that needs not be."""
    for name in (name for name in COMMITTED if name.endswith(".json")):
        for pattern in re.findall(r'"pattern": ("(?:[^"\\\\]|\\\\.)*")', COMMITTED[name]):
            assert set(re.findall(r"\\([^a-zA-Z0-9])", json.loads(pattern))) <= set("^$\\.*+?()[]{}|/"), pattern


def test_every_command_refuses_fields_that_it_does_not_know() -> None:
    for command in {*ours(Command)} - BASES:
        with pytest.raises(ValidationError) as refused:
            command.model_validate({"no_such_field": 1})
        assert ("extra_forbidden", ("no_such_field",)) in [(e["type"], e["loc"]) for e in refused.value.errors()]


def test_every_command_says_what_it_is_for() -> None:
    for name, command in COMMANDS.items():
        assert command.__dict__["__doc__"], name
        assert f"### {name}\n\n{getdoc(command)}\n" in COMMITTED["commands.md"]


def test_every_command_has_a_route() -> None:
    assert {*ours(Command)} - BASES - NOT_GIVEN_BY_NAME == set(COMMANDS.values())


def test_every_problem_that_is_no_base_of_others_is_in_the_catalogue() -> None:
    answered = errors.answered()  # imports every module, and with it every problem
    assert {each.code for each in leaves(Problem)} <= {each.problem.code for each in answered}
    for each in answered:
        assert (
            f"| `{each.problem.code}` | {each.problem.status} | {each.problem.title} {each.problem.advice} |"
            in COMMITTED["errors.md"]
        )


def test_one_code_has_one_status() -> None:
    errors.answered()
    assert len({(each.code, each.status) for each in ours(Problem)}) == len({each.code for each in ours(Problem)})


def test_the_topic_has_a_message_of_every_type() -> None:
    assert set(ASYNCAPI["components"]["messages"]) == set(EVENT_TYPES)
    channel = ASYNCAPI["channels"]["events"]
    assert channel["messages"] == {name: {"$ref": f"#/components/messages/{name}"} for name in EVENT_TYPES}
    for name, message in ASYNCAPI["components"]["messages"].items():
        assert message["name"] == long_type(EVENT_TYPES[name])
        assert message["payload"] == {"$ref": f"#/components/schemas/{name}"}
        (example,) = message["examples"]
        validator = Draft202012Validator({**ASYNCAPI, **message["payload"]})
        assert list(validator.iter_errors(example["payload"])) == []


def test_the_topic_is_described_as_asyncapi_3_with_kafka_bindings() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(ASYNCAPI["info"])
    assert {each["action"] for each in ASYNCAPI["operations"].values()} == {"send"}
    assert ASYNCAPI["channels"]["events"]["address"] == "vinculum.events.v1"
    trait = ASYNCAPI["components"]["messageTraits"]["event"]
    assert trait["contentType"] == ASYNCAPI["defaultContentType"] == CONTENT_TYPE
    assert trait["bindings"]["kafka"]["key"]["description"] == "The tenant."


def test_the_topic_says_how_to_connect_and_that_it_is_compressed_with_zstd() -> None:
    secured, local = ASYNCAPI["servers"]["secured"], ASYNCAPI["servers"]["local"]
    assert (secured["protocol"], local["protocol"]) == ("kafka-secure", "kafka")
    assert secured["security"] == [{"$ref": "#/components/securitySchemes/scram"}]
    assert "zstd" in ASYNCAPI["info"]["description"]


def test_the_asyncapi_document_is_self_contained() -> None:
    references = re.findall(r'"\$ref": "([^"]+)"', COMMITTED["asyncapi.json"])
    assert [each for each in references if not each.startswith("#/")] == []


def test_a_sample_of_each_type_is_an_event_of_the_union_and_of_the_envelope() -> None:
    union, envelope = (json.loads(COMMITTED[f"schemas/{name}.json"]) for name in ("any_event", "envelope.v1"))
    for message in ASYNCAPI["components"]["messages"].values():
        for example in message["examples"]:
            assert list(Draft202012Validator(union).iter_errors(example["payload"])) == []
            assert list(Draft202012Validator(envelope).iter_errors(example["payload"])) == []


@pytest.mark.parametrize("service", ["command", "projection", "notifier"])
def test_the_openapi_document_is_valid(service: str) -> None:
    openapi_spec_validator.validate(json.loads(COMMITTED[f"openapi-{service}.json"]))


def test_an_operation_of_a_command_is_named_after_it() -> None:
    named = {operation["operationId"] for operation in operations("command")}
    assert set(COMMANDS) <= named


def test_no_body_states_a_default_so_that_a_client_changes_only_what_it_was_told_to() -> None:
    schemas = json.loads(COMMITTED["openapi-command.json"])["components"]["schemas"]
    stated = [
        (name, field)
        for name in COMMANDS
        for field, schema in schemas.get(name, {}).get("properties", {}).items()
        if "default" in schema
    ]
    assert stated == []


@pytest.mark.parametrize("service", ["command", "projection", "notifier"])
def test_answers_may_have_more_fields_than_they_name_and_bodies_may_not(service: str) -> None:
    schemas = json.loads(COMMITTED[f"openapi-{service}.json"])["components"]["schemas"]
    objects = {name: schema for name, schema in schemas.items() if "properties" in schema}
    reached: dict[str, set[str]] = {"requestBody": {"BatchLine"}, "responses": set()}
    for operation in operations(service):
        for part, found in reached.items():
            references = re.findall(REFERENCE, json.dumps(operation.get(part, {})))
            while references:
                name = references.pop()
                if name not in found:
                    found.add(name)
                    references += re.findall(REFERENCE, json.dumps(schemas.get(name, {})))
    assert reached["requestBody"].isdisjoint(reached["responses"] & objects.keys())
    assert [name for name in reached["responses"] & objects.keys() if not objects[name]["additionalProperties"]] == []
    bodies = (reached["requestBody"] - {"BatchLine"}) & objects.keys()
    assert [name for name in bodies if objects[name]["additionalProperties"]] == []


@pytest.mark.parametrize("service", ["command", "projection", "notifier"])
def test_the_enumeration_of_a_list_has_a_name_that_generators_can_use(service: str) -> None:
    schemas = json.loads(COMMITTED[f"openapi-{service}.json"])["components"]["schemas"]
    assert [name for name, schema in schemas.items() if re.search(r'"items": {[^{}]*"enum"', json.dumps(schema))] == []


@pytest.mark.parametrize("service", ["command", "projection", "notifier"])
def test_every_operation_lists_the_codes_of_its_problems_and_its_rights(service: str) -> None:
    for operation in operations(service):
        problem = f"#/components/responses/{operation['operationId']}Problem"
        assert operation["responses"]["5XX"] == {"$ref": problem}
        public = operation.get("security") == []
        assert public == (operation["tags"][0] in PUBLIC_TAGS or operation["operationId"] == "AcceptInvitation")


@pytest.mark.parametrize("service", ["command", "projection", "notifier"])
def test_every_operation_has_an_example_that_its_schema_allows(service: str) -> None:
    components = json.loads(COMMITTED[f"openapi-{service}.json"])["components"]
    for operation in operations(service):
        described = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        described += [operation["requestBody"]] if "requestBody" in operation else []
        for media_type, form in (each for content in described for each in content["content"].items()):
            if media_type != "text/html":
                validator = Draft202012Validator({**form["schema"], "components": components})
                faults = [error.message for error in validator.iter_errors(form["example"])]
                assert faults == [], operation["operationId"]


@pytest.mark.parametrize("service", ["command", "projection", "notifier"])
def test_what_a_path_takes_is_described(service: str) -> None:
    for path, operations in json.loads(COMMITTED[f"openapi-{service}.json"])["paths"].items():
        for operation in operations.values():
            described = [each["name"] for each in operation["parameters"] if each.get("in") == "path"]
            assert sorted(described) == sorted(re.findall(r"{(\w+)}", path)), path


def test_every_reference_leads_somewhere() -> None:
    for name, text in COMMITTED.items():
        if name.endswith(".json"):
            document = json.loads(text)
            for reference in re.findall(r'"\$ref": "([^"]+)"', text):
                file, _, pointer = reference.partition("#")
                target = json.loads(COMMITTED[file]) if file else document
                for key in filter(None, pointer.split("/")):
                    target = target[key]


def test_every_link_leads_somewhere() -> None:
    for name in ("events.md", "commands.md", "errors.md"):
        text = COMMITTED[name]
        headings = {heading.lower() for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert link.removeprefix("#") in headings if link.startswith("#") else link in COMMITTED, (name, link)


def test_every_outcome_reason_and_wait_of_a_mail_is_explained() -> None:
    for literals, explained in ((Outcome, OUTCOMES), (Reason, REASONS), (Wait, WAITS)):
        assert set(literal_values(literals)) == set(explained)


def literal_values(literals: Any) -> Iterator[str]:
    for each in get_args(literals):
        if isinstance(each, str):
            yield each
        else:
            yield from literal_values(each)
