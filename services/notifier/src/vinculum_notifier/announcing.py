"""What the notifier tells the command service: each command is repeated until it is answered.

An announcement is a row, which is claimed for as long as a command can take and keeps the answer's position.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, LiteralString
from uuid import UUID

import httpx2
import orjson
import structlog
from asyncpg import Record

from vinculum_notifier.database import worker_pool
from vinculum_notifier.settings import Settings
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.postgres import OUTAGE, Connection, Pool
from vinculum_shared.supervision import beat, set_within, waiting_for, working
from vinculum_shared.token_file import REFUSED, TokenFile, lacking

log = structlog.get_logger()

PART: Final = "announcements"
COMMAND: Final = "the command service"
POLL_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 10.0
RETRY_FIRST: Final = timedelta(seconds=15)  # longer than a command can take: it is the lease too
RETRY_LONGEST: Final = timedelta(minutes=5)
NOTHING_LEFT: Final = frozenset({"account_not_found", "contact_not_found"})
"""Problems which say that there is nothing left to announce."""


def unsubscription(account_id: UUID | None, topic: Topic | str, address_hash: str) -> str:
    """Return what an announcement is about that an address wants no more mail of a topic of an account."""
    return f"unsubscription/{account_id}/{topic}/{address_hash}"


def suppression(address_hash: str) -> str:
    """Return what an announcement is about that an address can't be reached, or can be again."""
    return f"suppression/{address_hash}"


async def add(db: Connection, tenant: str, about: str, path: str, body: Mapping[str, str]) -> None:
    """Announce something, in place of what was announced about the same, unless that is this and not answered yet."""
    await db.execute(ADD, tenant, about, path, orjson.dumps(body).decode())


async def repeat_lost(db: Connection, tenant: str, after: int, lines: Sequence[Line]) -> None:
    """Announce again what was answered at positions of these lines, or without lines later, and is not in the log.

    A log that was restored from an older state has other events since: they are newer than all that was applied here.
    """
    till = lines[-1].position if lines else None
    await db.execute(REPEAT_LOST, tenant, after, till, [line.recorded_at for line in lines])


async def announce(settings: Settings, stop: asyncio.Event) -> None:
    token = TokenFile(settings.service_token_file)
    async with (
        await worker_pool(settings, 1) as pool,
        httpx2.AsyncClient(base_url=settings.command_url, timeout=TIMEOUT_SECONDS) as http,
    ):
        while not stop.is_set():
            try:
                while row := await pool.fetchrow(CLAIM, RETRY_FIRST, RETRY_LONGEST):
                    await announce_one(pool, http, token, row)
                    beat()
                working()
            except (*OUTAGE, httpx2.HTTPError) as error:
                log.info("announce_interrupted", reason=type(error).__name__)
                waiting_for(lacking(error, COMMAND) if isinstance(error, httpx2.HTTPError) else "Postgres")
            await set_within(stop, POLL_SECONDS)


async def announce_one(pool: Pool, http: httpx2.AsyncClient, token: TokenFile, row: Record) -> None:
    answer = await http.post(
        row["path"],
        params={"tenant": row["tenant"]},
        headers={"Authorization": f"Bearer {token.read()}", "Idempotency-Key": str(row["idempotency_key"])},
        json=orjson.loads(row["body"]),
    )
    if answer.status_code in REFUSED:
        answer.raise_for_status()
    code = problem_code(answer)
    if not answer.is_success and code not in NOTHING_LEFT:
        log.warning("announce_refused", tenant=row["tenant"], status=answer.status_code, code=code)
        return
    position = int(answer.headers.get("Vinculum-Position", 0))
    await pool.execute(ANSWERED, row["tenant"], row["about"], row["idempotency_key"], position, code)


def problem_code(answer: httpx2.Response) -> str | None:
    problem = answer.headers.get("content-type") == "application/problem+json"
    return orjson.loads(answer.content)["code"] if problem else None


ADD: LiteralString = """
    INSERT INTO announcement (tenant, about, path, body) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant, about) DO UPDATE
    SET path = excluded.path, body = excluded.body, announced_at = now(), idempotency_key = gen_random_uuid(),
        position = NULL, refused = NULL, attempts = 0, next_attempt_at = now()
    WHERE announcement.position IS NOT NULL OR announcement.path <> excluded.path"""
CLAIM: LiteralString = """
    UPDATE announcement
    SET attempts = attempts + 1, next_attempt_at = now() + least($1::interval * 2 ^ least(attempts, 10), $2::interval)
    FROM (
        SELECT tenant, about FROM announcement
        WHERE position IS NULL AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE (announcement.tenant, announcement.about) = (due.tenant, due.about)
    RETURNING announcement.*"""
ANSWERED: LiteralString = """
    UPDATE announcement SET position = $4, refused = $5 WHERE (tenant, about, idempotency_key) = ($1, $2, $3)"""
REPEAT_LOST: LiteralString = """
    WITH kept AS (
        SELECT $2::bigint + count(line) AS till
        FROM subscription JOIN unnest($4::timestamptz[]) AS line ON line <= recorded_at WHERE tenant = $1
    )
    UPDATE announcement SET position = NULL, refused = NULL, attempts = 0, next_attempt_at = now()
    FROM kept WHERE tenant = $1 AND position > kept.till AND ($3::bigint IS NULL OR position <= $3)"""
