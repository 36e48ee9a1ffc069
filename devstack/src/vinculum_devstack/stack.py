"""The whole stack: brought up with what can go side by side side by side, and taken down in order."""

import asyncio
import os
import sys
from collections.abc import Collection, Coroutine
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from rich.console import Console

from vinculum_devstack import demo, ports
from vinculum_devstack.folder import only_one, prepare, read_json, write_json
from vinculum_devstack.kafka import Kafka
from vinculum_devstack.keys import keys, make_keys
from vinculum_devstack.postgres import BIN, Postgres, end_orphans
from vinculum_devstack.problems import StackError
from vinculum_devstack.processes import Part, Processes, Program
from vinculum_devstack.progress import Progress
from vinculum_devstack.service_tokens import write_service_tokens
from vinculum_devstack.services import SERVICES, Services, is_ready
from vinculum_devstack.tenants import register_demo_tenants
from vinculum_devstack.tokens import mint
from vinculum_devstack.watching import Watch
from vinculum_shared.settings import TOPIC

ADDRESSES: Final = (*SERVICES, "kafka", "topic", "maildir", "metrics")
WATCHER: Final = "watcher"


async def up(data: Path, progress: Progress, *, detach: bool, samples: bool) -> None:
    prepare(data)
    processes = Processes(data)
    with only_one(processes.lock):
        await processes.stop(WATCHER)  # whose settings may not be those of now
        make_keys(data)
        await Stack(data).start(progress, samples=samples)
        if detach:
            argv = [sys.executable, "-m", "vinculum_devstack", "watch"]
            processes.start(Program(WATCHER, argv, {"VINCULUM_DATA": str(data)}))


class Stack:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.processes = Processes(data)
        self.ports = ports.settled(data)
        self.postgres_url = os.environ.get("VINCULUM_POSTGRES_URL") or self._postgres.url
        self.kafka_bootstrap = os.environ.get("VINCULUM_KAFKA_BOOTSTRAP") or self._kafka.bootstrap
        self.services = Services(data, self.ports, self.postgres_url, self.kafka_bootstrap)

    async def start(self, progress: Progress, *, samples: bool) -> None:
        """Start what doesn't run, and what runs with other settings. If that fails, stop what was started."""
        await self._make_room()
        try:
            write_service_tokens(self.data)
            await side_by_side(self._bring_up(self._others(), progress), self._databases(progress))
            await self._bring_up(self._services(), progress)
            with progress.step("demo tenants"):
                await register_demo_tenants(self.services.url("command"), mint(self.data, kind="platform"))
            if samples:
                await demo.show(self.data, self.services.url("command"), progress)
        except BaseException:
            await stop_in_order(self.processes, self.processes.started)
            raise
        addresses = {name: self.services.url(name) for name in SERVICES} | {
            "kafka": self.kafka_bootstrap,
            "topic": TOPIC,
            "maildir": str(self.data / "mail"),
            "metrics": {name: self.services.metrics_url(name) for name in SERVICES},
        }
        write_json(self.data / "stack.json", addresses)

    def parts(self) -> list[Part]:
        return [*self._postgres_part(), *self._others(), *self._services()]

    def _others(self) -> list[Part]:
        return [*self._kafka_part(), self._mail_sink(), self._service_tokens()]

    def _services(self) -> list[Part]:
        return [self._service(name) for name in SERVICES]

    async def _databases(self, progress: Progress) -> None:
        await self._bring_up(self._postgres_part(), progress)
        missing = [name for name in SERVICES if not self.processes.running(name)]
        with progress.step("migrations"):
            await side_by_side(*(self.processes.complete(self.services.migration(name)) for name in missing))

    def _postgres_part(self) -> list[Part]:
        """Give our own, where no other is named."""
        return [self._postgres.part] if self.postgres_url == self._postgres.url else []

    def _kafka_part(self) -> list[Part]:
        return [self._kafka.part] if self.kafka_bootstrap == self._kafka.bootstrap else []

    @property
    def _postgres(self) -> Postgres:
        return Postgres(self.data / "postgres", self.ports["postgres"], keys(self.data)["postgres_password"])

    @property
    def _kafka(self) -> Kafka:
        return Kafka(self.data / "kafka", self.ports["kafka"], self.ports["kafka_controller"])

    def _mail_sink(self) -> Part:
        port = self.ports["smtp"]
        module = [sys.executable, "-m", "vinculum_devstack.mail_sink"]
        program = Program("mail-sink", [*module, str(self.data / "mail"), "--port", str(port)])
        return Part(program, lambda: ports.answers(port), ports=("smtp",))

    def _service_tokens(self) -> Part:
        module = [sys.executable, "-m", "vinculum_devstack.service_tokens"]
        return Part(Program("service-tokens", [*module, str(self.data)]), always_ready)

    def _service(self, name: str) -> Part:
        program = self.services.program(name)
        return Part(program, lambda: is_ready(self.services.url(name)), ports=(name, f"{name}_metrics"))

    async def _make_room(self) -> None:
        missing = [part for part in self.parts() if not self.processes.runs_as(part.program)]
        await stop_in_order(self.processes, [part.program.name for part in missing])
        for part in missing:
            for port in part.ports:
                ports.require_free(port, self.ports[port])

    async def _bring_up(self, parts: list[Part], progress: Progress) -> None:
        async def bring_up(part: Part) -> None:
            with progress.step(part.program.name):
                await self.processes.bring_up(part)

        await side_by_side(*(bring_up(part) for part in parts if not self.processes.running(part.program.name)))


async def always_ready() -> bool:
    return True


async def down(data: Path) -> None:
    if not (data / "run").exists():
        return
    processes = Processes(data)
    with only_one(processes.lock):
        await processes.stop(WATCHER)
        await stop_in_order(processes, processes.names())
        await asyncio.to_thread(end_orphans, data / "postgres")


async def stop_in_order(processes: Processes, names: Collection[str]) -> None:
    """Stop the services first, so that they can end what they are doing."""
    await processes.stop(*(name for name in names if name in SERVICES))
    await processes.stop(*(name for name in names if name not in SERVICES))


async def watch(data: Path, console: Console) -> None:
    """Restart what ends by itself. Return when nothing runs any more."""
    processes = Processes(data)
    with only_one(processes.lock):
        parts = Stack(data).parts()
    await Watch(processes, console).over(parts)


async def status(data: Path) -> dict[str, Any]:
    """Tell: running if all of it is there and the services are ready, stopped if nothing is, else partial."""
    processes = Processes(data)
    names = processes.names()
    running = [name for name in names if processes.running(name)]
    addresses: dict[str, Any] = read_json(data / "stack.json") or dict.fromkeys(ADDRESSES)
    ready = await asyncio.gather(*(is_ready(addresses[name]) for name in SERVICES if name in running))
    complete = set(SERVICES) <= set(running) == set(names) and all(ready)
    state = "running" if complete else "partial" if running else "stopped"
    return {"state": state, **addresses, "data": str(data)}


def settings(data: Path) -> dict[str, str]:
    """Return the variables that the services' own commands, and Postgres's tools, need."""
    parts = Stack(data)
    postgres = urlsplit(parts.postgres_url)
    return {
        "PGHOST": postgres.hostname or "",
        "PGPORT": str(postgres.port or 5432),
        "PGUSER": unquote(postgres.username or ""),
        "PGPASSWORD": unquote(postgres.password or ""),
    } | {name: value for service in SERVICES for name, value in parts.services.operator_settings(service).items()}


TOOLS: Final = (Path(sys.executable).parent, BIN)
"""Where the programs are that belong to these settings."""


def ended(data: Path) -> dict[str, Path]:
    """Return the logs of the parts that were started and do not run any more, by name."""
    processes = Processes(data)
    return {name: processes.log(name) for name in processes.names() if not processes.running(name)}


async def side_by_side(*steps: Coroutine[Any, Any, None]) -> None:
    """Do all of them; when one fails, the others are given up."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except* StackError as failed:
        raise failed.exceptions[0] from None
