"""The commands' bodies and answers in OpenAPI, from the commands themselves."""

import re
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from vinculum_command.domain.commands import Command
from vinculum_command.http.routes import COMMANDS, PATH_FIELDS
from vinculum_shared.contracts.values import Input
from vinculum_shared.http.principals import OF_WHICH_TENANT

REF: Final = "#/components/schemas/{model}"

KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
DRY_RUN: Final[dict[str, Any]] = {
    "name": "dry_run",
    "in": "query",
    "description": "Write nothing; answer with what would be written.",
    "schema": {"type": "boolean", "default": False},
}
TENANT: Final[dict[str, Any]] = {
    "name": "tenant",
    "in": "query",
    "description": OF_WHICH_TENANT,
    "schema": {"type": "string"},
}
PARAMETERS: Final[list[dict[str, Any]]] = [
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
        "description": "The ETag that the stream in the URL must have.",
        "schema": {"type": "string"},
    },
]

ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "version", "position", "events", "warnings"],
    "properties": {
        "id": {"type": "string"},
        "version": {"type": "integer", "description": "Of the stream that the URL names; the ETag has it too."},
        "position": {"type": ["integer", "null"], "description": "Pass it as min_position to read what was written."},
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type", "position"],
                "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "type": {"type": "string"},
                    "position": {"type": ["integer", "null"]},
                },
            },
        },
        "warnings": {
            "type": "array",
            "items": {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}}},
        },
    },
}


class Acceptance(Input):
    """An invitation's token."""

    token: str


def parameters(command: type[Command]) -> list[dict[str, Any]]:
    fields = command.model_json_schema()["properties"]
    path = [
        {"name": name, "in": "path", "required": True, "schema": fields[name]} for name in sorted(PATH_FIELDS[command])
    ]
    return path + PARAMETERS


def body_schema(body: type[Input]) -> dict[str, Any]:
    """Refer to the schema of a body, if anything is left for it besides the path."""
    fields = [field for name, field in body.model_fields.items() if name not in _in_path(body)]
    if not fields:
        return {}
    required = any(field.is_required() for field in fields)
    schema = {"$ref": REF.format(model=body.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _in_path(body: type[Input]) -> frozenset[str]:
    return PATH_FIELDS[body] if issubclass(body, Command) else frozenset()


def answer_schema() -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": {"$ref": REF.format(model="CommandAnswer")}}}
    return {
        200: {"description": "Done, or nothing to change.", "content": content},
        201: {"description": "Done; what has the answer's id is new.", "content": content},
    }


def document(app: FastAPI) -> dict[str, Any]:
    """Give the OpenAPI document with the commands' schemas in it."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        inputs = [(body, "validation") for body in (Acceptance, *COMMANDS.values())]
        _, definitions = models_json_schema(inputs, ref_template=REF)  # type: ignore[arg-type]
        schemas = definitions["$defs"]
        for name, command in COMMANDS.items():
            for path_field in PATH_FIELDS[command]:
                schemas[name]["properties"].pop(path_field)
                if path_field in schemas[name].get("required", ()):
                    schemas[name]["required"].remove(path_field)
        schema.setdefault("components", {}).setdefault("schemas", {}).update(schemas, CommandAnswer=ANSWER)
        app.openapi_schema = schema
    return app.openapi_schema
