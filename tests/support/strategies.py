"""Any value of a contract's model, within what the model allows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

from annotated_types import Ge, GroupedMetadata, MaxLen, MinLen
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import to_jsonable_python

from vinculum_shared.contracts import values

M = TypeVar("M", bound=BaseModel)

FEW: Final = 3
SHORT: Final = 20
ANY_TEXT: Final = st.characters(codec="utf-8", exclude_characters="\x00")
IN_A_LINE: Final = st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"))

SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(-1e18, 1e18),
    st.text(ANY_TEXT, max_size=SHORT),
)

PLAIN: Final[dict[object, SearchStrategy[Any]]] = {
    UUID: st.uuids(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False, places=4),
    date: st.dates(date(values.YEAR_MIN, 1, 1)),
    datetime: st.datetimes(datetime(values.YEAR_MIN, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    NoneType: st.none(),
    JsonValue: st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=FEW) | st.dictionaries(st.text(ANY_TEXT, max_size=SHORT), inner, max_size=FEW)
        ),
        max_leaves=FEW,
    ),
}


@cache
def of_model(model: type[M]) -> SearchStrategy[M]:
    fields = {name: of_type(field.annotation, field.metadata) for name, field in model.model_fields.items()}
    return st.fixed_dictionaries(fields).filter(partial(accepted, model)).map(model.model_validate)


def sent(model: type[BaseModel]) -> SearchStrategy[dict[str, Any]]:
    """Make any body, as JSON has it, that the model accepts; fields with a default may be left out."""
    fields = {name: of_type(field.annotation, field.metadata) for name, field in model.model_fields.items()}
    required = {name: fields.pop(name) for name, field in model.model_fields.items() if field.is_required()}
    bodies = st.fixed_dictionaries(required, optional=fields)
    return bodies.filter(partial(accepted, model)).map(to_jsonable_python)


def accepted(model: type[BaseModel], fields: object) -> bool:
    try:
        model.model_validate(fields)
    except ValidationError:
        return False
    return True


def of_type(annotation: Any, metadata: Sequence[Any] = ()) -> SearchStrategy[Any]:
    if isinstance(annotation, NewType):
        return of_type(annotation.__supertype__, metadata)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return of_model(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if annotation is int:
        return st.integers(bound(metadata, Ge, "ge", -(2**63)), 2**63 - 1)
    if annotation is str:
        return text(metadata)
    return of_generic(get_origin(annotation), get_args(annotation), metadata)


def of_generic(origin: Any, arguments: tuple[Any, ...], metadata: Sequence[Any]) -> SearchStrategy[Any]:
    at_most = min(FEW, bound(metadata, MaxLen, "max_length", FEW))
    if origin is Annotated:
        return of_type(arguments[0], [*metadata, *arguments[1:]])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in {Union, UnionType}:
        return st.one_of([of_type(each, metadata) for each in arguments])
    if origin is tuple:
        return st.lists(of_type(arguments[0]), max_size=at_most).map(tuple)
    if origin is frozenset:
        return st.frozensets(of_type(arguments[0]))
    if origin in {dict, Mapping}:
        return st.dictionaries(of_type(arguments[0]), of_type(arguments[1]), max_size=at_most)
    raise NotImplementedError(f"{origin}[{arguments}]")


def text(metadata: Sequence[Any]) -> SearchStrategy[str]:
    shortest, longest = bound(metadata, MinLen, "min_length", 0), bound(metadata, MaxLen, "max_length", SHORT)
    pattern = next((each.pattern for each in flat(metadata) if getattr(each, "pattern", None)), None)
    match pattern:
        case None | r"^[^\x00]*$":
            return st.text(ANY_TEXT, min_size=shortest, max_size=min(longest, SHORT))
        case values.IN_A_LINE:
            some = st.text(IN_A_LINE, min_size=shortest, max_size=min(longest, SHORT))
            return some.filter(lambda each: not each.isspace())
        case values.ADDRESS:  # a command takes only what is one
            local = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=SHORT)
            return st.builds("{}@{}".format, local, st.sampled_from(("example.com", "Münch-en.example", "例え.test")))
        case values.LOCALE:  # a command takes only those that exist
            return st.sampled_from(("en", "it", "it-CH", "it-AT", "ro-RO"))
        case values.CURRENCY:
            return st.sampled_from(("EUR", "JPY", "KWD"))
        case _:
            inner = pattern.removeprefix("^").removesuffix("$")
            return st.from_regex(inner, fullmatch=True, alphabet=IN_A_LINE).filter(lambda each: len(each) <= longest)


def bound(metadata: Sequence[Any], kind: type, attribute: str, otherwise: int) -> int:
    return next((int(getattr(each, attribute)) for each in flat(metadata) if isinstance(each, kind)), otherwise)


def flat(metadata: Sequence[Any]) -> list[Any]:
    return [each for group in metadata for each in (group if isinstance(group, GroupedMetadata) else [group])]
