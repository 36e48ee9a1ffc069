"""HTTP requests from a second process, over connections that stay open: as little as such a process can do."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, cast

import uvloop

HOST: Final = "127.0.0.1"
LAST_CHUNK: Final = b"0\r\n\r\n"


@dataclass(frozen=True)
class Load:
    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float
    sign: bytes
    """Is in every good answer, `worth` times."""
    worth: int = 1
    per_second: float | None = None
    """How many requests are due; without it, each connection asks again as soon as it is answered."""


@dataclass(frozen=True)
class Loaded:
    latencies: list[float]
    seconds: float
    busy: float
    """The share of the time in which this process was on the CPU: near 1, it was what held things up."""


class Connection(asyncio.Protocol):
    """Asks one thing after another."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(ConnectionError("The server hung up."))

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        self.received = b""
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, _, body = self.received.partition(b"\r\n\r\n")
        if b"content-length: " in head:
            complete = len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        else:
            complete = body.endswith(LAST_CHUNK)
        if complete:
            self.answer.set_result(self.received)


def drive(load: Load) -> Loaded:
    return uvloop.run(driven(load))


async def driven(load: Load) -> Loaded:
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(Connection, HOST, load.port))[1] for _ in range(load.connections)]
    latencies: list[float] = []
    cpu, began = time.process_time(), perf_counter()
    requests = zip(load.requests, due(load, began), strict=False)

    async def ask(connection: Connection) -> None:
        for request, when in requests:
            if (early := when - perf_counter()) > 0:
                await asyncio.sleep(early)
            asked = when if load.per_second else perf_counter()
            answer = await connection.ask(request)
            if answer.count(load.sign) != load.worth:
                raise RuntimeError(answer.decode())
            latencies.append(perf_counter() - asked)

    await asyncio.gather(*map(ask, connections))
    seconds = perf_counter() - began
    for connection in connections:
        connection.transport.abort()
    return Loaded(latencies, seconds, (time.process_time() - cpu) / seconds)


def due(load: Load, began: float) -> Iterator[float]:
    """Say when each request is to be sent; in a closed loop at once, until the time is up."""
    if load.per_second:
        yield from (began + number / load.per_second for number in range(int(load.per_second * load.seconds)))
    while not load.per_second and (now := perf_counter()) < began + load.seconds:
        yield now


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
