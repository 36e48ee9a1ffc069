"""What a request may carry: the query parameters that its route names, and a body of JSON."""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

import orjson
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_parameterless_sub_dependant
from fastapi.routing import APIRoute

from vinculum_shared.problems import FieldError, Malformed, UnknownParameter, UnsupportedMediaType

JSON: Final = re.compile(r"application/(json|[\w.-]+\+json|x-www-form-urlencoded)")
"""Media types of a JSON document. The form's is what `curl -d` sends unless it is told otherwise."""
JSON_LINES: Final = re.compile(rf"{JSON.pattern}|application/(x-)?(ndjson|jsonl|jsonlines)")


def check(route: APIRoute) -> None:
    """Have a route refuse what it does not take, once its other dependencies have seen to the caller's rights."""
    known = frozenset(query_parameters(route.dependant))

    async def refuse(request: Request) -> None:
        refuse_unknown_parameters(request, known)
        if route.body_field:
            refuse_other_than(JSON, request)

    route.dependant.dependencies.append(get_parameterless_sub_dependant(depends=Depends(refuse), path=route.path))


def query_parameters(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for each in dependant.dependencies:
        yield from query_parameters(each)


def refuse_unknown_parameters(request: Request, known: Collection[str]) -> None:
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        detail = f"Remove it. The parameters here are {', '.join(sorted(known))}." if known else "Remove it."
        raise UnknownParameter(
            errors=[FieldError(pointer=f"?{name}", code=UnknownParameter.code, detail=detail) for name in unknown]
        )


def refuse_other_than(types: re.Pattern[str], request: Request) -> None:
    """Refuse a body of another media type. One without a type is read as what it should be."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type and not types.fullmatch(media_type):
        raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")


async def json_object(request: Request) -> dict[str, Any]:
    """Read the body without a model: an empty one is an object without fields."""
    body = await request.body()
    if not body:
        return {}
    refuse_other_than(JSON, request)
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Malformed("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise Malformed("The body is not a JSON object.")
    return fields
