"""Waiting until a position is applied: one look serves all who wait, and none of them holds a connection.

A position that the log does not have is not waited for. The log is asked where it ends, once for all who wait for
positions of a tenant, and only after a moment in which what has just been written arrives by itself.
"""

import asyncio
import time
from collections.abc import Coroutine
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, TypeVar

import structlog

from vinculum_shared import deadlines
from vinculum_shared.consuming.backfill import LOG_OR_POSTGRES_AWAY
from vinculum_shared.consuming.event_log import EventLog
from vinculum_shared.deadlines import Deadline
from vinculum_shared.postgres import OUTAGE, Pool, lent
from vinculum_shared.problems import Invalid, Retriable, Unavailable

log = structlog.get_logger()

T = TypeVar("T")

WAIT_SECONDS_MAX: Final = 2.0
TRUST_SECONDS: Final = 0.1  # before the log is asked whether it has the position
PAUSE_SECONDS_MIN: Final = 0.005
PAUSE_SECONDS_MAX: Final = 0.05
LOOK_SECONDS_MAX: Final = 1.0

POSITIONS: LiteralString = "SELECT tenant, position FROM subscription WHERE tenant = ANY ($1::text[])"


class ProjectionBehind(Retriable):
    """What is read here has not got as far as `min_position` yet.

    Send it again after the seconds that Retry-After names.
    """

    status = 409


@dataclass(eq=False)
class Waiting:
    tenant: str
    position: int
    applied: int
    """As of the last look."""
    reached: asyncio.Future[bool]
    """False if it can't be known."""
    since: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.since + WAIT_SECONDS_MAX - time.monotonic())


@dataclass(frozen=True)
class Question:
    asked_at: float
    end: asyncio.Task[int | None]
    """Where the log ends; None if it can't be asked."""


class Arrivals:
    """The positions that a process's queries wait for."""

    def __init__(self, pool: Pool, event_log: EventLog) -> None:
        self._pool = pool
        self._event_log = event_log
        self._waiting: set[Waiting] = set()
        self._looking: asyncio.Task[None] | None = None
        self._questions: dict[str, Question] = {}

    async def reach(self, tenant: str, position: int, applied: int) -> None:
        """Wait until the tenant's events up to this position are applied, by whichever process does it."""
        deadlines.extend(WAIT_SECONDS_MAX)
        waiting = Waiting(tenant, position, applied, asyncio.get_running_loop().create_future())
        self._waiting.add(waiting)
        if self._looking is None or self._looking.done():
            self._looking = in_background(self._look_while_any_wait())
        try:
            await self._reached(waiting)
        finally:
            self._waiting.discard(waiting)

    async def _reached(self, waiting: Waiting) -> None:
        reached = waiting.reached
        await asyncio.wait([reached], timeout=TRUST_SECONDS)
        if not reached.done():
            end = self._end_of_log(waiting)
            either: list[asyncio.Future[Any]] = [reached, end]
            await asyncio.wait(either, timeout=waiting.seconds_left, return_when=asyncio.FIRST_COMPLETED)
            if not reached.done() and end.done():
                refuse_beyond(end.result(), waiting.position)
        await asyncio.wait([reached], timeout=waiting.seconds_left)
        if not reached.done():
            raise ProjectionBehind(position=waiting.applied, min_position=waiting.position)
        if not reached.result():
            raise Unavailable

    def _end_of_log(self, waiting: Waiting) -> asyncio.Task[int | None]:
        """Ask where the log ends, or share the answer to a question that was asked after this one began to wait."""
        question = self._questions.get(waiting.tenant)
        if question is None or question.asked_at < waiting.since:
            question = Question(time.monotonic(), in_background(self._ask(waiting.tenant)))
            self._questions[waiting.tenant] = question
        return question.end

    async def _ask(self, tenant: str) -> int | None:
        try:
            return (await self._event_log.look_up({tenant: 0}))[tenant].end
        except LOG_OR_POSTGRES_AWAY as error:
            log.warning("log_unavailable", reason=type(error).__name__)
            return None

    async def _look_while_any_wait(self) -> None:
        """Look how far the tenants are, the less often the longer all have waited."""
        while self._waiting:
            youngest = time.monotonic() - max(each.since for each in self._waiting)
            await asyncio.sleep(min(max(PAUSE_SECONDS_MIN, youngest / 4), PAUSE_SECONDS_MAX))
            await self._look()

    async def _look(self) -> None:
        looked_for = tuple(self._waiting)
        try:
            with Deadline(LOOK_SECONDS_MAX):
                async with lent(self._pool) as db:
                    rows = await db.fetch(POSITIONS, list({each.tenant for each in looked_for}))
        except OUTAGE as error:
            log.warning("postgres_lost", reason=type(error).__name__)
            for each in looked_for:
                settle(each.reached, known=False)
            return
        applied = dict(map(tuple, rows))
        for each in looked_for:
            each.applied = applied.get(each.tenant, 0)
            if each.applied >= each.position:
                settle(each.reached, known=True)


def settle(reached: asyncio.Future[bool], *, known: bool) -> None:
    if not reached.done():
        reached.set_result(known)


def refuse_beyond(end: int | None, position: int) -> None:
    if end is not None and position > end:
        detail = f"The log ends at {end}. Use the position of an answer of the command service."
        raise Invalid.at("?min_position", "beyond_log", detail)


def in_background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start work for all who wait: it has nothing of the context, such as the deadline, of the one who came first."""
    return asyncio.create_task(work, context=Context())
