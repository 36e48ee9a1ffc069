"""An ASGI application behind a real HTTP server, on a free port, in the test's own loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from vinculum_shared.http.protocol import BoundedHttpProtocol
from vinculum_shared.lifecycle import Server


@asynccontextmanager
async def served(
    app: ASGIApp,
    lifespan: Literal["on", "off"] = "off",
    http: type[asyncio.Protocol] = BoundedHttpProtocol,
    connections_max: int | None = None,
) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=http,
        log_config=None,
        lifespan=lifespan,
        ws="none",
        limit_concurrency=connections_max,
        timeout_graceful_shutdown=1,
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(Server(config, stop).serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
