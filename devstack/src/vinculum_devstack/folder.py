"""The data folder: whatever a stack keeps stands in it, and deleting it (after `vinculum down`) is a fresh start.

It holds keys, names, addresses and mail, so it is its owner's alone.
"""

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from vinculum_devstack.problems import StackError

LEAST_FREE_BYTES: Final = 1_000_000_000  # recycled WAL alone keeps up to 1 GB
OWNERS_ALONE: Final = 0o077
"""The umask of whatever writes into the folder."""


def data_folder() -> Path:
    return Path(os.environ.get("VINCULUM_DATA", ".vinculum")).absolute()


def prepare(data: Path) -> None:
    try:
        for part in (data, data / "logs", data / "run"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (data, *(data / name for name in ("logs", "run", "mail", "kafka", "postgres"))):
            close_to_others(part)
        (data / "run" / "writable").touch()
    except OSError as error:
        raise StackError(
            f"The data folder {data} can't be written: {error.strerror}. Set VINCULUM_DATA to a folder that can."
        ) from error
    free = shutil.disk_usage(data).free
    if free < LEAST_FREE_BYTES:
        raise StackError(
            f"Only {free / 1e6:,.0f} MB are free where the data folder {data} is, and 1 GB is needed. "
            "Make room, or set VINCULUM_DATA to a folder on another disk."
        )


def close_to_others(folder: Path) -> None:
    """Make a folder of an earlier stack its owner's alone. One that is everybody's on purpose, as /tmp, stays so."""
    mode = folder.stat().st_mode if folder.exists() else 0
    if mode & OWNERS_ALONE and not mode & stat.S_ISVTX:
        folder.chmod(stat.S_IMODE(mode) & ~OWNERS_ALONE)


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Wait until nobody else holds the lock; the system lets go of it if we are killed."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_json(path: Path, content: Any) -> None:
    """Write it whole or not at all, and never readable to others for a moment."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
    draft.replace(path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None
