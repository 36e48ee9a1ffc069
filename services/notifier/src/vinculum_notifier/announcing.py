"""What the notifier tells the command service: each command is repeated until it is answered.

What is to be told is a row, which is claimed for as long as a command can take and keeps the answer's position.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, LiteralString

import httpx2
import orjson
import structlog
from asyncpg import Record

from vinculum_notifier.database import worker_pool
from vinculum_notifier.settings import Settings
from vinculum_shared.postgres import OUTAGE, Pool
from vinculum_shared.supervision import beat, set_within, waiting_for, working
from vinculum_shared.token_file import TokenFile

log = structlog.get_logger()

PART: Final = "announcements"
POLL_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 10.0
RETRY_FIRST: Final = timedelta(seconds=15)  # longer than a command can take: it is the lease too
RETRY_LONGEST: Final = timedelta(minutes=5)
KEY_KNOWN_FOR: Final = timedelta(hours=71)  # one hour less than the command service keeps it
NOTHING_LEFT: Final = frozenset({"account_not_found", "contact_not_found"})
"""Problems which say that there is nothing left to tell."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A table of what is to be told, and the command that tells it."""

    claim: LiteralString
    """Takes the lease's first and longest length; returns a row."""
    answered: LiteralString
    """Takes the key, the idempotency key, the position and the problem."""
    again: LiteralString
    """Takes a tenant and an age; makes due what was answered and is younger than that."""
    key: tuple[str, ...]
    path: Callable[[Record], str]
    body: tuple[str, ...]


async def announce(settings: Settings, announcements: Collection[Announcement], stop: asyncio.Event) -> None:
    token = TokenFile(settings.service_token_file)
    async with (
        await worker_pool(settings, 1) as pool,
        httpx2.AsyncClient(base_url=settings.command_url, timeout=TIMEOUT_SECONDS) as http,
    ):
        while not stop.is_set():
            try:
                for each in announcements:
                    while row := await pool.fetchrow(each.claim, RETRY_FIRST, RETRY_LONGEST):
                        await announce_one(pool, http, token, each, row)
                        beat()
                working()
            except (*OUTAGE, httpx2.HTTPError) as error:
                log.warning("announce_interrupted", reason=type(error).__name__)
                waiting_for("the command service" if isinstance(error, httpx2.HTTPError) else "Postgres")
            await set_within(stop, POLL_SECONDS)


async def announce_one(
    pool: Pool, http: httpx2.AsyncClient, token: TokenFile, announcement: Announcement, row: Record
) -> None:
    answer = await http.post(
        announcement.path(row),
        params={"tenant": row["tenant"]},
        headers={"Authorization": f"Bearer {token.read()}", "Idempotency-Key": str(row["idempotency_key"])},
        json={name: row[name] for name in announcement.body},
    )
    code = problem_code(answer)
    if not answer.is_success and code not in NOTHING_LEFT:
        log.warning("announce_refused", tenant=row["tenant"], status=answer.status_code, code=code)
        return
    position = int(answer.headers.get("Vinculum-Position", 0))
    key = (row[name] for name in announcement.key)
    await pool.execute(announcement.answered, *key, row["idempotency_key"], position, code)


def problem_code(answer: httpx2.Response) -> str | None:
    problem = answer.headers.get("content-type") == "application/problem+json"
    return orjson.loads(answer.content)["code"] if problem else None
