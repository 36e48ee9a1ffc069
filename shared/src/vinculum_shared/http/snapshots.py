"""Reading one tenant: in one snapshot, behind the wall, and not before one's own writes are in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, LiteralString

from fastapi import Query

from vinculum_shared import deadlines
from vinculum_shared.postgres import Connection, Pool, lent
from vinculum_shared.problems import Retriable

WAIT_SECONDS_MAX: Final = 2.0
PAUSE_SECONDS_MIN: Final = 0.005
PAUSE_SECONDS_MAX: Final = 0.1

POSITION_MAX: Final = 2**63 - 1
MinPosition = Annotated[int, Query(ge=0, le=POSITION_MAX, description="Wait until the answer has this position.")]

FOR_TENANT: LiteralString = "SELECT set_config('vinculum.tenant', $1, true)"
POSITION: LiteralString = "SELECT position FROM subscription WHERE tenant = $1"


class ProjectionBehind(Retriable):
    """What is read here has not got as far as `min_position` yet."""

    status = 409


@asynccontextmanager
async def of_tenant(pool: Pool, tenant: str) -> AsyncIterator[Connection]:
    """Read one tenant in one snapshot: row level security shows this transaction nothing of any other."""
    async with lent(pool) as db, db.transaction(isolation="repeatable_read", readonly=True):
        await db.execute(FOR_TENANT, tenant)
        yield db


async def reach(pool: Pool, tenant: str, min_position: int) -> None:
    """Wait until the tenant's events up to this one are applied, by whichever process does it."""
    if min_position:
        deadlines.extend(WAIT_SECONDS_MAX)
    loop = asyncio.get_running_loop()
    deadline, pause_seconds = loop.time() + WAIT_SECONDS_MAX, PAUSE_SECONDS_MIN
    while min_position and (position := await applied(pool, tenant)) < min_position:
        if loop.time() + pause_seconds > deadline:
            raise ProjectionBehind(position=position, min_position=min_position)
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)


async def applied(pool: Pool, tenant: str) -> int:
    async with of_tenant(pool, tenant) as db:
        return await db.fetchval(POSITION, tenant) or 0
