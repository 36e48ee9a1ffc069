"""What callers are told: in words of ours, and each time with what to do."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

import vinculum_command
import vinculum_notifier
import vinculum_projection
import vinculum_shared
from vinculum_command.http.routes import COMMANDS
from vinculum_shared import wording
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.http.principals import REFUSED, refused
from vinculum_shared.problems import Problem, invalid

pytestmark = pytest.mark.contract

MODELS: Final = [*COMMANDS.values(), *EVENT_TYPES.values()]
VALUES: Final[list[Any]] = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        2**70,
        float("nan"),
        "",
        " ",
        "x",
        "x" * 20_000,
        "a\0",
        "\ud800",
        "9" * 40,
        "0.123456789",
    ),
    *("2026-03-01", "1800-01-01", "2026-03-01T09:00:00", [], [None], ["x", "x"], [1] * 300, b"x", object()),
    *({}, {"a": None}, {"": "x"}, {str(n): n for n in range(200)}, {"a": {"b": "\0"}}),
]
FOREIGN: Final = re.compile(
    r"\b(pydantic|Python|str|int|dict|tuple|NoneType|\w*Error|\w*Exception|Value error)\b|[\\^$]|\[\w"
)
"""Words of Python and of pydantic, and signs of regular expressions."""


def everything(package: Any) -> Iterator[Any]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def problems(of: type[Problem] = Problem) -> Iterator[type[Problem]]:
    for each in of.__subclasses__():
        if each.__module__.startswith("vinculum_"):
            yield each
            yield from problems(each)


@pytest.fixture(scope="module", autouse=True)
def _services() -> None:
    for package in (vinculum_shared, vinculum_command, vinculum_projection, vinculum_notifier):
        list(everything(package))


def schemas(of: object) -> Iterator[dict[str, Any]]:
    """Return every part of a pydantic schema."""
    if isinstance(of, dict):
        if isinstance(of.get("type"), str):
            yield of
        for each in of.values():
            yield from schemas(each)
    elif isinstance(of, list | tuple):
        for each in of:
            yield from schemas(each)


def patterns() -> set[str]:
    found = [each for model in MODELS for each in schemas(model.__pydantic_core_schema__)]
    for package in (vinculum_command, vinculum_projection, vinculum_notifier, vinculum_shared):
        for module in everything(package):
            for route in getattr(getattr(module, "router", None), "routes", []):
                if isinstance(route, APIRoute):
                    for parameter in (*route.dependant.query_params, *route.dependant.path_params):
                        found += schemas(parameter._type_adapter.core_schema)
    return {each["pattern"] for each in found if isinstance(each.get("pattern"), str)}


def test_every_form_of_a_string_has_words() -> None:
    assert patterns() <= wording.FORMS.keys()


@pytest.mark.parametrize("model", MODELS)
def test_every_fault_is_told_in_words_of_ours(model: Any) -> None:
    for name, field in model.model_fields.items():
        kind: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, None, *field.metadata])  # type: ignore[arg-type]
        for value in VALUES:
            try:
                kind.validate_python(value)
            except ValidationError as error:
                check(error, f"{model.__name__}.{name}")
    with pytest.raises(ValidationError) as without:
        model.model_validate({"surplus": 1, "id": object()})
    check(without.value, model.__name__)


def check(error: ValidationError, where: str) -> None:
    for each in error.errors():
        said = wording.detail(each)
        assert said != wording.REFUSED, f"{where}: {each['type']} has no words"
        assert re.fullmatch(r"[A-Z].*\.", said, re.DOTALL), f"{where}: {said}"
        assert not FOREIGN.search(said), f"{where}: {said}"
    assert invalid(error.errors()).detail


def test_a_detail_says_more_than_the_title() -> None:
    found = set(problems())
    assert len(found) > 40
    for problem in found:
        assert problem.advice, problem.__name__
        assert problem().detail.startswith(f"{problem.title} "), problem.__name__
        assert not FOREIGN.search(problem().detail), problem.__name__


def test_a_token_is_refused_with_a_reason_in_words() -> None:
    for kind, reason, detail in REFUSED:
        if kind is not ValidationError:
            told = refused(kind("aud"))
            assert (told.facts["reason"], told.detail) == (reason, detail)
            assert not FOREIGN.search(detail)
