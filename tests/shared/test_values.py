"""What the types of fields take from outside, and what they refuse."""

from datetime import UTC, date, datetime
from typing import Any, Final

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from vinculum_shared.contracts.values import Count, Day, Details, ExternalIds, Flag, Input, Instant, Name, Phones

pytestmark = pytest.mark.unit


def takes(kind: Any, value: object) -> bool:
    """Tell if the type takes the value, as it is."""
    try:
        return bool(TypeAdapter(kind).validate_python(value) == value)
    except ValidationError:
        return False


def nested(depth: int) -> dict[str, Any]:
    """As many objects and lists as that, one in another."""
    value: Any = 1
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return {"a": value}


class TestDetails:
    LARGEST: Final = {
        **{f"key {number}": None for number in range(97)},
        "": {"ERP/ID": [1, -2.5, True, None, {"~": "é\n"}]},
        "x" * 10_000: ["x" * 10_000],
        "deep": nested(7),
    }

    def test_are_any_object(self) -> None:
        assert takes(Details, {})
        assert takes(Details, self.LARGEST)

    @pytest.mark.parametrize(
        ("details", "where", "code"),
        [
            ({**LARGEST, "more": 1}, (), "too_long"),
            ({"a": ["x", {"b": "a\0"}]}, ("a", 1, "b"), "nul"),
            ({"a": {"b\0": 1}}, ("a", "b\0"), "nul"),
            ({"a": ["x" * 10_001]}, ("a", 0), "string_too_long"),
            ({"a": {"x" * 10_001: 1}}, ("a", "x" * 10_001), "string_too_long"),
            ({"deep": nested(8)}, ("deep",), "too_deep"),
            ({"a": 2**63}, ("a",), "number_too_large"),
            ({"a": [1e300]}, ("a", 0), "number_too_large"),
            ({"a": float("nan")}, ("a",), "number_too_large"),
        ],
    )
    def test_are_such_as_everybody_can_read(self, details: object, where: tuple[str | int, ...], code: str) -> None:
        with pytest.raises(ValidationError) as refused:
            TypeAdapter(Details).validate_python(details)
        (error,) = refused.value.errors()
        assert (error["loc"][: len(where)], error["type"]) == (where, code)

    @pytest.mark.parametrize("details", [[], "a", 1])
    def test_are_nothing_else(self, details: object) -> None:
        assert not takes(Details, details)


class TestAName:
    @pytest.mark.parametrize("name", ["A", " A ", "Caffè Lovelace", "李", "x" * 500])
    def test_stays_as_it_was_written(self, name: str) -> None:
        assert takes(Name, name)

    @pytest.mark.parametrize("name", ["", "  ", "\u00a0", "\u3000 ", "a\nb", "a\0", "a\u2028b", "x" * 501])
    def test_says_something_in_one_line(self, name: str) -> None:
        assert not takes(Name, name)


class Named(Input):
    name: Name
    phones: Phones = ()
    external_ids: ExternalIds = Field(default_factory=dict)


INVISIBLE_NAMES: Final = ["\u200b", "\u00ad\u2060 ", "\u3164", "\u2800", "\ufeff\u202e", "\U000e0041", "\ufe0f"]


class TestANameFromOutside:
    @pytest.mark.parametrize("name", INVISIBLE_NAMES)
    def test_has_something_to_see(self, name: str) -> None:
        assert takes(Name, name)  # events keep what was taken once
        for fields in ({"name": name}, {"name": "A", "phones": [name]}, {"name": "A", "external_ids": {"crm": name}}):
            with pytest.raises(ValidationError) as refused:
                Named.model_validate(fields)
            assert [error["type"] for error in refused.value.errors()] == ["string_pattern_mismatch"]

    @pytest.mark.parametrize("name", ["\u0645\u06cc\u200c\u062e", "\U0001f469\u200d\U0001f4bb", "A\ufe0f", "\u200bA"])
    def test_may_have_invisible_characters_beside(self, name: str) -> None:
        assert Named(name=name).name == name


class TestExternalIds:
    @pytest.mark.parametrize("key", ["crm", "ERP ID", "CMTE_ID", "é", "a/b~c", "x" * 64])
    def test_have_printable_keys(self, key: str) -> None:
        assert takes(ExternalIds, {key: "A-17"})

    @pytest.mark.parametrize("key", ["", " ", "a\nb", "a\0", "x" * 65])
    def test_have_no_other_keys(self, key: str) -> None:
        assert not takes(ExternalIds, {key: "A-17"})


def reads(kind: Any, value: object) -> object:
    """Return what the type makes of the value; None: it is refused."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None


class TestAnInstant:
    @pytest.mark.parametrize("text", ["2026-03-01T09:00:00Z", "2026-03-01T10:00:00+01:00", "2026-03-01 09:00Z"])
    def test_is_written_with_its_time_zone(self, text: str) -> None:
        assert reads(Instant, text) == datetime(2026, 3, 1, 9, tzinfo=UTC)

    @pytest.mark.parametrize(
        "value", [0, 1.5, True, "0", "1772355600", "2026-03-01T09:00:00", "2026-03-01", "March 1st", "", [], {}]
    )
    def test_is_nothing_else(self, value: object) -> None:
        assert reads(Instant, value) is None

    @pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1899-12-31T23:59:59Z"])
    def test_is_not_before_1900(self, text: str) -> None:
        assert reads(Instant, text) is None
        assert reads(Instant, "1900-01-01T00:00:00Z")


class TestADay:
    def test_is_written_as_a_date(self) -> None:
        assert reads(Day, "2026-03-01") == date(2026, 3, 1)

    @pytest.mark.parametrize(
        "value", [0, 86_400, True, "0", "2026-03-01T00:00:00Z", "2026-02-30", "1899-12-31", "0001-01-01", "", [], {}]
    )
    def test_is_nothing_else(self, value: object) -> None:
        assert reads(Day, value) is None


@pytest.mark.parametrize("value", [0, 1, 1.0, "true", "yes", "1", "", None])
def test_a_flag_is_true_or_false_and_nothing_else(value: object) -> None:
    assert [reads(Flag, each) for each in (True, False)] == [True, False]
    assert reads(Flag, value) is None


@pytest.mark.parametrize("value", [3.0, "3", True, "", None])
def test_a_count_is_a_number_and_nothing_else(value: object) -> None:
    assert reads(Count, 3) == 3
    assert reads(Count, value) is None
