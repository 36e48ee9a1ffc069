"""What tells a request from another one with the same idempotency key: the same in every process and release."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.strategies import sent
from vinculum_command.domain.commands import Command
from vinculum_command.http.routes import COMMANDS
from vinculum_command.outcomes import fingerprint

pytestmark = pytest.mark.unit

STORED: Final = Path(__file__).with_name("fingerprints.json")
PROGRAM: Final = """
import sys, orjson
from vinculum_command.http.routes import COMMANDS
from vinculum_command.outcomes import fingerprint
for line in sys.stdin:
    name, body = orjson.loads(line)
    print(fingerprint(COMMANDS[name].model_validate(body)).hex(), flush=True)
"""

Process = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def processes() -> Iterator[list[Process]]:
    """Two processes that put the elements of a set in another order."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                subprocess.Popen(  # noqa: S603  of this file's own
                    [sys.executable, "-c", PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={"PYTHONHASHSEED": seed},
                )
            )
            for seed in ("1", "2")
        ]


@pytest.mark.parametrize("command", COMMANDS.values())
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_is_the_same_in_every_process(command: type[Command], data: st.DataObject, processes: list[Process]) -> None:
    body = data.draw(sent(command))
    assert len({asked(process, command, body) for process in processes}) == 1


def asked(process: Process, command: type[Command], body: dict[str, Any]) -> str:
    assert process.stdin
    assert process.stdout
    process.stdin.write(orjson.dumps([command.__name__, body]) + b"\n")
    process.stdin.flush()
    return process.stdout.readline().decode()


def test_is_the_same_in_every_release() -> None:
    """A key is kept for 72 hours: a release that hashes the same body otherwise refuses repeats of what came before."""
    stored = orjson.loads(STORED.read_bytes())
    assert stored.keys() == COMMANDS.keys()
    for name, each in stored.items():
        command = COMMANDS[name].model_validate(each["body"])
        assert fingerprint(command).hex() == each["fingerprint"], name
