"""How a process starts, runs its parts and ends.

A part runs until the stop event is set, then finishes what it has begun. A part that fails, or ends by itself, takes
the process down: whoever restarts it is outside.
"""

import argparse
import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import prometheus_client
import structlog
import uvicorn
import uvloop
from pydantic import ValidationError
from starlette.types import ASGIApp

from vinculum_shared import telemetry
from vinculum_shared.http.protocol import BoundedHttpProtocol
from vinculum_shared.settings import ServiceSettings
from vinculum_shared.telemetry import OperatorError

log = structlog.get_logger()

STOP_SECONDS_MAX: Final = 10
CONNECTIONS_MAX: Final = 2_000
KEEP_ALIVE_SECONDS: Final = 15

Settings = TypeVar("Settings", bound=ServiceSettings)
Part = Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until the event is set."""
Task = Callable[[Settings], Coroutine[Any, Any, int]]
"""Does one thing; its result is the exit code."""


def main(
    settings_class: type[Settings], parts: Mapping[str, Part[Settings]], tasks: Mapping[str, Task[Settings]]
) -> None:
    """Carry out a service's command line: `run` for all its parts in one process, or one part, or one task."""
    parser = argparse.ArgumentParser(prog=f"python -m {settings_class.__module__.partition('.')[0]}")
    parser.add_argument("command", nargs="?", default="run", choices=["run", *parts, *tasks])
    command = parser.parse_args().command
    settings = read_settings(settings_class)
    telemetry.configure(settings.service, settings.log_format)
    collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if command in tasks:
            try:
                sys.exit(runner.run(tasks[command](settings)))
            except OperatorError as error:
                sys.exit(str(error))
        try:
            prometheus_client.start_http_server(settings.metrics_port, settings.host)
        except OSError as error:
            sys.exit(f"Can't listen on {settings.host}:{settings.metrics_port} for the metrics: {error.strerror}.")
        chosen = parts if command == "run" else {command: parts[command]}
        sys.exit(runner.run(run_parts(settings, chosen)))


def collect_rarely() -> None:
    """Leave alone what was imported, and look for cycles a hundredth as often as Python would.

    A service keeps hundreds of thousands of objects that live long. Going through them all, as often as the default
    asks, stopped it for half a second at a time and cost a third of the commands at 256 clients.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def read_settings(settings_class: type[Settings]) -> Settings:
    prefix = settings_class.model_config.get("env_prefix", "")
    try:
        return settings_class()
    except ValidationError as error:
        sys.exit("\n".join(f"{prefix}{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()))


async def run_parts(settings: Settings, parts: Mapping[str, Part[Settings]]) -> int:
    """Run until a signal comes, or a part fails. Returns the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log.info("started", parts=sorted(parts))
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(run_part(name, part(settings, stop), stop)) for name, part in parts.items()]
            await stop.wait()
            _, late = await asyncio.wait(running, timeout=STOP_SECONDS_MAX)
            if late:
                log.warning("stopped_late", count=len(late))
            for task in late:
                task.cancel()
    except ExceptionGroup:
        log.exception("failed")
        return 1
    log.info("stopped")
    return 0


async def run_part(name: str, part: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    with structlog.contextvars.bound_contextvars(part=name):
        await part
    if not stop.is_set():
        raise OperatorError(f"The part {name} ended by itself.")


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait so long at most; tell if the event came."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


class Server(uvicorn.Server):
    """Leaves the signals to run_parts."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(app: ASGIApp, settings: ServiceSettings, stop: asyncio.Event) -> None:
    """Serve until the event is set, then answer what has been asked. Streams have to watch the event themselves."""
    try:
        listener = socket.create_server((settings.host, settings.port), backlog=2_048)
    except OSError as error:
        raise OperatorError(f"Can't listen on {settings.host}:{settings.port}: {error.strerror}.") from error
    server = Server(
        uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS_MAX - 2,
        )
    )

    async def serve() -> None:
        try:
            await server.serve(sockets=[listener])
        except SystemExit as error:
            raise OperatorError("The HTTP application did not start; what it lacked is logged before this.") from error

    async with asyncio.TaskGroup() as group:
        group.create_task(serve())
        await stop.wait()
        server.should_exit = True
