"""Parts that end by themselves: restarted, told of, and left alone after five quick ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from support.waiting import until
from vinculum_devstack import watching
from vinculum_devstack.folder import only_one, prepare
from vinculum_devstack.processes import Part, Processes, Program
from vinculum_devstack.watching import Watch

pytestmark = pytest.mark.integration


async def at_once() -> bool:
    return True


def part(code: str) -> Part:
    return Part(Program("part", [sys.executable, "-c", code]), at_once)


LASTING = part("import signal; signal.pause()")
BROKEN = part("raise SystemExit('out of luck')")


class Watched:
    """A part that is watched, and what is said about it."""

    def __init__(self, data: Path) -> None:
        self.processes = Processes(data)
        self.said = StringIO()

    async def watch(self, part: Part) -> None:
        await Watch(self.processes, Console(file=self.said, soft_wrap=True)).over([part])

    def pid(self) -> int:
        process = self.processes.running("part")
        return process.pid if process else 0

    async def killed(self) -> int:
        """Kill it. Return the pid that it had."""
        before = self.pid()
        os.kill(before, signal.SIGKILL)

        async def restarted() -> bool:
            return self.pid() not in {before, 0}

        await until(restarted)
        return before


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(watching, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.001)
    prepare(tmp_path)
    watched = Watched(tmp_path)
    yield watched
    await watched.processes.stop("part")


async def test_what_ends_is_restarted_and_that_is_said(watched: Watched) -> None:
    await watched.processes.bring_up(LASTING)
    watching_it = asyncio.create_task(watched.watch(LASTING))
    await watched.killed()
    assert "part has ended. It is restarted" in watched.said.getvalue()
    assert str(watched.processes.log("part")) in watched.said.getvalue()
    assert not watching_it.done()
    watching_it.cancel()


async def test_after_five_quick_ends_it_is_left_alone_and_its_last_lines_are_shown(watched: Watched) -> None:
    watched.processes.start(BROKEN.program)
    await watched.watch(BROKEN)
    assert watched.said.getvalue().count("It is restarted") == 4
    assert "has ended 5 times in a row" in watched.said.getvalue()
    assert "out of luck" in watched.said.getvalue()


async def test_what_has_run_for_a_while_is_always_restarted(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "QUICK_SECONDS", 0.0)
    await watched.processes.bring_up(LASTING)
    watching_it = asyncio.create_task(watched.watch(LASTING))
    for _ in range(watching.QUICK_ENDS_MAX + 1):
        await watched.killed()
    watching_it.cancel()


async def test_what_somebody_stops_is_not_restarted(watched: Watched) -> None:
    await watched.processes.bring_up(LASTING)
    watching_it = asyncio.create_task(watched.watch(LASTING))

    def stop_as_down_does() -> None:
        with only_one(watched.processes.lock):
            asyncio.run(watched.processes.stop("part"))

    await asyncio.to_thread(stop_as_down_does)
    await watching_it
    assert watched.said.getvalue() == ""
    assert watched.pid() == 0
