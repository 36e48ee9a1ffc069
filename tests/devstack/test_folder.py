"""The data folder: its owner's alone, an earlier stack's too."""

import stat
from pathlib import Path

import pytest

from vinculum_devstack.folder import close_to_others, prepare, write_json

pytestmark = pytest.mark.unit


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_data_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(data)
    write_json(data / "stack.json", {})
    assert [mode(path) for path in (data, data / "logs", data / "run")] == [0o700] * 3
    assert mode(data / "stack.json") == 0o600


def test_that_of_an_earlier_stack_becomes_its_owner_s_alone(tmp_path: Path) -> None:
    folders = [tmp_path, *(tmp_path / name for name in ("logs", "run", "mail", "kafka", "postgres"))]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    prepare(tmp_path)
    assert [mode(folder) for folder in folders] == [0o700] * 6


def test_a_folder_that_is_everybody_s_on_purpose_stays_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    close_to_others(tmp_path)
    assert mode(tmp_path) == 0o1777
