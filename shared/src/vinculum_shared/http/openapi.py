"""A service's OpenAPI document: what FastAPI derives from the routes, and what it can't know.

Every operation is named after its command or query, says who may call it, and lists the codes of the problems that it
answers with. Generators of clients read this document, so nothing in it may mislead them: a field that may be left out
of a request has no default, an optional query parameter is not nullable, and every answer may have more fields than it
names.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from vinculum_shared.consuming.arrivals import ProjectionBehind
from vinculum_shared.problems import (
    Forbidden,
    HeadTooLarge,
    Internal,
    Invalid,
    Malformed,
    Problem,
    TenantNotFound,
    TooLarge,
    TooMany,
    TooSlow,
    Unauthorized,
    Unavailable,
    UnknownField,
    UnknownParameter,
    UnsupportedMediaType,
    nothing_at,
)

Schema = dict[str, Any]

SCHEMA: Final = "#/components/schemas/{model}"
PROBLEM_JSON: Final = "application/problem+json"
LICENSE: Final = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A JWT (EdDSA or ES256) with the claims iss, aud, sub, tenant, kind and exp. "
    "For the local stack, `vinculum token` prints one.",
}
PROBLEMS: Final = "x-problems"
PUBLIC: Final[Schema] = {"security": []}
"""`openapi_extra` of a route that needs no bearer token."""
TAGS: Final = {
    "access": "Who may enter an account now, and because of which events. Answered from the event store, never late.",
    "accounts": "The customers of a tenant.",
    "commands": "Changes. A command answers once its events are durable.",
    "contacts": "The people.",
    "contracts": "What the events look like.",
    "health": "For load balancers and supervisors.",
    "history": "What happened to an account or a contact, readable.",
    "links": "Which contacts belong to which accounts, and which accounts are related through them.",
    "log": "Every event of a tenant in order: in pages, or live as server-sent events.",
    "notifications": "What became of each mail.",
    "operations": "For operators: how far the service has read, and what it could not apply.",
    "recipients": "Who gets mail about a topic of an account.",
    "unsubscribe": "The page behind the link in each mail.",
}
RETRY_AFTER: Final[Schema] = {
    "Retry-After": {
        "description": "Seconds after which the same request may succeed; with 429, 503 and `projection_behind`.",
        "schema": {"type": "integer"},
    }
}
PROBLEM: Final[Schema] = {
    "type": "object",
    "title": "Problem",
    "description": "A problem (RFC 9457). `code` says which; its facts stand beside it.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:vinculum:problem:contact_already_linked"]},
        "title": {"type": "string", "description": "What the code means. The same for every problem of the code."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What happened this time, and what to do about it."},
        "code": {"type": "string", "description": "For programs. New codes may be added."},
        "errors": {
            "type": "array",
            "description": "Each fault of the request, with its place.",
            "items": {"$ref": SCHEMA.format(model="FieldError")},
        },
    },
}
FIELD_ERROR: Final[Schema] = {
    "type": "object",
    "title": "FieldError",
    "required": ["pointer", "code", "detail"],
    "properties": {
        "source": {"type": "string", "enum": ["body", "query", "header"]},
        "pointer": {
            "type": "string",
            "description": "A JSON pointer into the body, `?name` of a query parameter, or the name of a header.",
        },
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}


EVERYWHERE: Final[dict[str, dict[str, Any]]] = {
    "GetLiveness": {"answer": {"status": "ok"}},
    "GetReadiness": {"answer": {"status": "ok"}},
    "ListParked": {
        "answer": {
            "items": [
                {
                    "id": "01980000-0000-7000-8000-000000000008",
                    "stream": "account/01980000-0000-7000-8000-000000000002",
                    "position": 10234,
                    "type": "AccountChanged",
                    "reason": "/after/name: Give at least 1 character(s). (accounts.py:87 row)",
                    "parked_at": "2026-03-02T09:30:00.123456Z",
                }
            ],
            "next_cursor": None,
            "position": 10240,
            "parked": True,
            "held": False,
        }
    },
    "ReplayParked": {"answer": {"stream": "account/01980000-0000-7000-8000-000000000002", "left": 0}},
}
"""Examples of the operations that more than one service has."""


@dataclass(frozen=True)
class OpenApi:
    """What a service adds to its document. It is made once, when it is first asked for."""

    description: str
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    examples: Mapping[str, Schema] = field(default_factory=dict)
    """By operation: its `request` and its `answer`."""

    def of(self, app: FastAPI) -> Schema:
        if app.openapi_schema is None:
            app.openapi_schema = self._document(app)
        return app.openapi_schema

    def _document(self, app: FastAPI) -> Schema:
        document = get_openapi(
            title=app.title, version=app.version, routes=app.routes, description=self.description, license_info=LICENSE
        )
        document["servers"] = [{"url": "/", "description": "This service"}]
        document["security"] = [{"bearer": []}]
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        schemas |= {"Problem": PROBLEM, "FieldError": FIELD_ERROR, **self.schemas}
        document["components"] |= {"securitySchemes": {"bearer": BEARER}, "responses": {}}
        for operation in operations(document):
            self._complete(document, operation)
        name_enumerations(schemas)
        open_answers(schemas)
        used = {tag for operation in operations(document) for tag in operation.get("tags", ())}
        document["tags"] = [{"name": name, "description": TAGS[name]} for name in sorted(used)]
        return document

    def _complete(self, document: Schema, operation: Schema) -> None:
        name, components = operation["operationId"], document["components"]
        secured = "security" not in operation
        operation.setdefault("parameters", [])
        summary, _, more = operation.pop("description", operation["summary"]).partition("\n")
        operation |= {"summary": summary.rstrip(".")} | ({"description": more.strip()} if more.strip() else {})
        for parameter in operation["parameters"]:
            parameter["schema"] = not_null(parameter["schema"])
        problems = in_order({*usual(operation, secured=secured), *map(problem_named, operation.pop(PROBLEMS, ()))})
        components["schemas"][f"{name}Problem"] = problem_of(problems)
        components["responses"][f"{name}Problem"] = {
            "description": "\n".join(f"- {each.status} `{each.code}`: {each.title}" for each in problems),
            "content": {PROBLEM_JSON: {"schema": {"$ref": SCHEMA.format(model=f"{name}Problem")}}},
            "headers": RETRY_AFTER,
        }
        operation["responses"].pop("422", None)
        for group in sorted({each.status // 100 for each in problems}):
            operation["responses"][f"{group}XX"] = {"$ref": f"#/components/responses/{name}Problem"}
        self._add_examples(operation)

    def _add_examples(self, operation: Schema) -> None:
        """Put a request's and an answer's example beside their schemas."""
        examples = ({**EVERYWHERE, **self.examples}).get(operation["operationId"], {})
        if "request" in examples:
            add_example(operation["requestBody"], examples["request"])
        if "answer" in examples:
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    add_example(answer, examples["answer"])


def add_example(described: Schema, example: Any) -> None:
    for form in described["content"].values():
        form.setdefault("example", example)


def operation_id(route: APIRoute) -> str:
    """Name an operation after its function: `list_accounts` is ListAccounts."""
    return "".join(word.title() for word in route.name.split("_"))


def operations(document: Schema) -> Iterator[Schema]:
    for path in document["paths"].values():
        yield from path.values()


def raises(*problems: type[Problem]) -> Schema:
    """Declare, as `openapi_extra` of a route, problems that don't follow from its parameters."""
    return {PROBLEMS: [problem.code for problem in problems]}


def problem_named(code: str) -> type[Problem]:
    return next(each for each in subclasses(Problem) if each.code == code)


def subclasses(problem: type[Problem]) -> Iterator[type[Problem]]:
    for each in problem.__subclasses__():
        yield each
        yield from subclasses(each)


def usual(operation: Schema, *, secured: bool) -> Iterator[type[Problem]]:
    """Find the problems that follow from what an operation takes."""
    yield from (Malformed, TooLarge, HeadTooLarge, Invalid, UnknownParameter, Internal, Unavailable)
    if secured:
        yield from (Unauthorized, Forbidden, TenantNotFound, TooMany)
    if "requestBody" in operation:
        yield from (TooSlow, UnsupportedMediaType, UnknownField)
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            yield nothing_at(parameter["name"])
        if parameter["name"] == "min_position":
            yield ProjectionBehind


def in_order(problems: Iterable[type[Problem]]) -> list[type[Problem]]:
    return sorted(problems, key=lambda each: (each.status, each.code))


def problem_of(problems: Iterable[type[Problem]]) -> Schema:
    """Narrow a problem's code to those of an operation."""
    codes = [each.code for each in problems]
    return {
        "allOf": [
            {"$ref": SCHEMA.format(model="Problem")},
            {"type": "object", "properties": {"code": {"type": "string", "enum": codes}}},
        ],
        "additionalProperties": True,
    }


def name_enumerations(schemas: dict[str, Schema]) -> None:
    """Give the enumeration of a list's items a schema of its own: generators for Java misread one written in place."""
    lists = [
        (name, each)
        for schema in schemas.values()
        for name, field in schema.get("properties", {}).items()
        for each in field.get("anyOf", [field])
        if "enum" in each.get("items", {})
    ]
    for name, each in lists:
        title = name.removesuffix("s").title()
        schemas.setdefault(title, {"title": title, **each["items"]})
        each["items"] = {"$ref": SCHEMA.format(model=title)}


def open_answers(schemas: dict[str, Schema]) -> None:
    """Say of every object that is not closed, as bodies are, that it may have more fields than those named.

    JSON Schema means that where nothing is said, but generators for Go and Java then refuse what they do not know.
    """
    for schema in schemas.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", True)


def not_null(schema: Schema) -> Schema:
    """Drop `null` from a parameter that may be left out: there is no way to send it."""
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) != 1:
        return schema
    beside = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return beside | dict(choices[0])
