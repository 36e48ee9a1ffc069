"""Commands given in the process, beside a bare insert of the same events, and the same append ungrouped."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from time import perf_counter
from typing import Final, LiteralString

import asyncpg

from firms import executing, linking, populated, registered
from measuring import Bar, Result, Sample, Size, Variant, at_rate, closed_loop, interleaved, p99s, profiled, ratios
from servers import Servers
from vinculum_command import event_store
from vinculum_command.database import BY_INDEX
from vinculum_command.domain.commands import Order
from vinculum_command.event_store import Append, Key
from vinculum_command.execute import Executor, lent_already
from vinculum_command.group import Cache, Group, Hash
from vinculum_command.outcomes import Answer, Waiting
from vinculum_command.settings import Settings
from vinculum_command.turns import Pace
from vinculum_shared.postgres import Pool, columns, connect_pool

CLIENTS: Final = (1, 16, 64, 256)
TENANTS: Final = {"1 tenant": ["one"], "12 tenants": [f"twelve-{number}" for number in range(12)]}
SIDES: Final = {"1 tenant": 600, "12 tenants": 170}  # accounts, and as many contacts: more pairs than are linked
ROWS_AT_ONCE: Final = 500
INSERTING: Final = 2  # connections
ALONE: Final = 16  # connections, for one command each
ALONE_PER_SECOND: Final = 250  # more than one of them gets done
SIDE_ALONE: Final = 40

BARE: Final = "bare insert of 500 events, 2 connections"
HALF: Final = "at half of the highest rate"
CONDITIONS: Final = (
    "A command links a fresh pair (PutLink): one event, three heads moved, one answer kept for its key. Everything "
    "from the command's making to its answer runs in one process; the bare insert writes rows of those events into a "
    "table with the same columns and indexes; ungrouped is the call `append` alone, its groups of one decided before."
)

TABLE: LiteralString = "CREATE TABLE bare (LIKE events INCLUDING ALL)"
EVENTS: LiteralString = "SELECT * FROM events WHERE type = 'ContactLinked' LIMIT $1"
INSERT: LiteralString = """
    INSERT INTO bare SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::int[],
        $7::timestamptz[], $8::timestamptz[], $9::uuid[], $10::uuid[], $11::json[], $12::json[], $13::json[])"""


async def measure(servers: Servers, size: Size) -> Result:
    settings = await servers.command("commands")
    async with (
        executing(settings) as executor,
        asyncpg.create_pool(servers.postgres.url, database="commands", min_size=INSERTING, max_size=INSERTING) as admin,
        await appenders(settings) as pool,
    ):
        orders: dict[str, Iterator[Order]] = {}
        variants: dict[str, Variant] = {}
        for tenants, names in TENANTS.items():
            side = int(SIDES[tenants] * size.share**0.5)
            orders[tenants] = linking(*[await registered(executor, name, side) for name in names])
            await asyncio.gather(*(executor.execute(next(orders[tenants])) for _ in range(2 * ROWS_AT_ONCE)))
            for clients in CLIENTS:
                variants[f"{clients} clients, {tenants}"] = grouped(executor, orders[tenants], clients, size)
            alone = [
                Alone(linking(await populated(executor, names[number % len(names)], SIDE_ALONE)), executor.hashed)
                for number in range(ALONE)
            ]
            variants[f"append ungrouped, {ALONE} connections, {tenants}"] = ungrouped(alone, pool, size)
        variants[BARE] = await bare_insert(admin, size)
        samples = await interleaved(size.rounds, variants)

        highest = max(each.per_second or 0.0 for name in samples if "clients" in name for each in samples[name])
        await admin.execute("CHECKPOINT")  # a commit waits for the disk, and the disk for what the bare insert left
        samples |= await interleaved(size.rounds, {HALF: paced(executor, orders["1 tenant"], highest / 2, size)})
        result = Result("Commands in the process", "commands/s", samples, bars(samples), CONDITIONS)
        if result.missed("P1", "P2", "P5"):
            run = grouped(executor, orders["1 tenant"], 64, size)
            result.profiles["64 clients, 1 tenant"] = await profiled(run)
    return result


def bars(samples: dict[str, list[Sample]]) -> list[Bar]:
    bare = samples[BARE]
    found = []
    for tenants in TENANTS:
        ungrouped = samples[f"append ungrouped, {ALONE} connections, {tenants}"]
        at_64, at_256 = (samples[f"{clients} clients, {tenants}"] for clients in (64, 256))
        found += [
            Bar("P1", f"64 clients / bare insert, {tenants}", ratios(at_64, bare), 0.15, at_least=True),
            Bar("P1", f"256 clients / bare insert, {tenants}", ratios(at_256, bare), 0.20, at_least=True),
            Bar("P2", f"64 clients / ungrouped, {tenants}", ratios(at_64, ungrouped), 5, at_least=True),
            Bar("P2", f"256 clients / ungrouped, {tenants}", ratios(at_256, ungrouped), 5, at_least=True),
        ]
    return [*found, Bar("P5", "p99 at half of the highest rate, ms", p99s(samples[HALF]), 15, at_least=False)]


def grouped(executor: Executor, orders: Iterator[Order], clients: int, size: Size) -> Variant:
    return lambda: closed_loop(clients, size.seconds, lambda: executor.execute(next(orders)))


def paced(executor: Executor, orders: Iterator[Order], per_second: float, size: Size) -> Variant:
    return lambda: at_rate(per_second, size.seconds, lambda: executor.execute(next(orders)))


async def bare_insert(admin: Pool, size: Size) -> Variant:
    """Insert rows of real events over and over, each time for another tenant."""
    await admin.execute(TABLE)
    rows = [(number, *tuple(row)[2:]) for number, row in enumerate(await admin.fetch(EVENTS, 4 * ROWS_AT_ONCE))]
    batches = [columns(rows[at : at + ROWS_AT_ONCE], len(rows[0])) for at in range(0, len(rows), ROWS_AT_ONCE)]
    fresh = (([f"bare-{number}"] * ROWS_AT_ONCE, *batch) for number in count() for batch in batches)
    return lambda: closed_loop(INSERTING, size.seconds, lambda: admin.execute(INSERT, *next(fresh)), worth=ROWS_AT_ONCE)


@dataclass(frozen=True)
class Alone:
    """What one connection appends, a command at a time: of accounts and contacts that no other one touches."""

    orders: Iterator[Order]
    hashed: Hash
    cache: Cache = field(default_factory=Cache)
    decided: deque[Append] = field(default_factory=deque)

    async def decide(self, pool: Pool, number: int) -> None:
        """Decide as the executor does, each upon the one before, and keep what it would write."""
        pace = Pace(partial(asyncio.sleep, 0))
        async with pool.acquire() as db:
            for order in islice(self.orders, number - len(self.decided)):
                key = Key(order.tenant, "service/alone", str(order.command_id))
                answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
                group = Group([Waiting(order, key, answer)])
                await group.decide(partial(lent_already, db), self.cache, self.hashed, pace)
                await group.conclude(pace)
                group.remember_moves(self.cache)
                self.decided.append(group.append)

    async def append(self, pool: Pool, until: float) -> list[float]:
        latencies = []
        async with pool.acquire() as db:
            while self.decided and (began := perf_counter()) < until:
                await event_store.append(db, self.decided.popleft())
                latencies.append(perf_counter() - began)
        return latencies


def ungrouped(alone: Sequence[Alone], pool: Pool, size: Size) -> Variant:
    async def run() -> Sample:
        for each in alone:
            await each.decide(pool, int(ALONE_PER_SECOND * size.seconds))
        began = perf_counter()
        each_s = await asyncio.gather(*(each.append(pool, began + size.seconds) for each in alone))
        return Sample.of([latency for latencies in each_s for latency in latencies], perf_counter() - began)

    return run


async def appenders(settings: Settings) -> Pool:
    return await connect_pool(
        settings.database_url,
        application_name="benchmark",
        role="vinculum_command_appender",
        size=ALONE,
        server_settings=BY_INDEX,
    )
