"""How a process starts, runs its parts and ends.

A part runs until the stop event is set, then finishes what it has begun. One that ends before is restarted. What no
restart would mend, an OperatorError, ends the process.
"""

import argparse
import asyncio
import gc
import inspect
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import structlog
import uvicorn
import uvloop
from pydantic import ValidationError
from starlette.applications import Starlette

from vinculum_shared import metrics, supervision, telemetry
from vinculum_shared.http import operations
from vinculum_shared.http.protocol import BoundedHttpProtocol, Connections
from vinculum_shared.settings import ServiceSettings
from vinculum_shared.telemetry import OperatorError

log = structlog.get_logger()

STOP_SECONDS_MAX: Final = 10
CONNECTIONS_MAX: Final = 2_000
KEEP_ALIVE_SECONDS: Final = 15

Settings = TypeVar("Settings", bound=ServiceSettings)
Part = Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until the event is set."""
Task = Callable[..., Coroutine[Any, Any, int]]
"""Does one thing, with the settings; its result is the exit code. Further parameters are options: `--tenant TENANT`."""


def main(settings_class: type[Settings], parts: Mapping[str, Part[Settings]], tasks: Mapping[str, Task]) -> None:
    """Carry out a service's command line: `run` for all its parts in one process, or one part, or one task."""
    parser = argparse.ArgumentParser(prog=f"python -m {settings_class.__module__.partition('.')[0]}")
    commands = parser.add_subparsers(dest="command", metavar="command", help=", ".join(["run", *parts, *tasks]))
    for name in ("run", *parts):
        commands.add_parser(name)
    for name, task in tasks.items():
        options = commands.add_parser(name, description=task.__doc__)
        for option in list(inspect.signature(task).parameters.values())[1:]:
            options.add_argument(f"--{option.name}", required=option.default is option.empty)
    arguments = vars(parser.parse_args())
    command = arguments.pop("command") or "run"
    settings = read_settings(settings_class)
    telemetry.configure(settings.service, settings.log_format)
    metrics.describe_build(settings.service)
    collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if command in tasks:
            try:
                sys.exit(runner.run(tasks[command](settings, **arguments)))
            except OperatorError as error:
                sys.exit(str(error))
        chosen = parts if command == "run" else {command: parts[command]}
        sys.exit(runner.run(run_parts(settings, chosen)))


def collect_rarely() -> None:
    """Leave alone what was imported, and look for cycles a hundredth as often as Python would.

    A service keeps hundreds of thousands of objects that live long. Going through them all, as often as the default
    asks, stopped it for half a second at a time and cost a third of the commands at 256 clients. The new ones are
    looked at often enough for that to take a few milliseconds.
    """
    gc.freeze()
    gc.set_threshold(10_000, 200, 100)


def read_settings(settings_class: type[Settings]) -> Settings:
    prefix = settings_class.model_config.get("env_prefix", "")
    try:
        return settings_class()
    except ValidationError as error:
        sys.exit("\n".join(f"{prefix}{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()))


async def run_parts(settings: Settings, parts: Mapping[str, Part[Settings]]) -> int:
    """Run until a signal comes, or a part needs an operator. Returns the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log.info("started", parts=sorted(parts))
    try:
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(supervision.supervise(name, partial(part, settings), stop))
                for name, part in {**parts, "metrics": serve_metrics}.items()
            ]
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


class Server(uvicorn.Server):
    """Serves until the event is set; signals are left to run_parts."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self.server_state = Connections()
        self._stop = stop
        self._state = state or {}

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state.update(self._state)
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        supervision.beat()
        return await super().on_tick(counter) or self._stop.is_set()


async def serve_http(app: Starlette, settings: ServiceSettings, stop: asyncio.Event) -> None:
    """Serve until the event is set, then answer what has been asked. Streams have to watch the event themselves."""
    await _serve(app, settings.host, settings.port, stop)


async def serve_metrics(settings: ServiceSettings, stop: asyncio.Event) -> None:
    await _serve(operations.create_app(), settings.host, settings.metrics_port, stop)


async def _serve(app: Starlette, host: str, port: int, stop: asyncio.Event) -> None:
    try:
        listener = socket.create_server((host, port), backlog=2_048)
    except OSError as error:
        raise OperatorError(f"Can't listen on {host}:{port}: {error.strerror}.") from error
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="off",  # entered here, so that what it raises is raised here
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS_MAX - 2,
    )
    with listener:
        async with app.router.lifespan_context(app) as state:
            await Server(config, stop, state).serve(sockets=[listener])
