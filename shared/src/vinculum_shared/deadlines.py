"""Deadlines of work that may hang.

One clock watches them all: a timer for each (asyncio.timeout), moved when the body has come and when the answer begins,
made every request measurably slower.
"""

import asyncio
import time
from contextvars import ContextVar, Token
from math import inf
from types import TracebackType
from typing import Final, Protocol, Self

TICK_SECONDS: Final = 0.1


class Terminable(Protocol):
    def terminate(self) -> None: ...


class Deadline:
    """Cancels the task that entered it when its time is up; the task then leaves it with TimeoutError.

    What the task uses is terminated first: to tidy up, it would wait for what hangs.
    """

    __slots__ = ("_cancelling", "_task", "_token", "at", "expired", "using")

    _task: asyncio.Task[object]
    _cancelling: int
    _token: Token["Deadline | None"]

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds
        self.using: list[Terminable] = []
        self.expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task
        self._task, self._cancelling = task, task.cancelling()
        self._token = _current.set(self)
        _clock.watch(self, task.get_loop())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        _clock.watched.discard(self)
        _current.reset(self._token)
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self.expired = True
        try:
            for each in self.using:
                each.terminate()
        finally:
            self._task.cancel()


class Clock:
    def __init__(self) -> None:
        self.watched: set[Deadline] = set()
        self._ticks_in: asyncio.AbstractEventLoop | None = None

    def watch(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self.watched.add(deadline)
        if self._ticks_in is not loop:
            self._ticks_in = loop
            loop.call_later(TICK_SECONDS, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at all deadlines, and again while there are any, whatever becomes of one of them."""
        now = time.monotonic()
        try:
            for overdue in [each for each in self.watched if each.at <= now]:
                self.watched.discard(overdue)
                overdue.expire()
        finally:
            if self.watched:
                loop.call_later(TICK_SECONDS, self._tick, loop)
            else:
                self._ticks_in = None


_clock: Final = Clock()
_current: Final[ContextVar[Deadline | None]] = ContextVar("deadline", default=None)


def current() -> Deadline | None:
    """Return the deadline of what is being done, if it has one."""
    return _current.get()


def left() -> float:
    """Return how many seconds there are until the deadline of what is being done."""
    deadline = current()
    return deadline.at - time.monotonic() if deadline else inf


def extend(seconds: float) -> None:
    """Put off the deadline of what is being done, by a wait that was asked for, or is nothing's fault."""
    if deadline := current():
        deadline.at += seconds
