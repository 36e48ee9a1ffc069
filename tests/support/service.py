"""The command service on a database of its own, asked over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
from pydantic import SecretStr

from support.answers import checked
from support.databases import database
from support.tokens import Issuer
from support.waiting import until
from vinculum_command.app import create_app
from vinculum_command.settings import Settings
from vinculum_devstack.ports import free
from vinculum_shared.lifecycle import serve_http


@dataclass
class Service:
    """A running service, and one tenant's admin who asks it."""

    http: httpx2.AsyncClient
    issuer: Issuer
    settings: Settings
    tenant: str = ""
    token: str = ""

    async def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None, **rest: Any
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", **rest.pop("headers", {})}
        content = None if body is None else orjson.dumps(body, default=str)
        answer = await self.http.request(method, f"/v1{path}", content=content, headers=headers, **rest)
        return checked("command", answer)

    async def batch(self, *lines: Any, **params: str) -> list[dict[str, Any]]:
        """Give the answers to lines; one in bytes is sent as it is."""
        content = b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line, default=str) for line in lines)
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await self.http.post("/v1/commands/batch", content=content, headers=headers, params=params)
        return [orjson.loads(line) for line in answer.text.splitlines()]

    async def done(self, method: str, path: str, body: Any = None, **rest: Any) -> dict[str, Any]:
        answer = await self.ask(method, path, body, **rest)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def refused(self, method: str, path: str, body: Any = None, **rest: Any) -> tuple[int, str]:
        answer = await self.ask(method, path, body, **rest)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        return answer.status_code, answer.json()["code"]

    async def register(self, profile: str, **fields: Any) -> "Service":
        """Register a tenant of its own, and ask as its admin from now on."""
        tenant, admin = f"t-{uuid4().hex[:12]}", uuid4()
        body = {
            "tenant": tenant,
            "name": "Firm",
            "profile": profile,
            "portal_url": "https://portal.example.com/firm",
            "admin": {"id": admin, "name": "Ada", "email": "ada@example.com"},
            **fields,
        }
        await self.done("POST", "/tenants", body, token=self.issuer.token(kind="platform", sub="vinculum"))
        return Service(self.http, self.issuer, self.settings, tenant, self.staff(tenant, admin, "admin"))

    def staff(self, tenant: str, staff_id: UUID, *roles: str) -> str:
        return self.issuer.token(kind="staff", sub=str(staff_id), tenant=tenant, roles=list(roles))

    def service(self, scope: str, tenant: str | None = None) -> str:
        return self.issuer.token(kind="service", sub="crm", tenant=tenant, scope=scope)

    async def account(self, **fields: Any) -> UUID:
        return UUID((await self.done("POST", "/accounts", {"name": "Account", **fields}))["id"])

    async def contact(self, *addresses: str, **fields: Any) -> UUID:
        emails = [{"address": address} for address in addresses]
        return UUID((await self.done("POST", "/contacts", {"first_name": "Bo", "emails": emails, **fields}))["id"])

    async def access(self, account_id: UUID, contact_id: UUID, **query: Any) -> dict[str, Any]:
        params = {"account_id": str(account_id), "contact_id": str(contact_id), **query}
        return await self.done("GET", "/access", params=params)


@asynccontextmanager
async def command_service(admin_url: str, issuer: Issuer) -> AsyncIterator[Service]:
    """Run the service until the block ends."""
    async with database(admin_url, "vinculum_command") as url:
        port = free()
        settings = Settings(
            database_url=url,
            kafka_bootstrap="127.0.0.1:1",
            jwks=str(issuer.jwks),
            port=port,
            address_key=SecretStr("addresses"),
            invitation_key=SecretStr("invitations"),
            unsafe_durability=True,
        )
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_http(create_app(settings, stop), settings, stop))
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                await ready(http, serving)
                yield Service(http, issuer, settings)
        finally:
            stop.set()
            await serving


async def ready(http: httpx2.AsyncClient, serving: asyncio.Task[None]) -> None:
    async def answers() -> bool:
        if serving.done():
            serving.result()
        try:
            return (await http.get("/health/ready")).status_code == 200
        except httpx2.TransportError:
            return False

    await until(answers)
