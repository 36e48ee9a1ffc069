"""The catalogue of commands, to be read."""

from collections.abc import Iterator
from inspect import cleandoc, getdoc
from itertools import groupby
from typing import Final

from reference.markdown import Schema, code, in_words, listed, table
from vinculum_command.domain.access import AcceptInvitation
from vinculum_command.domain.commands import Caution, Command, givers
from vinculum_command.http.openapi import body_of
from vinculum_command.http.routes import PATH_FIELDS, ROUTES
from vinculum_shared.contracts.schemas import Untitled

INTRODUCTION: Final = """\
# Commands

A command is a request to the command service. Each answers once its events are durable, takes `Idempotency-Key`,
`If-Match` and `?dry_run=true`. A line of `POST /v1/commands/batch` names a command, with the fields of its path beside
those of its body; AcceptInvitation alone is not a line, since its token stands for a bearer and a batch has one bearer.
A field that a command doesn't know is refused. What a refusal means is in [errors.md](errors.md), what comes of a
command in [events.md](events.md), and what a warning in an answer means is [below](#warnings). Ids like TD-3 name
statements about the products whose rules these are.
"""


def document() -> str:
    parts = [INTRODUCTION]
    for noun, commands in groupby(dict.fromkeys(ROUTES.values()), noun_of):
        parts.append(f"## {noun.capitalize()}\n")
        for command in commands:
            parts += command_section(command)
    return "\n".join([*parts, "## Warnings\n", warnings()])


def warnings() -> str:
    """Return the table of what an answer may warn of."""
    rows = [
        (
            code(fields["code"].default),
            " ".join(cleandoc(str(each.__doc__)).split()),
            listed(name for name in fields if name != "code"),
        )
        for each in Caution.__subclasses__()
        for fields in [each.model_fields]
    ]
    return table(("code", "meaning", "facts"), sorted(rows))


def noun_of(command: type[Command]) -> str:
    return command.__module__.removeprefix("vinculum_command.domain.").partition(".")[0]


def command_section(command: type[Command]) -> Iterator[str]:
    yield f"### {command.__name__}\n"
    yield f"{getdoc(command)}\n"
    for route, each in ROUTES.items():
        if each is command:
            method, path = route.split(" ")
            yield f"`{method} /v1{path}`\n"
    given = "whoever has its token; no bearer is needed" if command is AcceptInvitation else givers(command)
    yield f"Given by {given}.\n"
    if command.RAISES:
        yield f"Refused with {', '.join(code(each.code) for each in command.RAISES)}.\n"
    yield from field_table(body_of(command).model_json_schema(schema_generator=Untitled), PATH_FIELDS[command])


def field_table(model: Schema, in_path: frozenset[str]) -> Iterator[str]:
    definitions = model.get("$defs", {})
    rows = list(field_rows(model, definitions, in_path))
    if rows:
        yield table(("field", "value", ""), rows)


def field_rows(
    model: Schema, definitions: dict[str, Schema], in_path: frozenset[str], prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    for name, each in model.get("properties", {}).items():
        if name in in_path:
            continue
        required = "required" if name in model.get("required", ()) else ""
        inner = object_of(each, definitions)
        if inner is None:
            yield code(f"{prefix}{name}"), in_words(each), required
        else:
            many = "[]" if each.get("type") == "array" else ""
            yield code(f"{prefix}{name}{many}"), "list of objects" if many else "object", required
            yield from field_rows(inner, definitions, frozenset(), f"{prefix}{name}{many}.")


def object_of(field: Schema, definitions: dict[str, Schema]) -> Schema | None:
    """Find the schema of the object, or of the objects of the list, that a field is."""
    for each in (field, field.get("items", {}), *field.get("anyOf", ())):
        if "$ref" in each:
            return definitions[each["$ref"].rpartition("/")[2]]
    return None
