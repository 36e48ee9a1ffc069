"""Commands over HTTP, beside an endpoint that does nothing on the same server; the load comes from another process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from typing import Final

import orjson
from fastapi import FastAPI, Request, Response

from firms import JOB_TITLE, ROLE, Pair, executing, linking, registered
from load import Load, drive, request
from measuring import Bar, Result, Sample, Size, Variant, closed_loop, interleaved, p99s, profiled, ratios
from servers import Servers
from vinculum_command.app import create_app
from vinculum_command.settings import Settings
from vinculum_devstack import ports
from vinculum_shared.lifecycle import serve_http

CONNECTIONS: Final = 64
BATCH: Final = 100
BATCHES_AT_ONCE: Final = 4
RATE: Final = 500
SIDE: Final = 400
SINGLES_PER_SECOND: Final = 5_000  # requests prepared: more than are answered
BATCHES_PER_SECOND: Final = 180
NOTHINGS_PER_SECOND: Final = 20_000

NOTHING: Final = f"an endpoint that does nothing, {CONNECTIONS} connections"
SINGLE: Final = f"a command a request, {CONNECTIONS} connections"
BATCHED: Final = f"{BATCH} commands a request, {BATCHES_AT_ONCE} connections"
PACED: Final = f"a command a request, {RATE} requests/s"
INSIDE: Final = "64 clients in the process"
CONDITIONS: Final = (
    "The server is this process, one uvicorn worker with the service's settings; the load is a second process over "
    "connections that stay open. A command is PUT of a fresh link."
)


async def measure(servers: Servers, size: Size) -> Result:
    settings = await servers.command("over_http")
    idle = settings.model_copy(update={"port": ports.free()})
    async with (
        executing(settings) as executor,
        serving(create_app, settings),
        serving(does_nothing, idle),
        second_process() as process,
    ):
        side = int(SIDE * size.share**0.5)
        single, batched, inside = [await registered(executor, name, side) for name in ("single", "batched", "inside")]
        puts = singles(single.pairs, servers.token("single"))
        posts = batches(batched.pairs, servers.token("batched"))
        orders = linking(inside)
        nothing = [request("POST", "/", servers.token("single"), body())] * int(NOTHINGS_PER_SECOND * size.seconds)

        def closed() -> Load:
            requests = list(islice(puts, int(SINGLES_PER_SECOND * size.seconds)))
            return Load(settings.port, requests, CONNECTIONS, size.seconds, b" 201 Created")

        def paced() -> Load:
            requests = list(islice(puts, int(RATE * size.seconds)))
            return Load(settings.port, requests, CONNECTIONS, size.seconds, b" 201 Created", per_second=RATE)

        def in_batches() -> Load:
            requests = list(islice(posts, int(BATCHES_PER_SECOND * size.seconds)))
            return Load(settings.port, requests, BATCHES_AT_ONCE, size.seconds, b'"status":201', BATCH)

        variants = {
            NOTHING: process.under(lambda: Load(idle.port, nothing, CONNECTIONS, size.seconds, b" 200 OK")),
            SINGLE: process.under(closed),
            PACED: process.under(paced),
            BATCHED: process.under(in_batches),
            INSIDE: lambda: closed_loop(64, size.seconds, lambda: executor.execute(next(orders))),
        }
        samples = await interleaved(size.rounds, variants)
        result = Result("Commands over HTTP", "requests or commands/s", samples, bars(samples), process.told())
        if result.missed("HTTP", "P5"):
            result.profiles[SINGLE] = await profiled(variants[SINGLE])
        if result.missed("P6"):
            result.profiles[BATCHED] = await profiled(variants[BATCHED])
    return result


def bars(samples: dict[str, list[Sample]]) -> list[Bar]:
    return [
        Bar("HTTP", "single / does nothing", ratios(samples[SINGLE], samples[NOTHING]), 0.25, at_least=True),
        Bar("P5", f"p99 at {RATE} requests/s, ms", p99s(samples[PACED]), 15, at_least=False),
        Bar("P6", "batches / 64 clients in the process", ratios(samples[BATCHED], samples[INSIDE]), 0.8, at_least=True),
    ]


def does_nothing(*_: object) -> FastAPI:
    app = FastAPI()

    @app.post("/")
    async def nothing(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    return app


@asynccontextmanager
async def serving(make: Callable[[Settings, asyncio.Event], FastAPI], settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve_http(make(settings, stop), settings, stop))
        while not await ports.answers(settings.port):  # noqa: ASYNC110  nobody tells us
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            stop.set()


@dataclass
class SecondProcess:
    pool: ProcessPoolExecutor
    busy: list[float] = field(default_factory=list)

    def under(self, prepared: Callable[[], Load]) -> Variant:
        async def run() -> Sample:
            load = prepared()
            loaded = await asyncio.get_running_loop().run_in_executor(self.pool, drive, load)
            self.busy.append(loaded.busy)
            return Sample.of(loaded.latencies, loaded.seconds, worth=load.worth)

        return run

    def told(self) -> str:
        return f"{CONDITIONS} It was on the CPU for {max(self.busy):.0%} of the time at most: at 100 % it is the limit."


@asynccontextmanager
async def second_process() -> AsyncIterator[SecondProcess]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield SecondProcess(pool)


def body(**more: object) -> bytes:
    return orjson.dumps({**more, "role": ROLE, "job_title": JOB_TITLE})


def singles(pairs: Iterator[Pair], token: str) -> Iterator[bytes]:
    for account_id, contact_id in pairs:
        yield request("PUT", f"/v1/accounts/{account_id}/contacts/{contact_id}", token, body())


def batches(pairs: Iterator[Pair], token: str, each: int = BATCH) -> Iterator[bytes]:
    while chunk := list(islice(pairs, each)):
        lines = [
            body(command="PutLink", account_id=account_id, contact_id=contact_id) for account_id, contact_id in chunk
        ]
        yield request("POST", "/v1/commands/batch", token, b"\n".join(lines))
