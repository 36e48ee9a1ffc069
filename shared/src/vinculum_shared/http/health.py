"""Whether a process is alive, and ready: asked on a service's own port, and on each process's metrics port."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

import structlog
from starlette.requests import Request

from vinculum_shared import supervision
from vinculum_shared.deadlines import Deadline
from vinculum_shared.postgres import OUTAGE
from vinculum_shared.problems import Problem, Unavailable

log = structlog.get_logger()

CHECK_SECONDS_MAX: Final = 1.5  # less than an answer may take: of the projection, 2 s

Check = Callable[[Request], Awaitable[None]]
"""Raises if what the service needs isn't there."""


class NotAlive(Unavailable):
    """A part of the process hangs.

    Restart the process.
    """


class NotReady(Unavailable):
    """Something that the service needs isn't there.

    `checks` says what it waits for.
    """


def live() -> dict[str, Any]:
    """Say that every part of the process shows signs of life."""
    if stalled := supervision.stalled():
        raise NotAlive(_sentences(stalled), parts=stalled)
    return {"status": "ok"}


AbleWithout = Mapping[str, Collection[str]]
"""What parts may wait for while the service does what it is there for."""


async def ready(
    request: Request, checks: Mapping[str, Check], able_without: AbleWithout = MappingProxyType({})
) -> dict[str, Any]:
    """Say that all is there that the service needs. What it is `able_without` is only listed."""
    results = await asyncio.gather(*(_in_time(check, request) for check in checks.values()), return_exceptions=True)
    failed = {name: _words(result) for name, result in zip(checks, results, strict=True) if result}
    restarting, waiting = supervision.unready()
    said = {part: f"Waits for {what}." for part, what in waiting.items()}
    failed |= restarting | {
        part: said[part] for part, what in waiting.items() if what not in able_without.get(part, ())
    }
    if failed:
        raise NotReady(_sentences(failed), checks=failed)
    return {"status": "ok"} | ({"waiting": said} if said else {})


async def _in_time(check: Check, request: Request) -> None:
    with Deadline(CHECK_SECONDS_MAX):
        await check(request)


def _words(error: BaseException) -> str:
    if isinstance(error, OUTAGE):
        return "Postgres does not answer."
    if isinstance(error, Problem):
        return error.detail
    log.error("check_failed", exc_info=error)
    return "The check failed. The log says how."


def _sentences(parts: Mapping[str, str]) -> str:
    return " ".join(f"{name}: {said}" for name, said in parts.items())
