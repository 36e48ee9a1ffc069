"""Which ports the stack listens on, and what keeps it from it."""

import socket
from pathlib import Path

import pytest

from vinculum_devstack import ports
from vinculum_devstack.problems import StackError

pytestmark = pytest.mark.unit


def test_the_services_have_fixed_ports_and_the_rest_keep_those_they_were_given(tmp_path: Path) -> None:
    first = ports.settled(tmp_path)
    assert (first["command"], first["projection"], first["notifier"]) == (8001, 8002, 8003)
    assert len(set(first.values())) == len(first)
    assert ports.settled(tmp_path) == first


def test_a_variable_sets_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VINCULUM_COMMAND_PORT", "9001")
    assert ports.settled(tmp_path)["command"] == 9001


def test_what_is_no_port_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VINCULUM_KAFKA_PORT", "lots")
    with pytest.raises(StackError, match="VINCULUM_KAFKA_PORT is 'lots'"):
        ports.settled(tmp_path)


def test_a_port_that_is_taken_is_refused_with_the_variable_that_sets_it() -> None:
    with socket.create_server((ports.HOST, 0)) as taken, pytest.raises(StackError, match="VINCULUM_COMMAND_PORT"):
        ports.require_free("command", taken.getsockname()[1])
