"""The command service's part of its OpenAPI document: bodies and answers, from the commands themselves."""

import re
from typing import Annotated, Final

from pydantic import Field
from pydantic.json_schema import models_json_schema

from vinculum_command.domain.access import AcceptInvitation
from vinculum_command.domain.commands import Command
from vinculum_command.domain.rejections import VersionMismatch
from vinculum_command.http import answers
from vinculum_command.http.examples import EXAMPLES
from vinculum_command.http.routes import COMMANDS, PATH_FIELDS, PATHS
from vinculum_command.outcomes import EventTooLarge, IdempotencyKeyReused
from vinculum_shared.contracts.envelope import NDJSON
from vinculum_shared.contracts.values import TENANT_ID, Input, TenantId
from vinculum_shared.http.openapi import PUBLIC, SCHEMA, OpenApi, Schema, raises
from vinculum_shared.http.principals import OF_WHICH_TENANT
from vinculum_shared.http.snapshots import POSITION_MAX
from vinculum_shared.problems import PreconditionFailed, TooSlow, UnknownField, UnsupportedMediaType

DESCRIPTION: Final = """\
Commands change accounts, contacts and the links between them; each answers once its events are durable.
`GET /v1/access` says who may enter an account, and `GET /v1/log` gives every event in order.

- **Bodies** are JSON objects of at most 1 MiB; a batch may have 16 MiB. A field that the command doesn't know is
  refused. A field that is left out of a `PATCH` or a `PUT` stays as it is.
- **Answers** may have more fields in later versions, and enumerations of codes and types more values: ignore what you
  don't know.
- **Retries**: send an `Idempotency-Key`. The same key and body give the same answer for 72 hours.
- **Reading what you wrote**: pass the `position` of an answer as `min_position` to the projection service.
- **Limits**: 100 streams of the log, and requests that wait for it, may be open for a tenant, and 50 for one caller;
  past that, 429 with `Retry-After`.
"""

TENANTS_MAX: Final = 1_000
KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
DRY_RUN: Final[Schema] = {
    "name": "dry_run",
    "in": "query",
    "description": "Write nothing; answer with what would be written. Positions are null.",
    "schema": {"type": "boolean", "default": False},
}
TENANT: Final[Schema] = {
    "name": "tenant",
    "in": "query",
    "description": OF_WHICH_TENANT,
    "schema": {"type": "string", "pattern": f"^{TENANT_ID}$"},
}
PARAMETERS: Final[list[Schema]] = [
    DRY_RUN,
    TENANT,
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key and body give the same answer for 72 hours.",
        "schema": {"type": "string", "pattern": f"^{KEY.pattern}$"},
    },
    {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag that the stream in the URL must have; otherwise nothing is written.",
        "schema": {"type": "string"},
    },
]
HEADERS: Final[Schema] = {
    "ETag": {"description": "The stream's version.", "schema": {"type": "string"}},
    "Vinculum-Position": {
        "description": "The position of the last event, for `min_position`.",
        "schema": {"type": "integer"},
    },
    "Idempotency-Replayed": {
        "description": "`true` if this is the answer that was given for the key before.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
LOCATION: Final[Schema] = {"Location": {"description": "Where the new thing is.", "schema": {"type": "string"}}}


COMMON: Final = (
    IdempotencyKeyReused,
    VersionMismatch,
    PreconditionFailed,
    EventTooLarge,
    TooSlow,
    UnsupportedMediaType,
    UnknownField,
)
"""Problems that every command may answer with, also one that needs no body: the body is read all the same."""
BATCH: Final[Schema] = {
    "parameters": [DRY_RUN, TENANT],
    "requestBody": {
        "required": True,
        "description": (
            "Commands, a JSON object a line. At most 10,000 lines (1,000 in a dry run) of 1 MiB, and 16 MiB in all."
        ),
        "content": {NDJSON: {"schema": {"$ref": SCHEMA.format(model="BatchLine")}}},
    },
}
BATCH_LINE: Final[Schema] = {
    "type": "object",
    "title": "BatchLine",
    "description": "A line of a batch: a command's name and its fields, those of its path among them.",
    "required": ["command"],
    "additionalProperties": True,
    "properties": {
        "command": {"type": "string", "enum": list(COMMANDS)},
        "idempotency_key": {"type": "string", "pattern": f"^{KEY.pattern}$"},
    },
}


class Acceptance(Input):
    """An invitation's token."""

    token: str


class AppliedPositions(Input):
    """How far a reader has applied the log of each tenant."""

    at: Annotated[dict[TenantId, Annotated[int, Field(ge=0, le=POSITION_MAX)]], Field(max_length=TENANTS_MAX)]


def body_of(command: type[Command]) -> type[Input]:
    """Return what the command's own route takes: its fields, but for an invitation."""
    return Acceptance if command is AcceptInvitation else command


def operation_id(method: str, path: str, command: type[Command]) -> str:
    """Name an operation after its command; the second route of a command has its method in the name, too."""
    return command.__name__ if PATHS[command] == path else f"{command.__name__}By{method.title()}"


def parameters(command: type[Command]) -> list[Schema]:
    fields = command.model_json_schema()["properties"]
    path = [
        {"name": name, "in": "path", "required": True, "schema": fields[name]} for name in sorted(PATH_FIELDS[command])
    ]
    return path + [each for each in PARAMETERS if each is not TENANT or command is not AcceptInvitation]


def operation(method: str, command: type[Command]) -> Schema:
    """Describe a command's parameters, body and problems. A body with DELETE has no meaning that proxies agree on."""
    body = {} if method == "DELETE" else body_schema(body_of(command))
    public = PUBLIC if command is AcceptInvitation else {}
    return {"parameters": parameters(command)} | body | raises(*COMMON, *command.RAISES) | public


def body_schema(body: type[Input]) -> Schema:
    """Refer to the schema of a body, if anything is left for it besides the path."""
    fields = [field for name, field in body.model_fields.items() if name not in in_path(body)]
    if not fields:
        return {}
    required = any(field.is_required() for field in fields)
    schema = {"$ref": SCHEMA.format(model=body.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def in_path(body: type[Input]) -> frozenset[str]:
    return PATH_FIELDS[body] if issubclass(body, Command) else frozenset()


def answer_schema(command: type[Command]) -> dict[int | str, Schema]:
    model = answers.AcceptedInvitation if command is AcceptInvitation else answers.CommandAnswer
    done = {"model": model, "headers": HEADERS}
    found: dict[int | str, Schema] = {200: done | {"description": "Done, or nothing to change."}}
    if command.CREATES or command.creates is not Command.creates:
        found[201] = done | {"description": "Done; what has the answer's id is new.", "headers": HEADERS | LOCATION}
    return found


def bodies() -> dict[str, Schema]:
    """Return the schemas of all bodies. They state no defaults: a client that sent one would clear the field."""
    inputs = [(body, "validation") for body in (Acceptance, AppliedPositions, *COMMANDS.values())]
    _, definitions = models_json_schema(inputs, ref_template=SCHEMA)  # type: ignore[arg-type]
    schemas: dict[str, Schema] = definitions["$defs"]
    for name, command in COMMANDS.items():
        for path_field in PATH_FIELDS[command]:
            schemas[name]["properties"].pop(path_field)
            if path_field in schemas[name].get("required", ()):
                schemas[name]["required"].remove(path_field)
    unused = {name for name, command in COMMANDS.items() if not body_schema(command)}
    return {name: without_defaults(schema) for name, schema in schemas.items() if name not in unused}


def without_defaults(schema: Schema) -> Schema:
    properties = {
        name: {key: value for key, value in each.items() if key != "default"}
        for name, each in schema.get("properties", {}).items()
    }
    return schema | {"properties": properties} if properties else schema


def openapi() -> OpenApi:
    models = {model.__name__: model for model in (answers.BatchAnswer, answers.LogEvent)}
    _, definitions = models_json_schema([(model, "serialization") for model in models.values()], ref_template=SCHEMA)
    return OpenApi(DESCRIPTION, {**bodies(), **definitions["$defs"], "BatchLine": BATCH_LINE}, EXAMPLES)
