"""The command service's log, as far as readers see it, over what a test has put there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from support.events import Log
from support.http_server import served


@dataclass
class LogServer:
    url: str = ""
    logs: dict[str, Log] = field(default_factory=dict)
    available: bool = True
    pages: list[str] = field(default_factory=list)
    """The `after` of each page that was asked for."""

    def log(self, tenant: str) -> Log:
        return self.logs.setdefault(tenant, Log(tenant))

    async def page(self, request: Request) -> Response:
        if not self.available:
            return Response(status_code=503)
        query = request.query_params
        self.pages.append(query["after"])
        tenant, _, position = query["after"].rpartition(":")
        if own := query.get("tenant"):
            lines = self.log(own).lines[int(position) :]
        else:
            later = [self.logs[name].lines for name in sorted(self.logs) if name > tenant]
            here = self.log(tenant).lines[int(position) :] if tenant else []
            lines = [line for lines in (here, *later) for line in lines]
        return Response(b"".join(line + b"\n" for line in lines[: int(query["limit"])]))

    async def positions(self, request: Request) -> Response:
        if not self.available:
            return Response(status_code=503)
        wanted = request.query_params.get("tenant")
        positions = {name: len(log.lines) for name, log in self.logs.items() if wanted in (None, name)}
        return JSONResponse({"positions": positions})


@pytest.fixture
async def log() -> AsyncIterator[LogServer]:
    server = LogServer()
    routes = [Route("/v1/log", server.page), Route("/v1/log/positions", server.positions)]
    async with served(Starlette(routes=routes)) as server.url:
        yield server
