"""What the types of fields take from outside, and what they refuse."""

from typing import Any, Final

import pytest
from pydantic import TypeAdapter, ValidationError

from vinculum_shared.contracts.values import Details, ExternalIds

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


class TestExternalIds:
    @pytest.mark.parametrize("key", ["crm", "ERP ID", "CMTE_ID", "é", "a/b~c", "x" * 64])
    def test_have_printable_keys(self, key: str) -> None:
        assert takes(ExternalIds, {key: "A-17"})

    @pytest.mark.parametrize("key", ["", "a\nb", "a\0", "x" * 65])
    def test_have_no_other_keys(self, key: str) -> None:
        assert not takes(ExternalIds, {key: "A-17"})
