"""A system whose servers are reached over links that can be cut, and the outages that befall them."""

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import psutil

from support.system import SERVE, System
from support.waiting import until
from vinculum_devstack import ports
from vinculum_devstack.kafka import Kafka
from vinculum_devstack.ports import HOST
from vinculum_devstack.processes import Part, Program
from vinculum_devstack.services import Services

Server = Literal["kafka", "postgres", "command"]
Kind = Literal["stopped", "paused", "cut"]

PROCESS: Final[dict[Server, str]] = {"kafka": "kafka", "postgres": "postgres", "command": SERVE}
CHUNK_BYTES: Final = 65_536


class Link:
    """Passes on what comes to a port. Cut, it resets its connections, and refuses new ones until it is mended."""

    def __init__(self, target_port: int, port: int) -> None:
        self.target_port = target_port
        self.port = port
        self._server: asyncio.Server | None = None
        self._writers: set[StreamWriter] = set()

    async def mend(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._pass_on, HOST, self.port)

    def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self._writers |= both
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        self._writers -= both


async def pump(source: StreamReader, target: StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(CHUNK_BYTES):
            target.write(data)
            await target.drain()
    with suppress(OSError):
        target.close()


@dataclass(frozen=True)
class LinkedKafka(Kafka):
    """Tells its clients to come over the link."""

    link_port: int = 0

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.link_port}"


@dataclass(frozen=True)
class LinkedServices(Services):
    command_port: int = 0

    def program(self, service: str) -> Program:
        program = super().program(service)
        name = f"VINCULUM_{service.upper()}_COMMAND_URL"
        linked = {name: f"http://{HOST}:{self.command_port}"} if name in program.env else {}
        return replace(program, env={**program.env, **linked})


class LinkedSystem(System):
    """Its services reach Postgres, Kafka and the command service over links; tests ask the servers themselves."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.links: dict[Server, Link] = {}
        for server in PROCESS:
            taken = (*self.ports.values(), *(link.port for link in self.links.values()))
            self.links[server] = Link(self.ports[server], ports.free(but=taken))
        self.kafka = LinkedKafka(
            self.kafka.folder, self.kafka.port, self.kafka.controller_port, link_port=self.links["kafka"].port
        )
        url = urlsplit(self.postgres.url)
        linked = url._replace(netloc=f"{url.username}:{url.password}@{HOST}:{self.links['postgres'].port}")
        self.services = LinkedServices(
            data, self.ports, linked.geturl(), self.kafka.bootstrap, command_port=self.links["command"].port
        )

    async def up(self) -> None:
        for link in self.links.values():
            await link.mend()
        await super().up()

    async def heal(self) -> None:
        for server, link in self.links.items():
            self._resume(server)
            await link.mend()
        await super().heal()

    async def down(self) -> None:
        await super().down()
        for link in self.links.values():
            link.cut()

    async def begin(self, server: Server, kind: Kind) -> None:
        match kind:
            case "stopped":
                await self.stop(PROCESS[server])
            case "paused":
                for process in self._family(server):
                    process.suspend()
            case "cut":
                self.links[server].cut()

    async def end(self, server: Server, kind: Kind) -> None:
        """Have the server back. One that was stopped is back once it answers."""
        match kind:
            case "stopped":
                part = self._part_of(server)
                await asyncio.to_thread(part.initialise)
                self.processes.start(part.program)
                await until(lambda: self._answers(server))
            case "paused":
                self._resume(server)
            case "cut":
                await self.links[server].mend()

    async def _answers(self, server: Server) -> bool:
        """Whether it answers: a command service says on its metrics port that it waits for Postgres."""
        if server == "command":
            return await ports.answers(self.metrics_ports[SERVE])
        return await self._part_of(server).is_ready()

    def _part_of(self, server: Server) -> Part:
        return {"kafka": self.kafka.part, "postgres": self.postgres.part}.get(server) or self._part(SERVE)

    def _family(self, server: Server) -> list[psutil.Process]:
        """The server's process and those that it has started, which Postgres does for each connection."""
        process = self.running(PROCESS[server])
        return [process, *process.children(recursive=True)] if process else []

    def _resume(self, server: Server) -> None:
        for process in self._family(server):
            with suppress(psutil.NoSuchProcess):
                process.resume()
