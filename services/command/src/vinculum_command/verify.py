"""`verify`: fold the log again and compare. The events are the truth; the heads must say the same."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import structlog

from vinculum_command import reading
from vinculum_command.database import log_pool
from vinculum_command.domain.heads.head import Mark
from vinculum_command.domain.heads.view import Stored, moved_by
from vinculum_command.event_store import absent, stored
from vinculum_command.settings import Settings
from vinculum_shared.contracts import envelope
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.postgres import Connection

log = structlog.get_logger()

PAGE: Final = 1_000
SHOWN_MAX: Final = 20  # findings that are logged one by one


@dataclass(slots=True)
class Findings:
    """What is wrong with one tenant, if anything: positions that are missing, heads that differ."""

    events: int = 0
    gaps: list[int] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.gaps and not self.differing


async def verify(settings: Settings) -> int:
    """Check every tenant; the exit code is 1 if anything is wrong."""
    pool = await log_pool(settings.database_url, unsafe_durability=settings.unsafe_durability)
    good = True
    async with pool, pool.acquire() as db:
        for tenant in sorted(await reading.positions(db)):
            async with db.transaction(isolation="repeatable_read", readonly=True):
                findings = await verify_tenant(db, tenant)
            good &= findings.good
            log.info("verified", tenant=tenant, events=findings.events, outcome="good" if findings.good else "bad")
            for key in findings.differing[:SHOWN_MAX]:
                log.error("head_differs", tenant=tenant, stream=key)
            for position in findings.gaps[:SHOWN_MAX]:
                log.error("position_missing", tenant=tenant, position=position)
    return 0 if good else 1


async def verify_tenant(db: Connection, tenant: str) -> Findings:
    """Fold a tenant's log and compare it with its heads, in the transaction's snapshot."""
    findings = Findings()
    folded: dict[str, Stored] = {}
    reached = 0
    async for event in _events(db, tenant):
        findings.events += 1
        findings.gaps += range(reached + 1, event.position)
        reached = event.position
        fold(folded, event)
    findings.gaps += range(reached + 1, await reading.last_position(db, tenant) + 1)
    rows = await db.fetch("SELECT key, version, token, state FROM heads WHERE tenant = $1", tenant)
    found = {row["key"]: stored(row) for row in rows}
    findings.differing = sorted(key for key in folded.keys() | found.keys() if folded.get(key) != found.get(key))
    return findings


def fold(heads: dict[str, Stored], event: Recorded[Event]) -> None:
    """Move heads by an event of the log, as they were moved when it was decided."""
    mark = Mark(event.id, event.type, event.stream, event.stream_version)
    for key in moved_by(event.data):
        before = heads.get(key) or absent(key)
        heads[key] = Stored(before.version + 1, event.id, before.head.fold(event.data, mark))


async def _events(db: Connection, tenant: str) -> AsyncIterator[Recorded[Event]]:
    after, last = 0, await reading.last_position(db, tenant)
    while after < last:
        lines, after = await reading.log(db, tenant, after, PAGE, only=reading.Filter(), personal=True)
        for line in lines:
            yield envelope.decode(line.event)
