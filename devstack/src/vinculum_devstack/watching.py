"""Restarts what ends by itself, and says so.

Each part is watched for as long as it runs. What `vinculum down` or another `vinculum up` stops has no record any more,
or runs again, by the time that they let go of the stack's lock.
"""

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.markup import escape

from vinculum_devstack.folder import only_one
from vinculum_devstack.problems import StackError
from vinculum_devstack.processes import Part, Processes

QUICK_SECONDS: Final = 60.0
QUICK_ENDS_MAX: Final = 5
BACKOFF_SECONDS: Final = 1.0  # doubled with each quick end
LOOK_SECONDS: Final = 0.5


class Watch:
    def __init__(self, processes: Processes, console: Console) -> None:
        self.processes = processes
        self.console = console

    async def over(self, parts: Iterable[Part]) -> None:
        """Keep the parts running. Return when none runs any more."""
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(self.keep_running(part))

    async def keep_running(self, part: Part) -> None:
        """Restart the part whenever it ends. Return once it was stopped, or has ended quickly too often."""
        name, quick_ends, started = part.program.name, 0, time.monotonic()
        while await self._ends_by_itself(name):
            quick_ends = quick_ends + 1 if time.monotonic() - started < QUICK_SECONDS else 1
            if quick_ends == QUICK_ENDS_MAX:
                self._give_up(name)
                return
            backoff_seconds = BACKOFF_SECONDS * 2 ** (quick_ends - 1)
            self._say(f"{name} has ended. It is restarted in {backoff_seconds:.0f} s; its log is {self._log(name)}.")
            await asyncio.sleep(backoff_seconds)
            started = time.monotonic()
            self._restart(part)

    async def _ends_by_itself(self, name: str) -> bool:
        """Wait for the part's end. Return False if somebody stopped it."""
        while True:
            await self.processes.ended(name, look_seconds=LOOK_SECONDS)
            with only_one(self.processes.lock):
                if name not in self.processes.names():
                    return False
                if not self.processes.running(name):
                    return True

    def _restart(self, part: Part) -> None:
        with only_one(self.processes.lock):
            name = part.program.name
            if name in self.processes.names() and not self.processes.running(name):
                try:
                    part.initialise()
                    self.processes.start(part.program)
                except (OSError, StackError) as error:
                    self._say(f"[red]{name} could not be restarted:[/] {escape(str(error))}")

    def _give_up(self, name: str) -> None:
        self._say(
            f"[red]{name} has ended {QUICK_ENDS_MAX} times in a row within {QUICK_SECONDS:.0f} s of its start, and is "
            f"not restarted any more.[/] `vinculum up` starts it again.\n{escape(self.processes.last_words(name))}"
        )

    def _log(self, name: str) -> str:
        return escape(str(self.processes.log(name)))

    def _say(self, text: str) -> None:
        self.console.print(f"{datetime.now().astimezone():%H:%M:%S} {text}")
