"""A service that subscribes: it counts events by type, and shows that none was missed and none counted twice.

vinculum token --kind service --scope log --scope all_tenants > token
python samples/subscriber.py postgresql://…/counting 127.0.0.1:9092 http://127.0.0.1:8001 token
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import asyncpg
from pydantic import SecretStr

from vinculum_shared.consuming.event_log import open_log
from vinculum_shared.consuming.subscription import Subscription
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.kafka import OPEN, Security
from vinculum_shared.postgres import OUTAGE, Connection, columns
from vinculum_shared.supervision import set_within, supervise
from vinculum_shared.token_file import TokenFile

TOPIC = "vinculum.events.v1"
TABLES = files("vinculum_shared.consuming").joinpath("subscription.sql").read_text()
COUNTED = "CREATE TABLE counted (tenant text, type text, events bigint, positions numeric, PRIMARY KEY (tenant, type))"
COUNT = """
    INSERT INTO counted SELECT tenant, type, count(*), sum(position)
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS _ (tenant, type, position) GROUP BY 1, 2
    ON CONFLICT (tenant, type) DO UPDATE SET events = counted.events + excluded.events,
        positions = counted.positions + excluded.positions"""
PROOF = """
    SELECT tenant, position, sum(events) = position AND sum(positions) = position * (position + 1) / 2 AS complete
    FROM subscription JOIN counted USING (tenant) GROUP BY 1, 2 ORDER BY 1"""


async def count(connection: Connection, events: Sequence[Recorded[Event]]) -> None:
    await connection.execute(COUNT, *columns(((event.tenant, event.type, event.position) for event in events), 3))


def security(env: Mapping[str, str]) -> Security:
    if "KAFKA_USERNAME" not in env:
        return OPEN
    return Security("SASL_SSL", env["KAFKA_USERNAME"], SecretStr(env["KAFKA_PASSWORD"]), Path(env["KAFKA_CA_FILE"]))


async def main(url: str, bootstrap: str, log: str, token: str, topic: str = TOPIC, group: str = "counting") -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncpg.create_pool(url) as pool, open_log(log, TokenFile(Path(token))) as event_log:
        if not await pool.fetchval("SELECT to_regclass('subscription')"):
            await pool.execute(f"{TABLES}; {COUNTED}")
        subscription = Subscription(
            pool, event_log, count, bootstrap=bootstrap, security=security(os.environ), topic=topic, group=group
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervise("subscription", subscription.run, stop))
            while not await set_within(stop, 2.0):
                with suppress(*OUTAGE):
                    for row in await pool.fetch(PROOF):
                        print(
                            row["tenant"],
                            row["position"],
                            "each event once" if row["complete"] else "WRONG",
                            flush=True,
                        )


asyncio.run(main(*sys.argv[1:]))
