"""The cases of RFC 7396, appendix A, that an object can have."""

from typing import Any

import pytest

from vinculum_command.domain.merge_patch import merged

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({"a": "foo"}, {"a": {"b": 1, "c": None}}, {"a": {"b": 1}}),
        (None, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "b"}, None, None),
    ],
)
def test_an_object_is_changed_key_by_key(before: Any, patch: Any, after: Any) -> None:
    assert merged(before, patch) == after


def test_null_may_be_a_value_like_any_other() -> None:
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, null_removes=False) == {"a": {"b": None, "c": 2}}
