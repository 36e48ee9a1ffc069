"""The processes of one data folder.

They outlive whoever started them and are found again by pid and start time, so that a pid that has gone to somebody
else is never signalled.
"""

import asyncio
import hashlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from vinculum_devstack.folder import read_json, write_json
from vinculum_devstack.problems import StackError

START_SECONDS: Final = 120.0  # on a machine that is busy; who ends before is noticed at once
STOP_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.05
CLOCK_TOLERANCE_SECONDS: Final = 10.0  # start times are told by the wall clock, which may have been set since


@dataclass(frozen=True)
class Program:
    name: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr((self.argv, sorted(self.env.items()))).encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """A program that runs on: what it needs before its start, and how it shows that it is ready."""

    program: Program
    is_ready: Callable[[], Awaitable[bool]]
    initialise: Callable[[], None] = lambda: None
    ports: tuple[str, ...] = ()


class Processes:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.started: list[str] = []

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops parts of the stack."""
        return self.data / "run" / "lock"

    def log(self, name: str) -> Path:
        return self.data / "logs" / f"{name}.log"

    def names(self) -> list[str]:
        return sorted(record.stem for record in (self.data / "run").glob("*.json"))

    def running(self, name: str) -> psutil.Process | None:
        record = read_json(self._record(name))
        if record is None:
            return None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(record["pid"])
            if process.status() == psutil.STATUS_ZOMBIE:
                with suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
            elif abs(process.create_time() - record["started"]) < CLOCK_TOLERANCE_SECONDS:
                return process
        return None

    def runs_as(self, program: Program) -> bool:
        """Tell whether it runs, and with the settings that it would be started with."""
        return self.running(program.name) is not None and (
            read_json(self._record(program.name))["digest"] == program.digest
        )

    def start(self, program: Program) -> None:
        log = os.fspath(self.log(program.name))
        pid = os.posix_spawnp(
            program.argv[0],
            program.argv,
            {**os.environ, **program.env},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,  # Ctrl-C in the terminal is for us alone; we stop the rest in order
        )
        record = {
            "pid": pid,
            "started": psutil.Process(pid).create_time(),
            "stop_signal": program.stop_signal,
            "digest": program.digest,
        }
        write_json(self._record(program.name), record)
        self.started.append(program.name)

    async def complete(self, program: Program) -> None:
        """Run it to its end, which has to be a good one."""
        with self.log(program.name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *program.argv, env={**os.environ, **program.env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            if await process.wait():
                raise StackError(f"{program.name} failed.\n{self.last_words(program.name)}")

    async def bring_up(self, part: Part) -> None:
        await asyncio.to_thread(part.initialise)
        self.start(part.program)
        await self._ready(part.program.name, part.is_ready)

    async def _ready(self, name: str, is_ready: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await is_ready():
                    if self.running(name) is None:
                        raise StackError(f"{name} ended while it was starting.\n{self.last_words(name)}")
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise StackError(
                f"{name} was not ready after {START_SECONDS:.0f} seconds.\n{self.last_words(name)}"
            ) from None

    async def stop(self, *names: str) -> None:
        """Stop them side by side; whoever doesn't listen is killed."""
        await asyncio.gather(*map(self._stop, names))

    async def _stop(self, name: str) -> None:
        if process := self.running(name):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(read_json(self._record(name))["stop_signal"])
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self.ended(name)
            if self.running(name):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                await self.ended(name)
        self._record(name).unlink(missing_ok=True)

    async def ended(self, name: str, *, look_seconds: float = LOOK_SECONDS) -> None:
        while self.running(name):  # noqa: ASYNC110  nobody tells us, unless it is our child
            await asyncio.sleep(look_seconds)

    def _record(self, name: str) -> Path:
        return self.data / "run" / f"{name}.json"

    def last_words(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-15:]
        return "\n".join([*(f"  {line}" for line in lines), f"The whole log is {self.log(name)}."])
