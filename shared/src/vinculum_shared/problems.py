"""Problems (RFC 9457): what a caller is told when something can't be done.

A problem is named after the broken rule. Its docstring's first line is its title, and the rest says what to do; its
keyword arguments are its facts, and its base class decides the status. Nothing here knows HTTP: the domain raises
problems too.
"""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self, TypedDict

import orjson

from vinculum_shared import wording

URN: Final = "urn:vinculum:problem:"


class Problem(Exception):  # noqa: N818  a rejection is an answer, not an error of the program
    """The request could not be carried out."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "problem"
    title: ClassVar[str] = "The request could not be carried out."
    advice: ClassVar[str] = "Send it again later."

    def __init_subclass__(cls) -> None:
        if "code" not in cls.__dict__:
            cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if cls.__doc__:
            cls.title, _, advice = inspect.cleandoc(cls.__doc__).partition("\n")
            cls.advice = " ".join(advice.split())

    def __init__(self, detail: str | None = None, **facts: Any) -> None:
        self.detail = detail or f"{self.title} {self.advice}"
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
    """The request can't be read.

    Compare it with the documentation at /docs.
    """

    status = 400


class Unauthorized(Problem):
    """A valid bearer token is required.

    Send one in the header Authorization, as `Bearer <token>`.
    """

    status = 401

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="vinculum"'}


class Forbidden(Problem):
    """The token does not allow this.

    Use a token with the role or the scope that the documentation names.
    """

    status = 403


class NotFound(Problem):
    """There is nothing here.

    Check the address.
    """

    status = 404


class TenantNotFound(NotFound):
    """There is no such tenant.

    Check its id, or register it first.
    """


class AccountNotFound(NotFound):
    """There is no such account.

    Check the id, and which tenant the token is for.
    """


class ContactNotFound(NotFound):
    """There is no such contact.

    Check the id, and which tenant the token is for.
    """


def nothing_at(parameter: str) -> type[NotFound]:
    """Return the problem of a path whose `parameter` names nothing."""
    code = f"{parameter.removesuffix('_id')}_not_found"
    return next((problem for problem in NotFound.__subclasses__() if problem.code == code), NotFound)


class MethodNotAllowed(Problem):
    """This address does not know that method.

    The header Allow names those that it does.
    """

    status = 405


class TooSlow(Problem):
    """The body did not come in time.

    Send the request again, over a faster connection or in smaller parts.
    """

    status = 408


class Conflict(Problem):
    """A rule does not allow this.

    Read what is there now, and decide again.
    """

    status = 409


class Gone(Problem):
    """This can't be used any more.

    Ask for a new one.
    """

    status = 410


class PreconditionFailed(Problem):
    """What the request relied on has changed.

    Read it again, and repeat the request if it is still wanted.
    """

    status = 412


class TooLarge(Problem):
    """The body is larger than this address takes.

    Send it in smaller parts.
    """

    status = 413


class UnsupportedMediaType(Problem):
    """The body has a media type that this address does not take.

    Send JSON, with the header Content-Type: application/json.
    """

    status = 415


class FieldError(TypedDict):
    pointer: str
    """JSON pointer into the body; `?name` of a query parameter; the name of a header."""
    code: str
    detail: str


class Invalid(Problem):
    """A field has a value that can't be accepted.

    Correct it, and send the request again.
    """

    status = 422

    def __init__(self, detail: str | None = None, *, errors: Iterable[FieldError] = (), **facts: Any) -> None:
        located = [{"source": source(each["pointer"]), **each} for each in errors]
        super().__init__(detail or summary(located), **facts, **({"errors": located} if located else {}))

    @classmethod
    def at(cls, place: str, code: str, detail: str) -> Self:
        """Give the problem of one field."""
        return cls(errors=[FieldError(pointer=place, code=code, detail=detail)])


def summary(errors: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what to say of faults in one text: the first one, and how many more there are."""
    if not errors:
        return None
    first, more = errors[0], len(errors) - 1
    rest = f" `errors` has {more} more." if more else ""
    return f"{first['pointer']}: {first['detail']}{rest}" if first["pointer"] else f"{first['detail']}{rest}"


class UnknownField(Invalid):
    """The body has a field that isn't known here.

    Correct its name, or remove it.
    """


class UnknownParameter(Invalid):
    """The request has a query parameter that isn't known here.

    Correct its name, or remove it.
    """


ERRORS_MAX: Final = 100  # that one answer lists
ERROR_CODES: Final = {"extra_forbidden": UnknownField.code}


def invalid(errors: Iterable[Mapping[str, Any]], elsewhere: Iterable[FieldError] = ()) -> Invalid:
    """Give the problem that pydantic's errors about a body amount to, with those found elsewhere in the request."""
    every = _without_false_counts([*errors])
    found = [
        FieldError(
            pointer=pointer(_place(e["loc"])), code=ERROR_CODES.get(e["type"], e["type"]), detail=wording.detail(e)
        )
        for e in every[:ERRORS_MAX]
    ]
    found += elsewhere
    detail = f"{len(every):,} values can't be accepted; these are the first." if len(every) > ERRORS_MAX else None
    return (UnknownField if any(e["code"] == UnknownField.code for e in found) else Invalid)(detail, errors=found)


def _without_false_counts(errors: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out that a list is too short where it has faults itself: pydantic counts only a tuple's valid items."""
    within = {tuple(error["loc"][:depth]) for error in errors for depth in range(len(error["loc"]))}
    return [error for error in errors if error["type"] != "too_short" or tuple(error["loc"]) not in within]


def _place(loc: Sequence[str | int]) -> Sequence[str | int]:
    """Give where in the body an error is: pydantic marks one of a key by one more."""
    return loc[:-1] if loc[-1:] == ("[key]",) else loc


def source(place: str) -> Literal["body", "query", "header"]:
    """Return the part of the request that a pointer points into."""
    return "query" if place.startswith("?") else "header" if place and not place.startswith("/") else "body"


def pointer(keys: Iterable[str | int]) -> str:
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


class HeadTooLarge(Problem):
    """The address and the headers of the request are too large.

    Send at most 64 KiB of them.
    """

    status = 431


class Retriable(Problem):
    """Not now; the same request may succeed later.

    Send it again after the seconds that Retry-After names.
    """

    retry_after_seconds: ClassVar[int] = 1

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.facts.get("retry_after", self.retry_after_seconds))}


class TooMany(Retriable):
    """Too many requests are waiting.

    Send it again after the seconds that Retry-After names.
    """

    status = 429


class Unavailable(Retriable):
    """The service can't answer now.

    Send it again after the seconds that Retry-After names, with the same Idempotency-Key.
    """

    status = 503


class Internal(Problem):
    """The service failed; the request may or may not have been carried out.

    Send it again with the same Idempotency-Key: it is not carried out twice.
    """

    code = "internal"
