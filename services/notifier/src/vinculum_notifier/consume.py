"""Kafka → what is known, and the ledger."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, LiteralString

import httpx2
import structlog

from vinculum_notifier import ledger
from vinculum_notifier.database import worker_pool
from vinculum_notifier.known import load, store
from vinculum_notifier.routing import route
from vinculum_notifier.settings import Settings
from vinculum_shared.consuming.event_log import LOG, EventLog
from vinculum_shared.consuming.subscription import Subscription, subscribed
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.postgres import Connection, Pool, columns
from vinculum_shared.supervision import set_within, waiting_for
from vinculum_shared.token_file import lacking

log = structlog.get_logger()

CONNECTIONS: Final = 4
RETRY_SECONDS: Final = 0.5


async def consume(settings: Settings, stop: asyncio.Event) -> None:
    async with open_subscription(settings) as subscription:
        await first_start(subscription.pool, subscription.event_log, stop)
        await subscription.run(stop)


@asynccontextmanager
async def open_subscription(settings: Settings) -> AsyncIterator[Subscription]:
    async with await worker_pool(settings, CONNECTIONS) as pool, subscribed(settings, pool, apply) as subscription:
        yield subscription


async def apply(db: Connection, events: Sequence[Recorded[Event]]) -> None:
    """Move what is known event by event, routing each by what is known as of it; then write it all."""
    known = await load(db, events)
    notifications = []
    for event in events:
        known[event.tenant].apply(event)
        notifications += route(event, known[event.tenant])
    await store(db, known.values())
    await ledger.record(db, notifications)


async def first_start(pool: Pool, event_log: EventLog, stop: asyncio.Event) -> None:
    """Record, once and before anything is applied, what each tenant's log has by now: that is history."""
    while not stop.is_set() and not await pool.fetchval(STARTED):
        try:
            positions = await event_log.positions()
        except httpx2.HTTPError as error:
            log.info("log_unavailable", reason=type(error).__name__)
            waiting_for(lacking(error, LOG))
            await set_within(stop, RETRY_SECONDS)
        else:
            await keep_start(pool, positions)


async def keep_start(pool: Pool, positions: Mapping[str, int]) -> None:
    async with pool.acquire() as db, db.transaction():
        if await db.execute(START) == "INSERT 0 1":
            await db.execute(START_POSITIONS, *columns(positions.items(), 2))


STARTED: LiteralString = "SELECT EXISTS (SELECT FROM first_start)"
START: LiteralString = "INSERT INTO first_start DEFAULT VALUES ON CONFLICT DO NOTHING"
START_POSITIONS: LiteralString = """
    INSERT INTO start_position (tenant, position) SELECT * FROM unnest($1::text[], $2::bigint[])"""
