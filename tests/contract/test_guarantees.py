"""Each promise of docs/guarantees.md names its tests."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]


def test_every_test_that_a_guarantee_names_is_there() -> None:
    text = (ROOT / "docs/guarantees.md").read_text("utf-8")
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", sources))
    assert set(re.findall(r"`(test_\w+)`", text)) <= there
    assert [each for each in re.findall(r"`(tests/[\w/]+(?:\.py)?)/?`", text) if not (ROOT / each).exists()] == []
