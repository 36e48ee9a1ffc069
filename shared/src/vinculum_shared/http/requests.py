"""What a request may carry: the query parameters that its route names, each header once, and a body of JSON."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, Final

import orjson
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_parameterless_sub_dependant
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from vinculum_shared.problems import FieldError, Invalid, Malformed, TooLarge, UnknownParameter, UnsupportedMediaType

JSON: Final = re.compile(r"application/(json|[\w.-]+\+json|x-www-form-urlencoded)")
"""Media types of a JSON document. The form's is what `curl -d` sends unless it is told otherwise."""
JSON_LINES: Final = re.compile(rf"{JSON.pattern}|application/(x-)?(ndjson|jsonl|jsonlines)")

SINGLE_HEADERS: Final = frozenset(
    {b"authorization", b"content-type", b"idempotency-key", b"if-match", b"last-event-id"}
)
"""Headers that are read here and that a request has once at most."""

VALUES_MAX: Final = 10_000  # of one object, however deep: more keep the event loop for too long
LINE_BYTES_MAX: Final = 1024 * 1024


class Guard(ABC):
    """A dependency that decides whether the caller may use the route, which it can do without its parameters too."""

    __call__: Callable[..., Any]

    @abstractmethod
    async def admit(self, request: Request) -> None:
        """Raise Forbidden, or what else the caller is refused with, whatever the parameters are."""


async def require_rights(request: Request) -> None:
    """Refuse a caller without rights. To be called before a fault of the request is told.

    FastAPI checks the parameters of a dependency before it calls it, and so may never have asked the route's guard.
    """
    route = request.scope.get("route")
    for dependency in route.dependant.dependencies if isinstance(route, APIRoute) else ():
        if isinstance(dependency.call, Guard):
            await dependency.call.admit(request)


def repeated_header(headers: Headers) -> str | None:
    """Return the name of a header that is there more than once and may not be."""
    given = [name for name, _ in headers.raw if name in SINGLE_HEADERS]
    return next((name.decode() for name in given if given.count(name) > 1), None)


def check(route: APIRoute) -> None:
    """Have a route refuse what it does not take, once its other dependencies have seen to the caller's rights."""
    known = frozenset(query_parameters(route.dependant))

    async def refuse(request: Request) -> None:
        check_parameters(request, known)
        if route.body_field:
            refuse_other_than(JSON, request)

    route.dependant.dependencies.append(get_parameterless_sub_dependant(depends=Depends(refuse), path=route.path))


def query_parameters(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for each in dependant.dependencies:
        yield from query_parameters(each)


def check_parameters(request: Request, known: Collection[str]) -> None:
    """Refuse query parameters that the route does not have, and one that is given twice."""
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        detail = f"Remove it. The parameters here are {', '.join(sorted(known))}." if known else "Remove it."
        raise UnknownParameter(
            errors=[FieldError(pointer=f"?{name}", code=UnknownParameter.code, detail=detail) for name in unknown]
        )
    given = Counter(name for name, _ in request.query_params.multi_items())
    if given.total() > len(given):
        raise Invalid(
            errors=[
                FieldError(pointer=f"?{name}", code="duplicate", detail="Give it once.")
                for name, count in given.items()
                if count > 1
            ]
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
    return parsed_object(body, "body")


def parsed_object(text: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object that has no more values than can be validated in a moment."""
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Malformed(f"The {what} is not JSON.") from None
    if not isinstance(fields, dict):
        raise Malformed(f"The {what} is not a JSON object.")
    if len(text) > 2 * VALUES_MAX and has_more_values(fields, VALUES_MAX):  # each has two bytes at least
        raise TooLarge(f"Send at most {VALUES_MAX:,} values in one object.", values_max=VALUES_MAX)
    return fields


def has_more_values(value: Any, limit: int) -> bool:
    """Return whether there are more values than that in a JSON value, however deep."""
    pending, count = [value], 0
    while pending:
        found = pending.pop()
        inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
        count += len(inner)
        if count > limit:
            return True
        pending += inner
    return False


async def body_lines(request: Request, lines_max: int, turn: Callable[[], Awaitable[object]]) -> list[bytes]:
    """Read the lines of a body as they arrive, part by part in turn. Refuse one that is too long, or one too many."""
    lines: list[bytes] = []
    begun = bytearray()
    async for chunk in request.stream():
        await turn()
        if len(lines) + chunk.count(b"\n") > lines_max:
            raise _too_many(lines_max)
        *ends, more = chunk.split(b"\n")
        for end in ends:
            begun += end
            if len(begun) > LINE_BYTES_MAX:
                raise _too_long()
            lines.append(bytes(begun))
            begun.clear()
        begun += more
        if len(lines) + bool(begun) > lines_max:
            raise _too_many(lines_max)
        if len(begun) > LINE_BYTES_MAX:
            raise _too_long()
    return [line for line in (*lines, bytes(begun)) if line.strip()]


def _too_many(lines_max: int) -> TooLarge:
    return TooLarge(f"Send at most {lines_max:,} lines.", lines_max=lines_max)


def _too_long() -> TooLarge:
    return TooLarge(f"Send lines of at most {LINE_BYTES_MAX:,} bytes.", line_bytes_max=LINE_BYTES_MAX)
