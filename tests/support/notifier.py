"""A notifier on a database of its own, fed with events by hand, whose mails go to a mail server of the test's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx2
from pydantic import SecretStr

from support.answers import checked
from support.events import Log
from support.http_server import served
from support.log_server import LogServer
from support.tokens import Issuer
from support.waiting import until
from vinculum_notifier.app import create_app
from vinculum_notifier.consume import apply
from vinculum_notifier.database import worker_pool
from vinculum_notifier.delivery import MAILS_AT_ONCE, Deliverer
from vinculum_notifier.settings import Settings
from vinculum_shared.consuming.event_log import open_log
from vinculum_shared.postgres import Pool
from vinculum_shared.token_file import TokenFile

MOVE: Final = """
    INSERT INTO subscription (tenant, position, recorded_at, applied_at) VALUES ($1, $2, $3, now())
    ON CONFLICT (tenant) DO UPDATE SET position = excluded.position, recorded_at = excluded.recorded_at"""

UNTRIED: Final = "SELECT EXISTS (SELECT FROM notification WHERE outcome = 'queued' AND changed_at < $1)"


def settings_for(database_url: SecretStr, smtp_url: SecretStr, folder: Path, jwks: Path, **others: Any) -> Settings:
    (folder / "service-token").write_text("token of the notifier")
    return Settings.model_validate(
        {
            "database_url": database_url,
            "kafka_bootstrap": "127.0.0.1:1",
            "jwks": str(jwks),
            "command_url": "http://127.0.0.1:1",
            "service_token_file": folder / "service-token",
            "smtp_url": smtp_url,
            "mail_from": "notices@vinculum.example",
            "public_url": "https://notices.vinculum.example",
            "address_key": "key of the addresses",
            "invitation_key": "key of the invitations",
            "unsubscribe_key": "key of the unsubscriptions",
            "message_id_key": "key of the message ids",
            "cursor_key": "key of the cursors",
            "unsafe_durability": True,
            **others,
        }
    )


@dataclass
class Notifier:
    settings: Settings
    pool: Pool
    http: httpx2.AsyncClient
    issuer: Issuer
    log_server: LogServer | None
    applied: dict[str, int] = field(default_factory=dict)

    async def apply(self, log: Log) -> None:
        """Have it take in what is new in the log, twice, as one batch."""
        if self.log_server:
            self.log_server.logs[log.tenant] = log
        news = log.recorded[self.applied.get(log.tenant, 0) :]
        async with self.pool.acquire() as db, db.transaction():
            await apply(db, news)
            await apply(db, news)
            await db.execute(MOVE, log.tenant, len(log.recorded), log.now)
        self.applied[log.tenant] = len(log.recorded)

    async def ledger(self) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("SELECT * FROM notification ORDER BY tenant, position, address, outcome")
        return [dict(row) for row in rows]

    async def outcomes(self) -> list[tuple[str | None, str, str]]:
        return [(row["address"], row["outcome"], row["reason"]) for row in await self.ledger()]

    @asynccontextmanager
    async def deliverer(self) -> AsyncIterator[Deliverer]:
        async with open_log(self.settings.command_url, TokenFile(self.settings.service_token_file)) as event_log:
            yield Deliverer(self.pool, event_log, self.settings)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with self.deliverer() as deliverer, asyncio.TaskGroup() as group:
            group.create_task(deliverer.run(stop))
            try:
                yield
            finally:
                stop.set()

    async def deliver(self) -> None:
        """Try each queued mail once more, those that wait for a later attempt too."""
        await self.pool.execute("UPDATE notification SET next_attempt_at = now() WHERE outcome = 'queued'")
        began = await self.pool.fetchval("SELECT now()")

        async def tried() -> bool:
            return not await self.pool.fetchval(UNTRIED, began)

        async with self.delivering():
            await until(tried)

    async def get(self, path: str, token: str, **query: Any) -> httpx2.Response:
        answer = await self.http.get(path, params=query, headers={"Authorization": f"Bearer {token}"})
        return checked("notifier", answer)

    async def post(self, path: str, token: str) -> httpx2.Response:
        return checked("notifier", await self.http.post(path, headers={"Authorization": f"Bearer {token}"}))

    def staff(self, tenant: str, staff_id: UUID, *roles: str) -> str:
        return self.issuer.token(kind="staff", sub=str(staff_id), tenant=tenant, roles=list(roles))

    def service(self, tenant: str, scope: str = "queries personal") -> str:
        return self.issuer.token(kind="service", sub="billing", tenant=tenant, scope=scope)


@asynccontextmanager
async def running(settings: Settings, issuer: Issuer, log_server: LogServer | None = None) -> AsyncIterator[Notifier]:
    async with (
        await worker_pool(settings, MAILS_AT_ONCE) as pool,
        served(create_app(settings), lifespan="on") as url,
        httpx2.AsyncClient(base_url=url) as http,
    ):
        yield Notifier(settings, pool, http, issuer, log_server)
