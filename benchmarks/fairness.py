"""What one tenant's load costs another one, with the real processes: what it waits, beside what it waits alone."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter
from typing import Final, LiteralString
from uuid import UUID

import httpx2
import orjson
import uvloop

from latency import PROCESSES, Asked, registered, started
from load import HOST, request
from measuring import Bar, Result, Sample, Size, p99s
from over_http import body
from related import FILL_ACCOUNTS
from servers import Servers
from vinculum_devstack.services import Services
from vinculum_devstack.tokens import mint
from vinculum_projection.database import SCHEMA

QUIET, NOISY = "quiet", "noisy"
SECONDS: Final = 6.0  # for each second that other things are measured
BEGINNING_SECONDS: Final = 0.5  # until a load is there
PAUSE_SECONDS: Final = 0.01  # between two requests of who is measured
RETRY_AFTER: Final = re.compile(rb"retry-after: ([0-9]+)", re.IGNORECASE)
REFUSED_SECONDS: Final = 1.0  # until who was refused asks again, where no Retry-After says so
RATIO_MAX: Final = 2.0
ACCOUNTS: Final = 100_000  # that are searched
FILL_WORDS: LiteralString = """
    INSERT INTO account_words (tenant, account_id, start)
    SELECT tenant, account_id, folded_name FROM accounts WHERE tenant = $1 ON CONFLICT DO NOTHING"""
LINES, CONTACTS, ADDRESSES = 60, 150, 3

ALONE: Final = "alone"
CONDITIONS: Final = (
    "vinculum-command (serve and relay) and vinculum-projection (serve and consume) are a process each, the load is "
    "another; all share two cores with Postgres and Kafka. One tenant makes the load; of another one, three callers "
    "each ask one thing after another. Who is refused asks again when Retry-After says so."
)


Samples = dict[str, dict[str, list[Sample]]]
"""By load and by what is asked."""
Probe = Callable[[], Awaitable[httpx2.Response]]


@dataclass(frozen=True)
class Noise:
    """Requests that connections send over and over until the time is up, each over a connection of its own."""

    port: int
    requests: Sequence[bytes]
    connections: int


async def measure(servers: Servers, size: Size) -> Result:
    services = await started(servers)
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            samples = await in_rounds(servers, services, pool, size)
    finally:
        await servers.processes.stop(*PROCESSES)
    bars = [
        Bar(
            "F1",
            f"{name}: {what}, p99 / {ALONE}",
            slower(samples[name], samples[ALONE], what),
            RATIO_MAX,
            at_least=False,
        )
        for name in samples
        for what in samples[name]
        if name != ALONE
    ]
    shown = {f"{name}: {what}": each for name, found in samples.items() for what, each in found.items()}
    return Result("One tenant's load and another tenant", "requests/s", shown, bars, CONDITIONS)


async def in_rounds(servers: Servers, services: Services, pool: ProcessPoolExecutor, size: Size) -> Samples:
    """Measure alone and under each load in turn, and let what a load has left be done before the next."""
    async with httpx2.AsyncClient(timeout=60) as http:
        quiet, noisy = [await registered(servers, services, http, tenant) for tenant in (QUIET, NOISY)]
        async with servers.admin("vinculum_projection") as admin:
            await admin.execute(f"SET search_path = {SCHEMA}")
            await admin.execute(FILL_ACCOUNTS, NOISY, int(ACCOUNTS * size.share))
            await admin.execute(FILL_WORDS, NOISY)
            await admin.execute("VACUUM (ANALYZE) accounts, account_words")
        probes = await probes_of(quiet)
        loads = loads_of(services, noisy.token, mint(servers.folder, kind="service", tenant=NOISY, scopes=("log",)))
        samples: Samples = {name: {what: [] for what in probes} for name in (ALONE, *loads)}
        seconds = SECONDS * size.seconds
        await probed(probes, seconds)
        for _ in range(size.rounds):
            for name, found in samples.items():
                async with under(pool, loads.get(name), seconds):
                    for what, sample in (await probed(probes, seconds)).items():
                        found[what].append(sample)
                await settled(noisy)
    return samples


def slower(loaded: Mapping[str, Sequence[Sample]], alone: Mapping[str, Sequence[Sample]], what: str) -> list[float]:
    return [a / b for a, b in zip(p99s(loaded[what]), p99s(alone[what]), strict=True)]


async def probes_of(quiet: Asked) -> dict[str, Probe]:
    """Return what the other tenant asks."""
    headers = {"Authorization": f"Bearer {quiet.token}"}

    async def put() -> httpx2.Response:
        account_id, contact_id = next(quiet.pairs)
        path = f"/v1/accounts/{account_id}/contacts/{contact_id}"
        return await quiet.http.put(f"{quiet.command}{path}", content=body(), headers=headers)

    linked: tuple[UUID, UUID] = next(quiet.pairs)
    of = dict(zip(("account_id", "contact_id"), map(str, linked), strict=True))
    path = f"/v1/accounts/{linked[0]}/contacts/{linked[1]}"
    (await quiet.http.put(f"{quiet.command}{path}", content=body(), headers=headers)).raise_for_status()
    return {
        "an access check": lambda: quiet.http.get(f"{quiet.command}/v1/access", params=of, headers=headers),
        "a command": put,
        "a first page": lambda: quiet.http.get(f"{quiet.projection}/v1/accounts?limit=20", headers=headers),
    }


async def probed(probes: dict[str, Probe], seconds: float) -> dict[str, Sample]:
    """Ask everything for so long, each thing one after another."""

    async def ask(probe: Probe) -> Sample:
        began = perf_counter()
        latencies: list[float] = []
        while (asked := perf_counter()) < began + seconds or len(latencies) < 2:
            (await probe()).raise_for_status()
            latencies.append(perf_counter() - asked)
            await asyncio.sleep(PAUSE_SECONDS)
        return Sample.of(latencies, perf_counter() - began)

    return dict(zip(probes, await asyncio.gather(*map(ask, probes.values())), strict=True))


async def settled(noisy: Asked) -> None:
    """Wait until nothing of a load is left: a command of its tenant is answered, and can be read."""
    while True:
        with suppress(httpx2.HTTPStatusError, httpx2.TransportError):
            await noisy.readable()
            return


def loads_of(services: Services, token: str, log_token: str) -> dict[str, Noise]:
    command, projection = services.ports["command"], services.ports["projection"]
    batches = [closing("POST", "/v1/commands/batch", token, b"\n".join(lines(number))) for number in range(45)]
    dry = b"\n".join(line for number in range(5) for line in lines(number))
    beyond = closing("GET", "/v1/accounts?min_position=1000000000", token)
    searches = [closing("GET", f"/v1/accounts?limit=200&query={letter}", token) for letter in "0123456789abcdef"]
    return {
        f"45 batches of {LINES} large accounts": Noise(command, batches, len(batches)),
        "dry runs of 300 large accounts": Noise(
            command, [closing("POST", "/v1/commands/batch?dry_run=true", token, dry)], 4
        ),
        "500 streams": Noise(command, [closing("GET", "/v1/log", log_token, accept="text/event-stream")], 500),
        "30 searches": Noise(projection, searches, 30),
        "300 queries that wait": Noise(projection, [beyond], 300),
    }


def lines(number: int) -> Iterator[bytes]:
    """Make the commands of a batch; each one's addresses are its own."""
    for line in range(LINES):
        contacts = [
            {"emails": [{"address": f"{number}.{line}.{contact}.{each}@example.com"} for each in range(ADDRESSES)]}
            for contact in range(CONTACTS)
        ]
        yield orjson.dumps({"command": "CreateAccount", "name": "Large", "new_contacts": contacts})


def closing(method: str, path: str, token: str, content: bytes = b"", accept: str = "*/*") -> bytes:
    """Make a request after whose answer the connection ends."""
    more = f"\r\nconnection: close\r\naccept: {accept}\r\n"
    return request(method, path, token, content).replace(b"\r\n", more.encode(), 1)


@asynccontextmanager
async def under(pool: ProcessPoolExecutor, noise: Noise | None, seconds: float) -> AsyncIterator[None]:
    """Have another process make a load in the meantime."""
    if noise is None:
        yield
        return
    making = asyncio.get_running_loop().run_in_executor(pool, make, noise, BEGINNING_SECONDS + seconds)
    await asyncio.sleep(BEGINNING_SECONDS)
    yield
    await making


def make(noise: Noise, seconds: float) -> None:
    uvloop.run(made(noise, seconds))


async def made(noise: Noise, seconds: float) -> None:
    async def ask(number: int) -> None:
        while True:
            with suppress(OSError, EOFError):
                await asyncio.sleep(await answered(noise.port, noise.requests[number % len(noise.requests)]))

    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*map(ask, range(noise.connections)))


async def answered(port: int, sent: bytes) -> float:
    """Send a request, and read its answer to the end. Return the seconds to wait until the next one."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        while await reader.read(2**16):
            pass
        if b" 200 " in head.partition(b"\r\n")[0]:
            return 0.0
        told = RETRY_AFTER.search(head)
        return float(told[1]) if told else REFUSED_SECONDS
    finally:
        writer.transport.abort()
