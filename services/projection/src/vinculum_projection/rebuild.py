"""Building the read models of one tenant anew from its log."""

from typing import LiteralString

from vinculum_projection.consume import open_subscription
from vinculum_projection.settings import Settings
from vinculum_shared.consuming.rebuilding import FORGET_SECONDS_MAX
from vinculum_shared.postgres import Connection


async def rebuild(settings: Settings, tenant: str | None = None) -> int:
    """Build a tenant's read models anew from its log and release it; without --tenant, those of all that are held."""
    async with open_subscription(settings) as subscription:
        await subscription.rebuild(tenant, forget=forget)
    return 0


async def forget(db: Connection, tenant: str) -> None:
    await db.execute(FORGET, tenant, timeout=FORGET_SECONDS_MAX)


FORGET: LiteralString = "SELECT forget($1)"
