"""How a process's parts are kept running, and what is known of each: whether it is alive, and what it waits for.

A part is a loop that runs until it is asked to end. One that ends in any other way is restarted: an exception, a plain
return, a cancellation that nobody asked for, which an event loop would take for a good end. Until it runs again, the
process is not ready. A part whose heartbeat stops hangs, and only a new process helps.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf
from typing import Final

import structlog

from vinculum_shared import metrics
from vinculum_shared.telemetry import OperatorError

log = structlog.get_logger()

HEARTBEAT_SECONDS_MAX: Final = 60.0
IDLE_BEAT_SECONDS: Final = 5.0
BACKOFF_SECONDS_MIN: Final = 0.5
BACKOFF_SECONDS_MAX: Final = 15.0
RECOVERED_SECONDS: Final = 60.0
"""A part that ran this long before it failed is restarted after the shortest pause again."""

Part = Callable[[asyncio.Event], Awaitable[None]]
"""Runs until the event is set."""


class EndedEarlyError(Exception):
    """A part returned, or was cancelled, although nobody had asked it to end."""


@dataclass(eq=False)
class Heartbeat:
    part: str
    at: float = field(default_factory=time.monotonic)
    waits_for: str | None = None
    restarting: bool = False


_heartbeats: Final[list[Heartbeat]] = []
"""Those of this process."""
_own: Final[ContextVar[Heartbeat | None]] = ContextVar("heartbeat", default=None)


async def supervise(name: str, part: Part, stop: asyncio.Event) -> None:
    """Keep a part running until `stop`. An OperatorError ends it: starting again would not help."""
    with structlog.contextvars.bound_contextvars(part=name), _beating(name) as heartbeat:
        backoff_seconds = BACKOFF_SECONDS_MIN
        while True:
            began = time.monotonic()
            try:
                return await _run_once(part, stop)
            except Exception as error:
                if stop.is_set() or _needs_operator(error):
                    raise
                log.exception("part_failed")
            metrics.PART_RESTARTS.labels(name).inc()
            if time.monotonic() - began > RECOVERED_SECONDS:
                backoff_seconds = BACKOFF_SECONDS_MIN
            heartbeat.restarting = True
            if await set_within(stop, backoff_seconds):
                return None
            heartbeat.restarting, heartbeat.waits_for = False, None
            backoff_seconds = min(2 * backoff_seconds, BACKOFF_SECONDS_MAX)


async def _run_once(part: Part, stop: asyncio.Event) -> None:
    try:
        await part(stop)
    except asyncio.CancelledError as error:
        if cancellation_is_requested():
            raise
        raise EndedEarlyError from error
    if not stop.is_set():
        raise EndedEarlyError


def cancellation_is_requested() -> bool:
    """Whether somebody cancelled this task, rather than something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _needs_operator(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_needs_operator, error.exceptions))
    return isinstance(error, OperatorError)


@contextmanager
def _beating(part: str) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(part)
    _heartbeats.append(heartbeat)
    token = _own.set(heartbeat)
    try:
        yield heartbeat
    finally:
        _own.reset(token)
        _heartbeats.remove(heartbeat)


def beat() -> None:
    """Record that the part which runs here is alive."""
    if heartbeat := _own.get():
        heartbeat.at = time.monotonic()


def working() -> None:
    """Record that the part which runs here has come round, and waits for nothing."""
    waiting_for(None)


def waiting_for(what: str | None) -> None:
    """Record what the part which runs here can't go on without. Each change is logged: two lines for an outage."""
    if heartbeat := _own.get():
        heartbeat.at = time.monotonic()
        if what != heartbeat.waits_for:
            heartbeat.waits_for = what
            if what:
                log.warning("part_waits", waits_for=what)
            else:
                log.info("part_goes_on")


async def set_within(event: asyncio.Event, seconds: float = inf) -> bool:
    """Wait for an event, so long at most. Return whether it is set. A part that waits here is alive."""
    deadline = time.monotonic() + seconds
    while not event.is_set():
        beat()
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            return False
        try:
            async with asyncio.timeout(min(left_seconds, IDLE_BEAT_SECONDS)):
                await event.wait()
        except TimeoutError:
            pass
    return True


def stalled() -> dict[str, str]:
    """Return the parts that show no sign of life, and for how long."""
    ages = {each.part: time.monotonic() - each.at for each in _heartbeats}
    return {part: f"No heartbeat for {age:.0f} s." for part, age in ages.items() if age > HEARTBEAT_SECONDS_MAX}


def unready() -> tuple[dict[str, str], dict[str, str]]:
    """Return the parts that are being restarted, with what to say of them, and those that wait, with what for."""
    restarting = {each.part: "Failed, and is being restarted." for each in _heartbeats if each.restarting}
    waiting = {each.part: each.waits_for for each in _heartbeats if each.waits_for}
    return restarting, waiting
