"""Value types that commands, events and heads share."""

import re
from collections.abc import Hashable, Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, NewType, Self, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    Strict,
    StringConstraints,
    ValidationError,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

AccountId = NewType("AccountId", UUID)
ContactId = NewType("ContactId", UUID)
EmailId = NewType("EmailId", UUID)
InvitationId = NewType("InvitationId", UUID)
RecordId = NewType("RecordId", UUID)
StaffId = NewType("StaffId", UUID)
TENANT_ID: Final = "[a-z0-9][a-z0-9-]{0,62}"
TENANT: Final = f"^{TENANT_ID}$"
TenantId = Annotated[str, StringConstraints(pattern=TENANT)]


@lru_cache(maxsize=65_536)
def _name(template: tuple[str, ...], *ids: object) -> str:
    return "/".join([template[0], *(str(UUID(int=each)) if isinstance(each, int) else str(each) for each in ids)])


def named(template: tuple[str, ...], fields: Mapping[str, Any]) -> str:
    """Return the name that a template makes of fields: `("link", "account_id", "contact_id")` is link/<a>/<c>.

    Names are remembered by the numbers of their ids: dozens are made a command, many of them the same, and a UUID's
    text, hash and comparison are each slow.
    """
    return _name(template, *[each.int if isinstance(each := fields[id_], UUID) else each for id_ in template[1:]])


NAME_LENGTH_MAX: Final = 500  # characters
TEXT_LENGTH_MAX: Final = 10_000  # characters
DETAILS_DEPTH_MAX: Final = 8  # objects and lists, one in another
NUMBER_LIMIT: Final = 2**63
YEAR_MIN: Final = 1900
DATE: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


class PersonalMark:
    """Marks a field whose value belongs to the event's personal part."""


PERSONAL: Final = PersonalMark()

T = TypeVar("T")
D = TypeVar("D", bound=date)
Personal = Annotated[T, PERSONAL]
"""A field of personal data. Always `| None`: erased, or left out for a reader without the `personal` scope."""


class OpenMark:
    """Publishes an enumeration as one that will grow."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        closed = handler(schema)
        return {"type": "string", "x-extensible-enum": closed.get("enum") or [closed["const"]]}


OpenEnum = Annotated[T, OpenMark()]
"""A field whose values become more without a new version: a reader passes over those it does not know."""

Distinct = Annotated[frozenset[T], PlainSerializer(sorted, when_used="json")]
"""A set that is always serialized in the same order; the order of a frozenset depends on the process's hash seed."""

Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]
# Control characters have no place in a name, and would end up in mail headers; and blanks alone are no name.
_CONTROLS: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
IN_A_LINE: Final = rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$"
# Unicode's Default_Ignorable_Code_Point: soft hyphen, zero-width and bidirectional marks, fillers and the like.
INVISIBLE: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
SHOWING: Final = rf"^[^{_CONTROLS}]*[^\s\u2800{_CONTROLS}{INVISIBLE}][^{_CONTROLS}]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH_MAX, pattern=IN_A_LINE)]
NO_NUL: Final = r"^[^\x00]*$"  # Postgres refuses it in a text
Text = Annotated[str, StringConstraints(max_length=TEXT_LENGTH_MAX, pattern=NO_NUL)]
CODE: Final = r"^[a-z][a-z0-9_:.-]{0,63}$"
Code = Annotated[str, StringConstraints(pattern=CODE)]
LOCALE: Final = r"^[a-z]{2}(-[A-Z]{2})?$"
Locale = Annotated[str, StringConstraints(pattern=LOCALE)]
WEB_ADDRESS: Final = r'^https?://[^\s\x00-\x1f\x7f/?#<>"]+[^\s\x00-\x1f\x7f?#<>"]*$'
CURRENCY: Final = r"^[A-Z]{3}$"
Currency = Annotated[str, StringConstraints(pattern=CURRENCY)]
"""Of ISO 4217."""
Key = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=IN_A_LINE)]
ExternalIds = Annotated[dict[Key, Name], Field(max_length=20)]
ExternalIdsPatch = Annotated[dict[Key, Name | None], Field(max_length=40)]  # all gone, and as many new
Phones = Annotated[tuple[Name, ...], Field(max_length=20)]
_NOT_IN_ADDRESSES: Final = r"""\s@<>()\[\],;:\\"\x00-\x1f\x7f-\x9f"""
ADDRESS: Final = rf"^[^{_NOT_IN_ADDRESSES}]{{1,64}}@[^{_NOT_IN_ADDRESSES}.]+(\.[^{_NOT_IN_ADDRESSES}.]+)+$"
ADDRESS_LENGTH_MAX: Final = 254
Address = Annotated[str, StringConstraints(max_length=ADDRESS_LENGTH_MAX, pattern=ADDRESS)]
"""An email address as it was typed. Mail goes to `addresses.mailable`, and `addresses.comparable` is what counts."""
ADDRESS_HASH: Final = "^[0-9a-f]{64}$"
AddressHash = Annotated[str, StringConstraints(max_length=64, pattern=ADDRESS_HASH)]


def _readable(details: dict[str, JsonValue]) -> dict[str, JsonValue]:
    _check_readable(details)
    return details


def _check_readable(value: JsonValue, *path: str | int) -> None:
    """Refuse what not everybody who stores or reads JSON can take."""
    match value:
        case dict() | list() if len(path) >= DETAILS_DEPTH_MAX:
            raise misplaced("too_deep", f"Nest objects and lists at most {DETAILS_DEPTH_MAX} deep.", *path)
        case dict():
            for key, inner in value.items():
                _check_readable(key, *path, key)
                _check_readable(inner, *path, key)
        case list():
            for index, inner in enumerate(value):
                _check_readable(inner, *path, index)
        case str() if len(value) > TEXT_LENGTH_MAX:
            raise misplaced("string_too_long", f"Give at most {TEXT_LENGTH_MAX} characters.", *path)
        case str() if "\0" in value:
            raise misplaced("nul", "Remove the NUL characters.", *path)
        case int() | float() if not abs(value) < NUMBER_LIMIT:
            raise misplaced("number_too_large", "Give a number of at most 64 bits.", *path)


def misplaced(code: str, detail: str, *path: str | int) -> ValidationError:
    """Return what a validator raises of a part of the value that it was given."""
    error = InitErrorDetails(type=PydanticCustomError(code, "{detail}", {"detail": detail}), loc=path, input=None)
    return ValidationError.from_exception_data("", [error])


def check_once(found: Iterable[tuple[tuple[str | int, ...], Hashable]]) -> None:
    """Raise what a validator raises if a value occurs a second time among places and their values."""
    seen: set[Hashable] = set()
    for place, value in found:
        if value in seen:
            raise misplaced("duplicate", "May occur once in a command. Leave it out here, or there.", *place)
        seen.add(value)


Details = Annotated[dict[str, JsonValue], Field(max_length=100), AfterValidator(_readable)]
DetailsPatch = Annotated[dict[str, JsonValue], Field(max_length=200), AfterValidator(_readable)]


def _written(at: object) -> object:
    """Refuse numbers, also in text, which pydantic counts from 1970."""
    if isinstance(at, date) or (isinstance(at, str) and DATE.match(at)):
        return at
    raise ValueError("Give it in the form of ISO 8601, for example 2026-03-01.")


def _day(day: object) -> object:
    if isinstance(day, str) and not DATE.fullmatch(day):
        raise ValueError("Give a date without a time, for example 2026-03-01.")
    return day


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("Give a time with its zone, for example 2026-03-01T09:00:00Z.")
    return at


def _recent(at: D) -> D:
    if at.year < YEAR_MIN:
        raise ValueError(f"It must not be before {YEAR_MIN}.")
    return at


Instant = Annotated[datetime, BeforeValidator(_written), AfterValidator(_aware), AfterValidator(_recent)]
Day = Annotated[date, BeforeValidator(_day), BeforeValidator(_written), AfterValidator(_recent)]


def added() -> Any:
    """Return the field of a type that had been emitted without it: left out of an event where it has no value."""
    return Field(default=None, exclude_if=lambda value: value is None)


class Value(BaseModel):
    """Immutable; fields it does not know are left out, so that a reader outlives added fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def of(cls, source: "Value", **fields: object) -> Self:
        """Take the fields that both have from `source`; those given win."""
        shared = {name: value for name, value in source.__dict__.items() if name in cls.__pydantic_fields__}
        return cls.model_validate(shared | fields)

    def evolve(self, **changes: Any) -> Self:
        """Return a copy with other values, which are not checked: `model_copy` in a fifth of its time."""
        copy = object.__new__(type(self))
        object.__setattr__(copy, "__dict__", self.__dict__ | changes)
        object.__setattr__(copy, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        object.__setattr__(copy, "__pydantic_extra__", None)
        object.__setattr__(copy, "__pydantic_private__", None)
        return copy


def _showing(schema: Any) -> Any:
    """Return a schema whose names show something. Events keep every name that was taken once, so the type does too."""
    match schema:
        case {"type": "str", "pattern": str(pattern)} if pattern == IN_A_LINE:
            published = {"pydantic_js_updates": {"pattern": IN_A_LINE}}  # ECMAScript has no escape for what is left out
            return {**schema, "pattern": SHOWING, "metadata": published}
        case dict():
            return {key: _showing(value) for key, value in schema.items()}
        case list() | tuple():
            return type(schema)(_showing(each) for each in schema)
        case _:
            return schema


class Input(Value):
    """A value that comes from outside: a field it does not know is an error, and so is a name that shows nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = _showing(handler(source))
        return schema
