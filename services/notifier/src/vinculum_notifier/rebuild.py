"""Building what is known of one tenant anew from its log. The ledger is kept, so that no mail is sent twice."""

from collections.abc import Sequence
from typing import LiteralString

from vinculum_notifier import announcing, ledger
from vinculum_notifier.consume import open_subscription
from vinculum_notifier.settings import Settings
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.consuming.rebuilding import FORGET_SECONDS_MAX
from vinculum_shared.postgres import Connection


async def rebuild(settings: Settings, tenant: str | None = None) -> int:
    """Build what is known of a tenant anew from its log and release it; without --tenant, of all that are held."""
    async with open_subscription(settings) as subscription:
        await subscription.rebuild(tenant, forget=forget, compare=compare)
    return 0


async def forget(db: Connection, tenant: str) -> None:
    """Delete what is known of a tenant."""
    await db.execute(FORGET, tenant, timeout=FORGET_SECONDS_MAX)


async def compare(db: Connection, tenant: str, after: int, lines: Sequence[Line]) -> None:
    """Mark what the ledger has of events at these positions that are not in the log; without lines, of all later.

    What the command service was told there, and has lost, it is told again.
    """
    till = lines[-1].position if lines else None
    await ledger.mark_forged(db, tenant, after, till, [line.id for line in lines])
    await announcing.repeat_lost(db, tenant, after, lines)


FORGET: LiteralString = "DELETE FROM known WHERE tenant = $1"
