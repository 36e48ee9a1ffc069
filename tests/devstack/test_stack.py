"""The `vinculum` command, with all that it starts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from vinculum_devstack import ports

pytestmark = [pytest.mark.acceptance]

EVERYTHING = ["command", "kafka", "mail-sink", "notifier", "postgres", "projection", "service-tokens"]
SECONDS_MAX = 60.0
LOOK_SECONDS = 0.1
BAKERY, NORA = "01990000-0000-7000-8000-000000000101", "01990000-0000-7000-8000-000000000201"  # of samples/people


class LocalStack:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.environment = {
            **os.environ,
            "VINCULUM_DATA": str(data),
            **{ports.variable(name): str(ports.free()) for name in ports.FIXED},
        }

    def vinculum(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  our own
            [sys.executable, "-m", "vinculum_devstack", *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def foreground(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "vinculum_devstack", "up"]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)  # noqa: S603  our own

    def up(self, *options: str) -> None:
        done = self.vinculum("up", "--detach", *options)
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.vinculum("status", "--json").stdout)
        return found

    def ask(self, path: str, *token: str, **query: str) -> dict[str, Any]:
        """Ask the command service, with a token as `vinculum token` makes it."""
        headers = {"authorization": f"Bearer {self.vinculum('token', *token).stdout.strip()}"}
        answer = httpx2.get(f"{self.status()['command']}{path}", params=query, headers=headers)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def positions(self) -> dict[str, int]:
        scopes = ("--scope", "log", "--scope", "all_tenants")
        found: dict[str, int] = self.ask("/v1/log/positions", "--kind", "service", *scopes)["positions"]
        return found

    def pids(self) -> dict[str, int]:
        """Return the pid of each part that was started, its watcher left out."""
        records = [record for record in (self.data / "run").glob("*.json") if record.stem != "watcher"]
        return {record.stem: json.loads(record.read_text())["pid"] for record in records}

    def runs(self) -> bool:
        return bool(self.status()["state"] == "running")


def alive(pids: Collection[int]) -> list[psutil.Process]:
    found = [process for process in psutil.process_iter() if process.pid in pids]
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(LOOK_SECONDS)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalStack]:
    stack = LocalStack(tmp_path / "data")
    yield stack
    stack.vinculum("down")


def test_it_comes_up_and_says_where_and_goes_down_without_a_trace(stack: LocalStack) -> None:
    stack.up()
    status = stack.status()
    assert status["state"] == "running"
    assert status["command"] == f"http://127.0.0.1:{stack.environment['VINCULUM_COMMAND_PORT']}"
    assert status["topic"] == "vinculum.events.v1"
    assert status["maildir"] == str(stack.data / "mail")
    for service, url in status["metrics"].items():
        assert "process_start_time_seconds" in httpx2.get(url).text, service
    assert sorted(status["metrics"]) == ["command", "notifier", "projection"]
    assert sorted(stack.pids()) == EVERYTHING
    text = stack.vinculum("status").stdout
    assert f"command metrics    {status['metrics']['command']}" in text

    assert [path for path in (stack.data, *stack.data.rglob("*")) if path.stat().st_mode & 0o077] == []

    script = f"{stack.vinculum('env').stdout}python -m vinculum_command verify; psql -Atc 'SELECT current_user'"
    shell = ["/bin/sh", "-euc", script]
    done = subprocess.run(shell, env=stack.environment, capture_output=True, text=True, check=True)  # noqa: S603  our own
    assert done.stdout.splitlines()[-1] == "postgres"

    before = stack.pids()
    stack.up()
    assert stack.pids() == before

    assert stack.vinculum("down").returncode == 0
    assert stack.status()["state"] == "stopped"
    assert alive(before.values()) == []


def test_the_demo_tenants_have_something_to_show_and_get_it_once(stack: LocalStack) -> None:
    stack.up("--samples")
    positions = stack.positions()
    assert positions["teamleader"] == 3 + 15_536 + 11_090 + 14_717  # registered, accounts, contacts, links
    assert positions["zoho"] == positions["dynamics"] == 3 + 91 + 91 + 91
    nora = {"account_id": BAKERY, "contact_id": NORA}
    assert stack.ask("/v1/access", "--tenant", "taxdome", **nora)["state"] == "active"
    stack.up("--samples")
    assert stack.positions() == positions

    (stack.data / "rows.csv").write_text("Account,Contact\nOne,\nTwo,Ada\n")
    columns = ["--map", "Account=account.name", "--map", "Contact=contact.name"]
    import_rows = ["import", str(stack.data / "rows.csv"), "--tenant", "taxdome", *columns]
    imported = stack.vinculum(*import_rows)
    assert imported.returncode == 0
    assert "line 2 is refused: contact_required" in imported.stdout
    assert "1 accounts and 1 contacts created, 1 links made; 0 rows changed nothing, 1 were refused" in imported.stdout
    stack.vinculum("down")
    cut_off = stack.vinculum(*import_rows)
    assert cut_off.returncode == 1
    assert "does not answer" in cut_off.stderr


def test_a_part_that_is_killed_is_restarted_also_when_nobody_watches(stack: LocalStack) -> None:
    stack.up()
    before = stack.pids()
    os.kill(before["projection"], signal.SIGKILL)
    wait_until(lambda: stack.pids()["projection"] != before["projection"])
    wait_until(stack.runs)
    assert {name for name, pid in stack.pids().items() if pid != before[name]} == {"projection"}
    assert "projection has ended. It is restarted" in (stack.data / "logs" / "watcher.log").read_text()


def test_it_comes_back_after_kill_9_of_all(stack: LocalStack) -> None:
    stack.up()
    for record in (stack.data / "run").glob("*.json"):
        os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    assert stack.status()["state"] == "stopped"
    assert "projection has ended." in stack.vinculum("status").stdout
    stack.up()
    assert stack.runs()


def test_ctrl_c_stops_it_all(stack: LocalStack) -> None:
    with stack.foreground() as foreground:
        assert foreground.stdout
        assert any("Ctrl-C stops it all" in line for line in foreground.stdout)
        pids = stack.pids().values()
        foreground.send_signal(signal.SIGINT)
        assert foreground.wait(timeout=SECONDS_MAX) == 0
    assert alive(pids) == []


def test_a_port_that_is_taken_is_told_before_anything_starts(stack: LocalStack) -> None:
    with socket.create_server((ports.HOST, int(stack.environment["VINCULUM_NOTIFIER_PORT"]))):
        refused = stack.vinculum("up", "--detach")
    assert refused.returncode == 1
    assert "set VINCULUM_NOTIFIER_PORT to a free port" in refused.stderr
    assert stack.pids() == {}


def test_a_folder_that_cannot_be_written_is_told(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = stack.vinculum("up", VINCULUM_DATA=str(tmp_path / "file" / "data"))
    assert refused.returncode == 1
    assert "Set VINCULUM_DATA" in refused.stderr
