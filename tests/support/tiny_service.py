"""A service with next to nothing in it, for what all services do alike: `python tiny_service.py [run|serve|…]`."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import structlog
from fastapi import APIRouter, FastAPI
from pydantic_settings import SettingsConfigDict
from starlette.responses import StreamingResponse

from vinculum_shared import failpoints, lifecycle, supervision, telemetry
from vinculum_shared.http import serving
from vinculum_shared.http.openapi import OpenApi
from vinculum_shared.settings import ServiceSettings

log = structlog.get_logger()


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TINY_")
    service = "tiny"

    port: int = 0
    metrics_port: int = 0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    router = APIRouter()

    @router.get("/slow")
    async def slow() -> str:
        await stop.wait()
        return "answered"

    @router.get("/stream")
    async def stream() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield "begun\n"
            await stop.wait()
            yield "ended\n"

        return StreamingResponse(lines())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {}

    app = serving.create_app(
        title="Tiny", version="1", lifespan=lifespan, routers=[router], checks={}, openapi=OpenApi("A tiny service.")
    )
    await lifecycle.serve_http(app, settings, stop)


async def consume(_: Settings, stop: asyncio.Event) -> None:
    failpoints.reach("tiny.begun")
    await stop.wait()
    log.info("finished", tenant="acme")


async def fail(_: Settings, stop: asyncio.Event) -> None:
    raise ValueError("Mario Rossi")


async def end(_: Settings, stop: asyncio.Event) -> None:
    pass


async def cancelled(_: Settings, stop: asyncio.Event) -> None:
    other = asyncio.create_task(stop.wait())
    other.cancel()
    await other


async def misconfigured(_: Settings, stop: asyncio.Event) -> None:
    raise telemetry.OperatorError("Set it right.")


async def wait(_: Settings, stop: asyncio.Event) -> None:
    supervision.waiting_for("Kafka")
    await supervision.set_within(stop)


async def linger(_: Settings, stop: asyncio.Event) -> None:
    await stop.wait()
    await asyncio.Event().wait()


async def migrate(settings: Settings) -> int:
    log.info("migrated", service=settings.service, event_id=UUID(int=1))
    return 0


async def talk(_: Settings) -> int:
    log.info("linked", tenant="acme", name="Mario Rossi", email="mario@example.com")
    logging.getLogger("aiokafka").warning("first line\nrepr of a task that failed with Mario Rossi")
    try:
        look_up("Mario Rossi")
    except ValueError:
        log.exception("failed")
    return 0


def look_up(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError as error:
        raise ValueError("mario@example.com") from error


if __name__ == "__main__":
    supervision.HEARTBEAT_SECONDS_MAX = float(os.environ.get("TINY_HEARTBEAT_SECONDS_MAX", "60"))  # type: ignore[misc]
    parts = (serve, consume, fail, end, cancelled, misconfigured, wait, linger)
    lifecycle.main(Settings, {part.__name__: part for part in parts}, {"migrate": migrate, "talk": talk})
