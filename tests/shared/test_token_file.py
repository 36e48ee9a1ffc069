"""A token that is renewed while the service runs."""

import os
from pathlib import Path

import pytest

from vinculum_shared.token_file import TokenFile

pytestmark = pytest.mark.unit


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    file = TokenFile(path)
    assert file.read() == "first"
    path.write_text("second\n")
    os.utime(path, (1, 1))
    assert file.read() == "second"
