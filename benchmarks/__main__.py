"""make bench: every measure, or those that are named."""

import argparse
import asyncio
import importlib
import logging
from collections.abc import Sequence
from typing import Final

import structlog
import uvloop
from rich.console import Console

import report
import servers
from measuring import FULL, QUICK, Size
from vinculum_devstack.kafka_jars import jars
from vinculum_shared.lifecycle import collect_rarely

MEASURES: Final = ("commands", "over_http", "relaying", "projecting", "latency", "related", "fairness")


async def run(names: Sequence[str], size: Size, *, publish: bool) -> None:
    console = Console(width=130)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    results = []
    async with servers.running() as running:
        async with running.admin() as admin:
            postgres = await admin.fetchval("SHOW server_version")
        kafka = next(jar.path.stem.rpartition("-")[2] for jar in jars() if jar.path.name.startswith("kafka_2.13-"))
        facts = report.machine(running.folder, postgres, kafka)
        for name in names:
            results.append(await importlib.import_module(name).measure(running, size))
            report.show(results[-1], console)
    if size is FULL:
        saved = report.save(results, facts)
        console.print(f"Saved as benchmarks/results/{saved.name}.")
        if publish:
            report.publish(results, facts, saved)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="*", default=MEASURES, help=f"of {', '.join(MEASURES)}; without any, all")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it runs; nothing is saved")
    parser.add_argument("--publish", action="store_true", help="put the figures into the README")
    arguments = parser.parse_args()
    if unknown := set(arguments.measures) - set(MEASURES):
        parser.error(f"There is no {', '.join(unknown)}.")
    size = QUICK if arguments.quick else FULL
    collect_rarely()  # as the services do
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(arguments.measures, size, publish=arguments.publish))


if __name__ == "__main__":
    main()
