"""From the commit to whoever reads: a consumer of the topic, and a query of the read model; with the real processes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Final
from uuid import uuid4

import httpx2
import orjson
from aiokafka import TopicPartition

from firms import PROFILE, Pair, pairs
from load import Load
from measuring import Bar, Result, Sample, Size, interleaved, p50s, p99s
from over_http import batches, body, second_process
from servers import PARTITIONS, Servers
from vinculum_devstack import ports
from vinculum_devstack.processes import Part
from vinculum_devstack.service_tokens import write_service_tokens
from vinculum_devstack.services import Services, is_ready
from vinculum_devstack.tokens import mint
from vinculum_shared import kafka
from vinculum_shared.settings import TOPIC

PROCESSES: Final = ("command", "projection")
TENANTS: Final = [f"busy-{number}" for number in range(4)]
SIDE: Final = 120
EVENTS_PER_SECOND: Final = 1_000
REACHED_MIN: Final = 950  # the last answers come after the last request is due
EVENTS_A_REQUEST: Final = 20
CONNECTIONS: Final = 16
SECONDS: Final = 2.0  # for each second that other things are measured
PAUSE_SECONDS: Final = 0.02  # between two probes

IDLE, BUSY = "idle", f"{EVENTS_PER_SECOND:,} events/s"
ON_TOPIC: Final = "commit → a consumer has it"
READABLE: Final = "answer → readable in the read model"
CONDITIONS: Final = (
    "vinculum-command (serve and relay) and vinculum-projection (serve and consume) are a process each. A consumer has "
    "it: from recorded_at, which is before the commit, to the record's arrival. Readable: from the answer to a command "
    "to the answer of a query with its min_position, so with HTTP and its waiting. The load is batches of "
    f"{EVENTS_A_REQUEST} commands of {len(TENANTS)} tenants at a fixed rate, from another process; those who look for "
    "their own link are of one more tenant."
)


@dataclass(frozen=True)
class Asked:
    """A tenant, and where it is asked."""

    command: str
    projection: str
    http: httpx2.AsyncClient
    token: str
    pairs: Iterator[Pair]

    async def readable(self) -> float:
        """Link a pair, and see how long after the answer it can be read."""
        account_id, contact_id = next(self.pairs)
        path, headers = f"/v1/accounts/{account_id}/contacts", {"Authorization": f"Bearer {self.token}"}
        put = await self.http.put(f"{self.command}{path}/{contact_id}", content=body(), headers=headers)
        answered = perf_counter()
        position = put.raise_for_status().json()["position"]
        read = await self.http.get(f"{self.projection}{path}?min_position={position}", headers=headers)
        seconds = perf_counter() - answered
        assert any(each["contact_id"] == str(contact_id) for each in read.raise_for_status().json()["items"])
        return seconds


async def measure(servers: Servers, size: Size) -> Result:
    services = await started(servers)
    try:
        async with (
            httpx2.AsyncClient(timeout=20) as http,
            arriving(servers.kafka.bootstrap) as arrivals,
            second_process() as process,
        ):
            probed = await registered(servers, services, http, "probed")
            busy = [await registered(servers, services, http, tenant) for tenant in TENANTS]
            requests = in_turn([batches(each.pairs, each.token, EVENTS_A_REQUEST) for each in busy])
            per_second = EVENTS_PER_SECOND / EVENTS_A_REQUEST
            seconds = SECONDS * size.seconds
            on_topic: dict[str, list[Sample]] = {IDLE: [], BUSY: []}

            async def probe() -> list[float]:
                """Ask one thing after another."""
                until, latencies = perf_counter() + seconds, []
                while perf_counter() < until:
                    latencies.append(await probed.readable())
                    await asyncio.sleep(PAUSE_SECONDS)
                return latencies

            async def idle() -> Sample:
                arrivals.clear()
                sample = Sample.of(await probe())
                on_topic[IDLE].append(Sample.of(arrivals))
                return sample

            async def loaded() -> Sample:
                due = list(islice(requests, int(per_second * seconds)))
                port = services.ports["command"]
                load = Load(port, due, CONNECTIONS, seconds, b'"status":201', EVENTS_A_REQUEST, per_second)
                arrivals.clear()
                latencies, reached = await asyncio.gather(probe(), process.under(lambda: load)())
                on_topic[BUSY].append(Sample.of(arrivals))
                return replace(Sample.of(latencies), per_second=reached.per_second)

            await idle()
            on_topic[IDLE].clear()
            readable = await interleaved(size.rounds, {IDLE: idle, BUSY: loaded})
    finally:
        await servers.processes.stop(*PROCESSES)
    samples = {f"{when}: {ON_TOPIC}": each for when, each in on_topic.items()}
    samples |= {f"{when}: {READABLE}": each for when, each in readable.items()}
    bars = [
        Bar("P8", "idle, commit → a consumer has it, p50 ms", p50s(on_topic[IDLE]), 25, at_least=False),
        Bar("P8", "idle, commit → a consumer has it, p99 ms", p99s(on_topic[IDLE]), 120, at_least=False),
        Bar("P15", "events/s reached", [each.per_second or 0.0 for each in readable[BUSY]], REACHED_MIN, at_least=True),
        Bar("P15", f"{BUSY}, {READABLE}, p99 ms", p99s(readable[BUSY]), 300, at_least=False),
    ]
    return Result("From the commit to the readers", "events/s reached", samples, bars, CONDITIONS)


async def started(servers: Servers) -> Services:
    numbers = ports.settled(servers.folder) | {name: ports.free() for name in PROCESSES}
    services = Services(servers.folder, numbers, servers.postgres.url, servers.kafka.bootstrap)
    write_service_tokens(servers.folder)
    for name in PROCESSES:
        await servers.processes.complete(services.migration(name))
        await servers.processes.bring_up(Part(services.program(name), partial(is_ready, services.url(name))))
    return services


@asynccontextmanager
async def arriving(bootstrap: str) -> AsyncIterator[list[float]]:
    """Yield how long after its recording each event arrives, as it does."""
    arrivals: list[float] = []
    consumer = kafka.consumer(bootstrap, client_id="benchmark", group="benchmark")
    await consumer.start()

    async def consume() -> None:
        async for record in consumer:
            recorded_at = datetime.fromisoformat(orjson.loads(record.value)["time"])
            arrivals.append((datetime.now(UTC) - recorded_at).total_seconds())

    consumer.assign([TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)])
    await consumer.seek_to_end()
    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        try:
            yield arrivals
        finally:
            await consumer.stop()


async def registered(servers: Servers, services: Services, http: httpx2.AsyncClient, tenant: str) -> Asked:
    """Register a tenant with accounts and contacts."""
    command, token = services.url("command"), servers.token(tenant)
    admin = {"name": "Ada", "email": "ada@example.com"}
    await http.post(
        f"{command}/v1/tenants",
        json={"tenant": tenant, "name": tenant, "profile": PROFILE, "admin": admin},
        headers={"Authorization": f"Bearer {mint(servers.folder, kind='platform')}"},
    )
    accounts, contacts = [uuid4() for _ in range(SIDE)], [uuid4() for _ in range(SIDE)]
    lines = [orjson.dumps({"command": "CreateAccount", "id": id_, "name": "Account"}) for id_ in accounts]
    lines += [orjson.dumps({"command": "CreateContact", "id": id_, "first_name": "Contact"}) for id_ in contacts]
    headers = {"Authorization": f"Bearer {token}"}
    await http.post(f"{command}/v1/commands/batch", content=b"\n".join(lines), headers=headers)
    return Asked(command, services.url("projection"), http, token, pairs(accounts, contacts))


def in_turn(sources: list[Iterator[bytes]]) -> Iterator[bytes]:
    for turn in zip(*sources, strict=False):
        yield from turn
