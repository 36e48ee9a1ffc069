"""A projection service on a database of its own, fed with events by hand and asked over HTTP."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import httpx2
from pydantic import SecretStr

from support.answers import checked
from support.databases import on
from support.events import Log
from support.log_server import LogServer
from support.tokens import Issuer
from support.waiting import until
from vinculum_projection.app import create_app
from vinculum_projection.consume import apply
from vinculum_projection.settings import Settings
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.consuming.parking import apply_or_park
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.postgres import Connection, Pool

NOWHERE: Final = "127.0.0.1:1"
MOVE: Final = """
    INSERT INTO subscription (tenant, position, recorded_at, applied_at) VALUES ($1, $2, $3, now())
    ON CONFLICT (tenant) DO UPDATE SET position = excluded.position, recorded_at = excluded.recorded_at"""


def settings_for(admin_url: str, database: str, folder: Path, jwks: Path, command_url: str, **more: str) -> Settings:
    return Settings(
        database_url=SecretStr(on(admin_url, database, role="vinculum_projection")),
        admin_url=SecretStr(admin_url),
        kafka_bootstrap=more.get("kafka_bootstrap", NOWHERE),
        topic=more.get("topic", "unused"),
        jwks=str(jwks),
        command_url=command_url,
        service_token_file=folder / "service-token",
        cursor_key=SecretStr("key of the cursors"),
        unsafe_durability=True,
    )


@asynccontextmanager
async def clone_of(template: str, admin_url: str) -> AsyncIterator[str]:
    name = f"projection_{uuid4().hex}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        yield name
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


async def twice(db: Connection, events: Sequence[Recorded[Event]]) -> None:
    await apply(db, events)
    await apply(db, events)


@dataclass
class Projection:
    http: httpx2.AsyncClient
    consumer: Pool
    reader: Pool
    issuer: Issuer
    log_server: LogServer
    delivered: dict[str, int] = field(default_factory=dict)

    async def deliver(self, log: Log, damaged: Collection[int] = ()) -> None:
        """Have it apply what is new in the log, each event twice, as one batch.

        What is at the damaged positions comes in a version that nobody knows.
        """
        self.log_server.logs[log.tenant] = log
        since = self.delivered.get(log.tenant, 0)
        lines = [
            Line.read(line.replace(b'.v1"', b'.v9"') if position in damaged else line)
            for position, line in enumerate(log.lines[since:], start=since + 1)
        ]
        async with self.consumer.acquire() as db, db.transaction():
            await apply_or_park(db, twice, lines)
            await db.execute(MOVE, log.tenant, len(log.lines), log.now)
        self.delivered[log.tenant] = len(log.lines)

    async def get(self, path: str, token: str, **query: Any) -> httpx2.Response:
        answer = await self.http.get(path, params=query, headers={"Authorization": f"Bearer {token}"})
        return checked("projection", answer)

    async def answered(self, path: str, token: str, **query: Any) -> httpx2.Response:
        """Ask until there is an answer: on a busy machine, what looks at very much is 503 at first."""
        found: list[httpx2.Response] = []

        async def is_answered() -> bool:
            found.append(await self.get(path, token, **query))
            return found[-1].status_code != httpx2.codes.SERVICE_UNAVAILABLE

        await until(is_answered)
        assert found[-1].status_code == httpx2.codes.OK, path
        return found[-1]

    async def post(self, path: str, token: str) -> httpx2.Response:
        return checked("projection", await self.http.post(path, headers={"Authorization": f"Bearer {token}"}))

    async def items(self, path: str, token: str, **query: Any) -> list[dict[str, Any]]:
        """All items of a list, page after page."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.answered(path, token, **query, **cursor)
            items += page.json()["items"]
            if page.json()["next_cursor"] is None:
                return items
            cursor = {"cursor": page.json()["next_cursor"]}

    def staff(self, tenant: str, staff_id: UUID, *roles: str) -> str:
        return self.issuer.token(kind="staff", sub=str(staff_id), tenant=tenant, roles=list(roles))

    def service(self, tenant: str | None, scope: str = "queries personal") -> str:
        return self.issuer.token(kind="service", sub="reporting", tenant=tenant, scope=scope)


@asynccontextmanager
async def running(settings: Settings, issuer: Issuer, log_server: LogServer) -> AsyncIterator[Projection]:
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        transport = httpx2.ASGITransport(app=with_state(app, state))
        async with httpx2.AsyncClient(transport=transport, base_url="http://projection") as http:
            yield Projection(http, state["subscription"].pool, state["pool"], issuer, log_server)


def with_state(app: Any, state: Any) -> Any:
    """What a server does with what the lifespan yields."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return asgi
