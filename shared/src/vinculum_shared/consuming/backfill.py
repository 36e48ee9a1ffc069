"""Brings tenants up to the log's end where the topic does not, while all others go on with the topic.

A record beyond the one that comes next is either true, and something before it is missing, or forged. The log is asked
which: one question for all tenants in doubt, and a pause before the next, however many such records come.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import httpx2
import structlog

from vinculum_shared.consuming import checkpoints, metrics, parking
from vinculum_shared.consuming.checkpoints import RejectedError
from vinculum_shared.consuming.event_log import EventLog, IncompleteLogError, Line, whole_commits
from vinculum_shared.postgres import OUTAGE, Pool
from vinculum_shared.supervision import set_within

log = structlog.get_logger()

ASK_PAUSE_SECONDS: Final = 0.25
BACKOFF_SECONDS_MAX: Final = 5.0
PAGES_AT_ONCE: Final = 2

LOG_OR_POSTGRES_AWAY: Final = (*OUTAGE, httpx2.HTTPError, IncompleteLogError)

Commit = Callable[[Mapping[str, int], Sequence[Line], Mapping[int, int]], Awaitable[None]]


class Backfill:
    def __init__(self, pool: Pool, event_log: EventLog, commit: Commit) -> None:
        self._pool = pool
        self._event_log = event_log
        self._commit = commit
        self._doubts: dict[str, int] = {}
        """Tenants to ask the log about, each with the last position that it is said to have."""
        self._busy: set[str] = set()
        """These, and those that are being filled."""
        self._woken = asyncio.Event()
        self._turns = asyncio.Semaphore(PAGES_AT_ONCE)

    def __contains__(self, tenant: str) -> bool:
        """Whether the tenant is left to the backfill: its lines from the topic wait until it is done."""
        return tenant in self._busy

    def add(self, claimed: Mapping[str, int]) -> None:
        """Bring tenants up to the log's end. `claimed`: the last position that each is said to have."""
        new = {tenant: position for tenant, position in claimed.items() if tenant not in self._busy}
        if new:
            self._doubts |= new
            self._busy |= new.keys()
            self._woken.set()

    async def run(self, _: asyncio.Event) -> None:
        """Work until cancelled. What an earlier run left is taken up first."""
        self._doubts |= dict.fromkeys(self._busy - self._doubts.keys(), 0)
        if self._doubts:
            self._woken.set()
        pause_seconds = ASK_PAUSE_SECONDS
        async with asyncio.TaskGroup() as fills:
            while True:
                await set_within(self._woken)
                self._woken.clear()
                doubts, self._doubts = self._doubts, {}
                try:
                    behind = await self._ask(doubts)
                except LOG_OR_POSTGRES_AWAY as error:
                    log.info("log_unavailable", reason=parking.reason(error), seconds=pause_seconds)
                    self._doubts |= doubts
                    self._woken.set()
                    pause_seconds = min(2 * pause_seconds, BACKOFF_SECONDS_MAX)
                else:
                    pause_seconds = ASK_PAUSE_SECONDS
                    self._busy -= doubts.keys() - behind.keys()
                    for tenant, end in behind.items():
                        fills.create_task(self._fill(tenant, end))
                await asyncio.sleep(pause_seconds)

    async def _ask(self, doubts: Mapping[str, int]) -> dict[str, int]:
        """Return the tenants that are behind the log, with its end. Those that have diverged from it are held."""
        applied = await checkpoints.of_tenants(self._pool, doubts)
        found = await self._event_log.look_up({tenant: each.position for tenant, each in applied.items()})
        behind = {}
        for tenant, checkpoint in applied.items():
            end = found[tenant].end
            if doubts[tenant] > end:
                metrics.FORGERIES.inc()
                log.warning("not_in_the_log", tenant=tenant, position=doubts[tenant])
            if checkpoint.diverges_from(found[tenant]):
                await checkpoints.hold(self._pool, tenant, checkpoint.position, "diverged")
            elif end > checkpoint.position:
                behind[tenant] = end
        return behind

    async def _fill(self, tenant: str, end: int) -> None:
        """Apply a tenant's log as far as `end`, a page at a turn. Whatever goes wrong with that is tried again."""
        metrics.GAPS_FILLED.inc()
        log.info("gap", tenant=tenant, position=end)
        pause_seconds = ASK_PAUSE_SECONDS
        begun: list[Line] = []
        while True:
            try:
                async with self._turns:
                    checkpoint = (await checkpoints.of_tenants(self._pool, [tenant]))[tenant]
                    if checkpoint.held or checkpoint.position >= end:
                        break
                    begun = await self._page(tenant, checkpoint.position, begun)
                pause_seconds = ASK_PAUSE_SECONDS
            except RejectedError:  # another instance fills it, or it was held
                begun = []
            except LOG_OR_POSTGRES_AWAY as error:
                begun = []
                log.warning("tenant_waits", tenant=tenant, reason=parking.reason(error), seconds=pause_seconds)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, BACKOFF_SECONDS_MAX)
        self._busy.discard(tenant)

    async def _page(self, tenant: str, position: int, begun: list[Line]) -> list[Line]:
        """Apply the whole commits of one page; return the beginning of the commit that goes on after it."""
        page = await self._event_log.after(tenant, begun[-1].position if begun else position)
        if not page:
            raise IncompleteLogError
        whole, begun = whole_commits([*begun, *page])
        await self._commit({tenant: position}, whole, {})
        return begun
