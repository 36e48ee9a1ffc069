"""The command service's log, as far as readers see it, over what a test has put there."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from support.events import Log
from support.http_server import served
from support.waiting import until


@dataclass
class LogServer:
    url: str = ""
    logs: dict[str, Log] = field(default_factory=dict)
    available: bool = True
    damaged: set[str] = field(default_factory=set)
    """Tenants whose log comes with a line that can't be read."""
    stuck: set[str] = field(default_factory=set)
    """Tenants whose log is not answered for until they are taken out."""
    pages: list[str] = field(default_factory=list)
    """The `after` of each page that was asked for."""
    asked_about: list[list[str]] = field(default_factory=list)
    """The tenants of each question for the events at positions."""

    def log(self, tenant: str) -> Log:
        return self.logs.setdefault(tenant, Log(tenant))

    async def page(self, request: Request) -> Response:
        if not self.available:
            return Response(status_code=503)
        query = request.query_params
        self.pages.append(query["after"])
        tenant, _, position = query["after"].rpartition(":")
        if own := query.get("tenant"):
            await until(lambda: self.answers(own))
            if int(position) > len(self.log(own).lines):
                return Response(status_code=422)
            lines = self.lines(own, int(position))
        else:
            later = [self.lines(name, 0) for name in sorted(self.logs) if name > tenant]
            here = self.lines(tenant, int(position)) if tenant else []
            lines = [line for lines in (here, *later) for line in lines]
        return Response(b"".join(line + b"\n" for line in lines[: int(query["limit"])]))

    def lines(self, tenant: str, after: int) -> Sequence[bytes]:
        damage = [b"{}"] if tenant in self.damaged else []
        return damage + self.log(tenant).lines[after:]

    async def answers(self, tenant: str) -> bool:
        return tenant not in self.stuck

    async def positions(self, request: Request) -> Response:
        if not self.available:
            return Response(status_code=503)
        wanted = request.query_params.get("tenant")
        positions = {name: len(log.lines) for name, log in self.logs.items() if wanted in (None, name)}
        return JSONResponse({"positions": positions})

    async def events_at(self, request: Request) -> Response:
        if not self.available:
            return Response(status_code=503)
        at: dict[str, int] = (await request.json())["at"]
        self.asked_about.append(sorted(at))
        known = {tenant: self.logs[tenant].recorded for tenant in at if tenant in self.logs}
        ids = {name: str(log[at[name] - 1].id) for name, log in known.items() if 0 < at[name] <= len(log)}
        return JSONResponse({"positions": {name: len(log) for name, log in known.items()}, "ids": ids})


@pytest.fixture
async def log() -> AsyncIterator[LogServer]:
    server = LogServer()
    routes = [
        Route("/v1/log", server.page),
        Route("/v1/log/positions", server.positions),
        Route("/v1/log/positions", server.events_at, methods=["POST"]),
    ]
    async with served(Starlette(routes=routes)) as server.url:
        yield server
