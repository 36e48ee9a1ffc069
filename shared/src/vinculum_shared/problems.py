"""Problems (RFC 9457): what a caller is told when something can't be done.

A problem is named after the broken rule, its docstring's first line is its title, its keyword arguments are its
facts, and its base class decides the status. Nothing here knows HTTP: the domain raises problems too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self, TypedDict

import orjson

URN: Final = "urn:vinculum:problem:"


class Problem(Exception):  # noqa: N818  a rejection is an answer, not an error of the program
    """The request could not be carried out."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "problem"
    title: ClassVar[str] = "The request could not be carried out."

    def __init_subclass__(cls) -> None:
        if "code" not in cls.__dict__:
            cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if "title" not in cls.__dict__ and cls.__doc__:
            cls.title = cls.__doc__.strip().splitlines()[0]

    def __init__(self, detail: str | None = None, **facts: Any) -> None:
        self.detail = detail or self.title
        self.facts = facts
        super().__init__(self.detail)

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": URN + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.facts,
        }

    def json(self) -> bytes:
        return orjson.dumps(self.to_dict(), default=str, option=orjson.OPT_UTC_Z)

    def headers(self) -> dict[str, str]:
        return {}


class Malformed(Problem):
    """The request can't be read."""

    status = 400


class Unauthorized(Problem):
    """A valid bearer token is required."""

    status = 401

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="vinculum"'}


class Forbidden(Problem):
    """The token does not allow this."""

    status = 403


class NotFound(Problem):
    """There is nothing here."""

    status = 404


class TenantNotFound(NotFound):
    """There is no such tenant."""


class AccountNotFound(NotFound):
    """There is no such account."""


class ContactNotFound(NotFound):
    """There is no such contact."""


def nothing_at(parameter: str) -> NotFound:
    """Give the problem of a path with something in the place of `parameter` that can't be its value."""
    code = f"{parameter.removesuffix('_id')}_not_found"
    return next((problem for problem in NotFound.__subclasses__() if problem.code == code), NotFound)()


class MethodNotAllowed(Problem):
    """This address does not know that method."""

    status = 405


class TooSlow(Problem):
    """The body did not come in time."""

    status = 408


class Conflict(Problem):
    """A rule does not allow this."""

    status = 409


class Gone(Problem):
    """This can't be used any more."""

    status = 410


class PreconditionFailed(Problem):
    """What the request relied on has changed."""

    status = 412


class TooLarge(Problem):
    """The body is larger than this address takes."""

    status = 413


class UnsupportedMediaType(Problem):
    """The body has a media type that this address does not take."""

    status = 415


class FieldError(TypedDict):
    pointer: str
    """JSON pointer into the body; `?name` of a query parameter; the name of a header."""
    code: str
    detail: str


class Invalid(Problem):
    """A field has a value that can't be accepted."""

    status = 422

    def __init__(self, detail: str | None = None, *, errors: Iterable[FieldError] = (), **facts: Any) -> None:
        super().__init__(detail, **facts, errors=[{"source": source(each["pointer"]), **each} for each in errors])

    @classmethod
    def at(cls, place: str, code: str, detail: str) -> Self:
        """Give the problem of one field."""
        return cls(errors=[FieldError(pointer=place, code=code, detail=detail)])


class UnknownField(Invalid):
    """The body has a field that isn't known here."""


class UnknownParameter(Invalid):
    """The request has a query parameter that isn't known here."""


ERRORS_MAX: Final = 100  # that one answer lists
ERROR_CODES: Final = {"extra_forbidden": UnknownField.code}


def invalid(errors: Iterable[Mapping[str, Any]], elsewhere: Iterable[FieldError] = ()) -> Invalid:
    """Give the problem that pydantic's errors about a body amount to, with those found elsewhere in the request."""
    every = [*errors]
    found = [
        FieldError(pointer=pointer(_place(e["loc"])), code=ERROR_CODES.get(e["type"], e["type"]), detail=e["msg"])
        for e in every[:ERRORS_MAX]
    ]
    found += elsewhere
    detail = f"{len(every):,} values can't be accepted; these are the first." if len(every) > ERRORS_MAX else None
    return (UnknownField if any(e["code"] == UnknownField.code for e in found) else Invalid)(detail, errors=found)


def _place(loc: Sequence[str | int]) -> Sequence[str | int]:
    """Give where in the body an error is: pydantic marks one of a key by one more."""
    return loc[:-1] if loc[-1:] == ("[key]",) else loc


def source(place: str) -> Literal["body", "query", "header"]:
    """Return the part of the request that a pointer points into."""
    return "query" if place.startswith("?") else "header" if place and not place.startswith("/") else "body"


def pointer(keys: Iterable[str | int]) -> str:
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


class Retriable(Problem):
    """Not now; the same request may succeed later."""

    retry_after_seconds: ClassVar[int] = 1

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.facts.get("retry_after", self.retry_after_seconds))}


class TooMany(Retriable):
    """Too many requests are waiting."""

    status = 429


class Unavailable(Retriable):
    """The service can't answer now."""

    status = 503


class Internal(Problem):
    """The service failed; the request may or may not have been carried out."""

    code = "internal"
