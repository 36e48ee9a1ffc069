"""Postgres and Kafka are killed, the topic is deleted and bereft of records, while commands are given."""

from typing import LiteralString

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from support.ordeal import ROUNDS, ordeal
from support.system import PARTITIONS, PARTS, RELAY, System
from support.waiting import until
from vinculum_shared.kafka import ensure_topic
from vinculum_shared.settings import TOPIC

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_a_crash_of_postgres_loses_nothing_that_was_acknowledged(system: System, round_: int) -> None:
    async with ordeal(system, f"postgres:{round_}", extra_copies=2) as workload:
        for _ in range(2):
            await system.crash_postgres()
            await workload.more(30)


async def test_commands_go_on_without_kafka_and_are_published_when_it_is_back(system: System) -> None:
    async with ordeal(system, "kafka") as workload:
        await system.kill(system.kafka.program.name)
        await workload.more(100)
        await system.start_kafka()


async def test_when_everything_is_killed_at_once_everything_goes_on(system: System) -> None:
    async with ordeal(system, "everything", expecting=("unclear",), extra_copies=1):
        await system.kill(*PARTS, system.postgres.program.name, system.kafka.program.name)
        await system.heal()


async def test_what_was_never_sent_is_read_from_the_log(system: System) -> None:
    """The relay's position is moved past events, the last of them in the middle of a commit."""
    never_sent: dict[str, range] = {}
    async with ordeal(system, "gap", expecting=("not on the topic",), never_sent=never_sent) as workload:
        await system.stop(RELAY)
        await workload.more(60)
        async with system.sql("command") as db:
            for tenant, since, till in await db.fetch(SKIP, workload.tenants):
                never_sent[tenant] = range(since + 1, till + 1)
        await system.start(RELAY)


SKIP: LiteralString = """
    UPDATE relayed SET position = skipped.till
    FROM (
        SELECT tenant, sent.position AS since, max(events.position) AS till
        FROM relayed AS sent JOIN events USING (tenant)
        WHERE events.position > sent.position
            AND (attributes->>'commitindex')::int < (attributes->>'commitsize')::int
        GROUP BY tenant, sent.position
    ) AS skipped
    WHERE relayed.tenant = skipped.tenant AND relayed.tenant = ANY($1)
    RETURNING relayed.tenant, since, till"""


async def test_a_topic_that_is_deleted_and_made_anew_is_no_loss(system: System) -> None:
    async with ordeal(system, "topic", expecting=("not on the topic",), topic_made_anew=True) as workload:
        admin = AIOKafkaAdminClient(bootstrap_servers=system.kafka.bootstrap)
        await admin.start()
        await admin.delete_topics([TOPIC])

        async def gone() -> bool:
            return TOPIC not in await admin.list_topics()

        await until(gone)
        await admin.close()
        await workload.more(30)
        await ensure_topic(system.kafka.bootstrap, TOPIC, partitions=PARTITIONS, replicas=1)
        await workload.more(30)
