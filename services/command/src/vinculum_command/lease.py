"""The relay's lease: a row that names the active relay, until it expires.

The holder renews the row while it runs. If it is paused or cut off for longer, a standby takes over, and the old holder
finds out when it next renews the lease or moves a position. Time is told by Postgres' clock alone.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final, LiteralString
from uuid import UUID

from vinculum_shared.postgres import OUTAGE, Connection, Pool

LEASE: Final = timedelta(seconds=5)
RENEW_SECONDS: Final = 1.0

TAKE: LiteralString = """
    INSERT INTO relay_lease (holder, expires_at) VALUES ($1, clock_timestamp() + $2)
    ON CONFLICT (singleton) DO UPDATE SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at
    WHERE relay_lease.holder = $1 OR relay_lease.expires_at < clock_timestamp()"""
RENEW: LiteralString = "UPDATE relay_lease SET expires_at = clock_timestamp() + $2 WHERE holder = $1"
RELEASE: LiteralString = "DELETE FROM relay_lease WHERE holder = $1"


class LeaseLostError(Exception):
    """Another relay has taken over."""


class Lease:
    def __init__(self, database: Pool | Connection, holder: UUID) -> None:
        self._database = database
        self.holder = holder

    async def take(self) -> bool:
        """Take the lease if it is free, expired or held already. Return whether it is now held."""
        return await self._database.execute(TAKE, self.holder, LEASE) == "INSERT 0 1"

    async def keep(self) -> None:
        """Renew the lease until cancelled. Raise LeaseLostError once another relay has it."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if await self._database.execute(RENEW, self.holder, LEASE) != "UPDATE 1":
                raise LeaseLostError

    async def release(self) -> None:
        """Let a standby take over at once. If Postgres is away, the lease expires by itself."""
        with suppress(*OUTAGE):
            await self._database.execute(RELEASE, self.holder)
