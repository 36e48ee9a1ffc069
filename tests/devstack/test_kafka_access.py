"""A Kafka with TLS, SCRAM and ACLs: the relay writes the topic, readers read it, and nobody does more."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)
from pydantic import SecretStr, ValidationError

from support import reading
from support.commands import event_store
from support.databases import as_admin
from support.log_server import LogServer
from support.secured_kafka import SecuredKafka
from support.waiting import until
from vinculum_command.relay import relay
from vinculum_command.settings import Settings
from vinculum_devstack import ports
from vinculum_devstack.certificates import make_certificate
from vinculum_devstack.folder import prepare
from vinculum_devstack.kafka_access import READERS, RELAY, grant
from vinculum_devstack.processes import Processes
from vinculum_shared import kafka
from vinculum_shared.contracts.links import ContactLinked
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.kafka import Security
from vinculum_shared.settings import TOPIC

pytestmark = pytest.mark.integration

READER, SUBSCRIBER = READERS[0], READERS[-1]
SAMPLE: Final = Path(__file__).parents[2] / "samples" / "subscriber.py"
PARTITIONS: Final = 2


@pytest.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecuredKafka]:
    folder = tmp_path_factory.mktemp("secured")
    prepare(folder)
    processes = Processes(folder)
    broker = SecuredKafka(folder / "broker", ports.free(), ports.free(), ports.free())
    for user in (RELAY, *READERS):
        broker.security(user)
    try:
        await processes.bring_up(broker.part)
        await asyncio.to_thread(grant, broker.bootstrap, TOPIC, broker.passwords)
        yield broker
    finally:
        await processes.stop("kafka")


@pytest.fixture
async def topic(broker: SecuredKafka) -> str:
    """The topic, made by the relay's user."""
    security = broker.security(RELAY)
    await kafka.ensure_topic(broker.clients, TOPIC, partitions=PARTITIONS, replicas=1, security=security)
    return TOPIC


async def send(broker: SecuredKafka, security: Security) -> None:
    """Send as somebody would who forges a record."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.clients, **security.options())
    try:
        await producer.start()
        await producer.send_and_wait(TOPIC, b"forged", key=b"acme")
    finally:
        await producer.stop()


async def test_the_relay_publishes_over_tls_as_its_own_user(broker: SecuredKafka, postgres: str) -> None:
    security, stop = broker.security(RELAY), asyncio.Event()
    async with event_store(postgres) as store:
        await store.register("acme", "dynamics")
        settings = Settings(
            database_url=store.url,
            kafka_bootstrap=broker.clients,
            kafka_security_protocol=security.protocol,
            kafka_username=security.username,
            kafka_password=security.password,
            kafka_ca_file=security.ca_file,
            topic_partitions=PARTITIONS,
            jwks="",
            address_key=SecretStr("a"),
            invitation_key=SecretStr("i"),
            unsafe_durability=True,
        )
        relaying = asyncio.create_task(relay(settings, stop))

        async def published() -> bool:
            return await positions(postgres, store.url) == {"acme": 3}

        await until(published)
        stop.set()
        await relaying


async def positions(postgres: str, url: SecretStr) -> dict[str, int]:
    async with as_admin(postgres, url) as admin:
        return {row["tenant"]: row["position"] for row in await admin.fetch("SELECT tenant, position FROM relayed")}


async def test_a_reader_reads_in_a_group_of_its_own_name(
    broker: SecuredKafka, topic: str, postgres: str, log: LogServer, tmp_path: Path
) -> None:
    own = log.log("acme")
    async with reading.new_database(postgres) as url:
        connection = await asyncpg.connect(url.get_secret_value())
        await connection.execute(reading.TABLES)
        await connection.close()
        opened = reading.opened(url, broker.clients, topic, log.url, tmp_path, READER, broker.security(READER))
        async with opened as reader, reading.running(reader):
            await until(reader.has_joined)
            own.commit(ContactLinked(account_id=AccountId(uuid4()), contact_id=ContactId(uuid4())))
            await reading.publish(broker.clients, topic, "acme", own.lines, broker.security(RELAY))
            await reader.reached("acme", 1)


async def test_the_sample_subscriber_reads_with_its_credentials(
    broker: SecuredKafka, topic: str, postgres: str, log: LogServer, tmp_path: Path
) -> None:
    own, security = log.log("acme"), broker.security(SUBSCRIBER)
    (tmp_path / "token").write_text("token")
    credentials = {"KAFKA_USERNAME": SUBSCRIBER, "KAFKA_PASSWORD": broker.passwords[SUBSCRIBER]}
    environment = {**os.environ, **credentials, "KAFKA_CA_FILE": str(security.ca_file)}
    async with reading.new_database(postgres) as url:
        arguments = [url.get_secret_value(), broker.clients, log.url, str(tmp_path / "token"), topic, SUBSCRIBER]
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SAMPLE), *arguments, env=environment, stdout=PIPE
        )
        assert process.stdout
        database = await asyncpg.connect(url.get_secret_value())

        async def joined() -> bool:
            there = await database.fetchval("SELECT to_regclass('subscription_offset')")
            return bool(there and await database.fetchval("SELECT EXISTS (SELECT FROM subscription_offset)"))

        await until(joined)
        await database.close()
        own.commit(ContactLinked(account_id=AccountId(uuid4()), contact_id=ContactId(uuid4())))
        await reading.publish(broker.clients, topic, "acme", own.lines, broker.security(RELAY))
        async for line in process.stdout:  # beside what it logs
            if line == b"acme 1 each event once\n":
                break
        else:
            pytest.fail("it ended without having counted the event")
        process.terminate()
        await process.wait()


async def test_a_reader_may_not_write_the_topic_nor_join_another_s_group(broker: SecuredKafka, topic: str) -> None:
    security = broker.security(READER)
    with pytest.raises(TopicAuthorizationFailedError):
        await send(broker, security)
    consumer = kafka.consumer(broker.clients, "test", group=READERS[1], security=security)
    consumer.subscribe([topic])
    try:
        with pytest.raises(GroupAuthorizationFailedError):
            await consumer.start()
    finally:
        await consumer.stop()


async def test_nobody_gets_in_with_a_wrong_password_without_one_or_without_tls(
    broker: SecuredKafka, topic: str
) -> None:
    right = broker.security(RELAY)
    wrong = replace(right, password=SecretStr("wrong"))
    for security in (wrong, replace(right, protocol="SSL"), replace(right, protocol="SASL_PLAINTEXT"), kafka.OPEN):
        with pytest.raises(KafkaConnectionError):
            await send(broker, security)


async def test_a_broker_whose_certificate_is_not_from_the_named_authority_is_refused(
    broker: SecuredKafka, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(make_certificate()[0])
    with pytest.raises(KafkaConnectionError):
        await send(broker, replace(broker.security(RELAY), ca_file=tmp_path / "ca.pem"))


def test_sasl_without_credentials_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="SASL needs a username and a password"):
        Settings.model_validate({"kafka_security_protocol": "SASL_SSL", "kafka_username": "vinculum-command"})
