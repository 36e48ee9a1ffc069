"""What a command process does beside answering: it ends what an earlier one began, and forgets old answers."""

import asyncio
from datetime import timedelta
from typing import Final, LiteralString

import structlog

from vinculum_command.domain.access import SettleAccess
from vinculum_command.execute import Executor
from vinculum_shared.postgres import OUTAGE, Pool
from vinculum_shared.supervision import set_within

log = structlog.get_logger()

FORGET_EVERY: Final = timedelta(minutes=5)
FORGET_AT_ONCE: Final = 5_000

PENDING: LiteralString = "SELECT tenant, key FROM heads WHERE pending ORDER BY tenant, key"
FORGET: LiteralString = """
    DELETE FROM requests WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM requests WHERE expires_at < now() ORDER BY expires_at LIMIT $1))"""


async def run(log_pool: Pool, executor: Executor, stop: asyncio.Event) -> None:
    await go_on(log_pool, executor, stop)
    await forget_requests(log_pool, stop)


async def go_on(log_pool: Pool, executor: Executor, stop: asyncio.Event) -> None:
    """Take up, one after another, what was too large for one commit and had not ended when the process did."""
    for row in await log_pool.fetch(PENDING):
        if stop.is_set():
            return
        kind, _, id_ = row["key"].partition("/")
        side = "account_id" if kind == "members" else "contact_id"
        await executor.settle(row["tenant"], SettleAccess.model_validate({side: id_}))


async def forget_requests(log_pool: Pool, stop: asyncio.Event) -> None:
    """Delete answers that need not be kept any longer, in slices. What an outage prevents can wait."""
    while not stop.is_set():
        deleted = ""
        try:
            deleted = await log_pool.execute(FORGET, FORGET_AT_ONCE)
        except OUTAGE as error:
            log.warning("forgetting_interrupted", reason=type(error).__name__)
        if deleted != f"DELETE {FORGET_AT_ONCE}":
            await set_within(stop, FORGET_EVERY.total_seconds())
