"""How far the read models have got, and how far behind the log that is."""

import asyncio
from datetime import datetime
from typing import Final, LiteralString

import httpx2
import structlog
from fastapi import APIRouter, Request

from vinculum_projection.reading import Observer
from vinculum_shared.http.documented import Documented

log = structlog.get_logger()
LOG_SECONDS_MAX: Final = 1.0
router = APIRouter(prefix="/v1", tags=["operations"])


class Freshness(Documented):
    position: int
    """Of the last event that is applied."""
    recorded_at: datetime
    applied_at: datetime
    lag_events: int | None
    """Null while the log can't be asked."""
    lag_seconds: float | None
    """The age of the oldest event that is not applied."""
    parked_events: int
    held: bool
    """Nothing more is applied for the tenant until an operator has rebuilt it: what is shown may be wrong."""
    held_reason: str | None
    held_since: datetime | None


@router.get("/freshness")
async def get_freshness(request: Request, read: Observer) -> Freshness:
    applied = await read.db.fetchrow(APPLIED, read.tenant)
    assert applied is not None
    lag_events, lag_seconds = None, None
    try:
        async with asyncio.timeout(LOG_SECONDS_MAX):
            lag = await request.state.subscription.freshness(read.tenant)
        lag_events, lag_seconds = lag.lag_events, lag.lag_seconds
    except (httpx2.HTTPError, TimeoutError) as error:
        log.warning("log_unavailable", reason=type(error).__name__)
    return Freshness(**applied, lag_events=lag_events, lag_seconds=lag_seconds)


APPLIED: LiteralString = """
    SELECT position, recorded_at, applied_at, held IS NOT NULL AS held, held AS held_reason, held_at AS held_since,
        (SELECT count(*) FROM parked WHERE tenant = $1) AS parked_events
    FROM subscription WHERE tenant = $1"""
