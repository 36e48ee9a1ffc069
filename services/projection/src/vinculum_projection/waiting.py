"""Read your own writes: a query that names a position waits until its events are applied."""

import asyncio
from typing import Final, LiteralString

from vinculum_shared.postgres import Pool
from vinculum_shared.problems import Retriable

WAIT_SECONDS_MAX: Final = 2.0
PAUSE_SECONDS_MIN: Final = 0.005
PAUSE_SECONDS_MAX: Final = 0.1

FOR_TENANT: LiteralString = "SELECT set_config('vinculum.tenant', $1, true)"
POSITION: LiteralString = "SELECT position FROM subscription WHERE tenant = $1"


class ProjectionBehind(Retriable):
    """The read models have not got as far as `min_position` yet."""

    status = 409


async def reach(pool: Pool, tenant: str, min_position: int) -> None:
    """Wait until the tenant's events up to this one are applied, by whichever process does it."""
    loop = asyncio.get_running_loop()
    deadline, pause_seconds = loop.time() + WAIT_SECONDS_MAX, PAUSE_SECONDS_MIN
    while min_position and (position := await applied(pool, tenant)) < min_position:
        if loop.time() + pause_seconds > deadline:
            raise ProjectionBehind(position=position, min_position=min_position)
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)


async def applied(pool: Pool, tenant: str) -> int:
    async with pool.acquire() as db, db.transaction(readonly=True):
        await db.execute(FOR_TENANT, tenant)
        return await db.fetchval(POSITION, tenant) or 0
