"""Problems: how a refusal is told."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vinculum_shared.problems import (
    Conflict,
    FieldError,
    Invalid,
    Problem,
    TooMany,
    Unauthorized,
    UnknownField,
    invalid,
    pointer,
)

pytestmark = pytest.mark.unit


class LastContact(Conflict):
    """The account would be left without a contact.

    Link another one first.
    """


class Terms(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: str


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    contacts: list[Terms]


def errors_of(body: object) -> Invalid:
    with pytest.raises(ValidationError) as refused:
        Body.model_validate(body)
    return invalid(refused.value.errors())


def test_a_problem_is_named_by_its_class_and_told_by_its_docstring() -> None:
    assert LastContact(account_id="a1").to_dict() == {
        "type": "urn:vinculum:problem:last_contact",
        "title": "The account would be left without a contact.",
        "status": 409,
        "detail": "The account would be left without a contact. Link another one first.",
        "code": "last_contact",
        "account_id": "a1",
    }


def test_a_detail_says_more_than_the_title() -> None:
    assert LastContact("Keep Ada.").to_dict()["detail"] == "Keep Ada."


def test_faults_are_summed_up_and_listed_where_there_are_any() -> None:
    one, two = (FieldError(pointer=f"/{name}", code="missing", detail="This field is required.") for name in "ab")
    assert Invalid(errors=[one]).detail == "/a: This field is required."
    assert Invalid(errors=[one, two]).detail == "/a: This field is required. `errors` has 1 more."
    assert "errors" not in Invalid().to_dict()


def test_a_subclass_may_choose_its_own_code() -> None:
    class Renamed(Problem):
        """Some rule.

        Keep it.
        """

        code = "some_rule"

    assert Renamed().to_dict()["type"] == "urn:vinculum:problem:some_rule"


def test_every_error_of_a_body_is_pointed_to() -> None:
    problem = errors_of({"contacts": [{"role": "owner"}, {"role": 1}, {}]})
    assert type(problem) is Invalid
    assert [(error["pointer"], error["code"]) for error in problem.facts["errors"]] == [
        ("/contacts/1/role", "string_type"),
        ("/contacts/2/role", "missing"),
    ]


def test_an_unknown_field_is_a_problem_of_its_own_whatever_else_is_wrong() -> None:
    problem = errors_of({"contacts": [{"role": 1}], "cc": []})
    assert isinstance(problem, UnknownField)
    assert [error["code"] for error in problem.facts["errors"]] == ["string_type", "unknown_field"]


def test_an_error_of_a_key_is_where_the_key_is() -> None:
    class Named(BaseModel):
        ids: dict[Annotated[str, Field(max_length=3)], str]

    with pytest.raises(ValidationError) as refused:
        Named.model_validate({"ids": {"a/b~": "x"}})
    assert [error["pointer"] for error in invalid(refused.value.errors()).facts["errors"]] == ["/ids/a~1b~0"]


def test_a_list_is_not_too_short_because_of_faults_in_it() -> None:
    class Numbers(BaseModel):
        numbers: tuple[int, ...] = Field(min_length=1)

    for numbers, expected in ((["x"], ["/numbers/0"]), ([], ["/numbers"])):
        with pytest.raises(ValidationError) as refused:
            Numbers.model_validate({"numbers": numbers})
        assert [error["pointer"] for error in invalid(refused.value.errors()).facts["errors"]] == expected


def test_pointers_escape_what_json_pointers_do() -> None:
    assert pointer(["a/b", "c~d", 0]) == "/a~1b/c~0d/0"


def test_what_may_succeed_later_says_when() -> None:
    assert TooMany().headers() == {"Retry-After": "1"}
    assert TooMany(retry_after=7).headers() == {"Retry-After": "7"}


def test_a_missing_token_is_asked_for() -> None:
    assert "Bearer" in Unauthorized().headers()["WWW-Authenticate"]
