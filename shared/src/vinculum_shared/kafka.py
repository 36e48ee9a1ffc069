"""The topic, and how it is written and read: every option that delivery depends on is given, none left to chance."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, TopicAlreadyExistsError, for_code
from pydantic import SecretStr

from vinculum_shared.supervision import cancellation_is_requested, waiting_for
from vinculum_shared.telemetry import OperatorError

RETENTION_MS: Final = 30 * 24 * 60 * 60 * 1000
MESSAGE_BYTES_MAX: Final = 1024 * 1024  # of a compressed batch; an event is at most 256 KiB
BATCH_BYTES: Final = 512 * 1024
FETCH_BYTES_MAX: Final = 16 * 1024 * 1024
START_DEADLINE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.5
SILENT_SECONDS: Final = 5.0


SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True)
class Security:
    """How a client connects: encrypted or not, and as whom."""

    protocol: SecurityProtocol = "PLAINTEXT"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None

    def options(self) -> dict[str, Any]:
        """Return the options for any aiokafka client. TLS checks the broker's certificate and name."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
        if self.protocol.startswith("SASL") and self.password:
            options |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password.get_secret_value(),
            }
        return options


OPEN: Final = Security()
"""Of a broker that lets in everybody who reaches it."""


class InterruptedByClientError(KafkaError):  # type: ignore[misc]
    """aiokafka cancelled a task of its own that we were waiting for."""


class PartitionsDifferError(OperatorError):
    """The topic has another number of partitions than configured: keys would go to other partitions."""


@contextmanager
def own_cancellations() -> Iterator[None]:
    """Raise a KafkaError where aiokafka lets out that it has cancelled a task of its own: it would end ours, unseen."""
    try:
        yield
    except asyncio.CancelledError as error:
        if cancellation_is_requested():
            raise
        raise InterruptedByClientError from error


@asynccontextmanager
async def answering_within(seconds: float) -> AsyncIterator[None]:
    """Raise a KafkaError if the block takes longer. A part that has waited for some time says so before that."""
    silent = asyncio.get_running_loop().call_later(SILENT_SECONDS, waiting_for, "Kafka")
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise KafkaTimeoutError from error
    finally:
        silent.cancel()


async def ensure_topic(
    bootstrap: str, topic: str, *, partitions: int, replicas: int, security: Security = OPEN
) -> None:
    """Make the topic if it isn't there, waiting for a Kafka that is still starting."""
    async with answering_within(START_DEADLINE_SECONDS):
        admin = await connect_admin(bootstrap, security)
        try:
            while (found := await partition_count(admin, topic)) == 0:
                await create(admin, topic, partitions, replicas)
                await asyncio.sleep(RETRY_SECONDS / 10)
        finally:
            await admin.close()
    if found != partitions:
        raise PartitionsDifferError(f"The topic {topic} has {found} partitions and not {partitions}.")


async def connect_admin(bootstrap: str, security: Security) -> AIOKafkaAdminClient:
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="vinculum", **security.options())
        try:
            await admin.start()
        except KafkaConnectionError:
            waiting_for("Kafka")
            await admin.close()
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return admin


async def partition_count(admin: AIOKafkaAdminClient, topic: str) -> int:
    (described,) = await admin.describe_topics([topic])
    return len(described["partitions"])


async def create(admin: AIOKafkaAdminClient, topic: str, partitions: int, replicas: int) -> None:
    settings = {
        "cleanup.policy": "delete",
        "retention.ms": str(RETENTION_MS),
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
        "min.insync.replicas": str(max(1, replicas - 1)),
        "unclean.leader.election.enable": "false",
        "message.timestamp.after.max.ms": str(2**63 - 1),  # a clock that was ahead must not stop the relay
    }
    answer = await admin.create_topics([NewTopic(topic, partitions, replicas, topic_configs=settings)])
    for _, code, *_ in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)


def producer(bootstrap: str, client_id: str, security: Security = OPEN) -> AIOKafkaProducer:
    """Make an idempotent producer: within its session no retry repeats or reorders a record."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        max_batch_size=BATCH_BYTES,
        max_request_size=MESSAGE_BYTES_MAX,
        linger_ms=0,
        request_timeout_ms=20_000,
        retry_backoff_ms=100,
        metadata_max_age_ms=60_000,
        **security.options(),
    )


def consumer(bootstrap: str, client_id: str, group: str, security: Security = OPEN) -> AIOKafkaConsumer:
    """Make a member of a group, with offsets from elsewhere: without one it fails, rather than start somewhere."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id=client_id,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_uncommitted",
        check_crcs=True,
        fetch_min_bytes=1,
        fetch_max_wait_ms=500,
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=2 * MESSAGE_BYTES_MAX,
        session_timeout_ms=10_000,
        heartbeat_interval_ms=3_000,
        max_poll_interval_ms=300_000,
        request_timeout_ms=20_000,
        metadata_max_age_ms=5_000,  # a topic that is made later is found by then
        **security.options(),
    )
