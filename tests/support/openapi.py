"""Answers compared with what the OpenAPI documents promise: generated clients take them at their word."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx2
from jsonschema import Draft202012Validator

REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference"


def check(service: str, answer: httpx2.Response) -> None:
    """Fail if the answer of an operation has a status, a media type or a form that its document doesn't have."""
    found = operation(service, answer.request.method, answer.request.url.path)
    if found is None:
        return
    name, responses = found
    status = next(
        (each for each in (str(answer.status_code), f"{answer.status_code // 100}XX") if each in responses), ""
    )
    assert status, f"{name} answers {answer.status_code}, which its document does not have"
    described = resolved(service, responses[status])
    if "content" in described and answer.content:
        media_type = answer.headers["content-type"].partition(";")[0]
        assert media_type in described["content"], f"{name} answers with {media_type}"
        if media_type.endswith("json") and not media_type.endswith("ndjson"):
            faults = list(validator(service, name, status, media_type).iter_errors(answer.json()))
            assert faults == [], f"{name}: {faults[0].message}"


@cache
def document(service: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REFERENCE / f"openapi-{service}.json").read_text("utf-8"))
    return found


@cache
def patterns(service: str) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Return every path as a pattern, those without parameters first."""
    paths = sorted(document(service)["paths"].items(), key=lambda path: path[0].count("{"))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), methods) for path, methods in paths]


def operation(service: str, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    for pattern, methods in patterns(service):
        if pattern.fullmatch(path) and method.lower() in methods:
            described = methods[method.lower()]
            return described["operationId"], described["responses"]
    return None


def resolved(service: str, described: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in described:
        return described
    found: Any = document(service)
    for key in described["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return found  # type: ignore[no-any-return]


@cache
def validator(service: str, name: str, status: str, media_type: str) -> Draft202012Validator:
    responses = next(
        each["responses"]
        for methods in document(service)["paths"].values()
        for each in methods.values()
        if each["operationId"] == name
    )
    schema = resolved(service, responses[status])["content"][media_type]["schema"]
    return Draft202012Validator({**schema, "components": document(service)["components"]})
