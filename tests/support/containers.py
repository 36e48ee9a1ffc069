"""Postgres and Kafka in containers, from the images that docker-compose.yml names."""

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

# Read where testcontainers is imported. Our servers are always on this machine, which may look like a container itself.
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
# The session stops its own containers; the reaper is one more image that has to be had.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from vinculum_devstack.postgres import THROW_AWAY

POSTGRES_IMAGE: Final = "postgres:16"
KAFKA_IMAGE: Final = "apache/kafka:4.4.0"
START_SECONDS: Final = 60


@contextmanager
def postgres() -> Iterator[str]:
    """A server on which nothing has to last, as the sessions' own is."""
    throw_away = " ".join(f"-c {name}={value}" for name, value in THROW_AWAY.items())
    command = f"postgres -c max_connections=200 {throw_away}"
    container = PostgresContainer(POSTGRES_IMAGE, driver=None).with_command(command)
    with container:
        yield container.get_connection_url()


@contextmanager
def kafka() -> Iterator[str]:
    with ApacheKafka(KAFKA_IMAGE) as container:
        yield container.bootstrap


class ApacheKafka(DockerContainer):
    """The port that it advertises is known only once it runs, so it waits for a script that is written then."""

    PORT: Final = 9092
    SCRIPT: Final = "/tmp/start.sh"  # noqa: S108  in the container

    def __init__(self, image: str) -> None:
        super().__init__(image)
        self.with_exposed_ports(self.PORT)
        self.with_envs(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS="PLAINTEXT://:9092,BROKER://:9094,CONTROLLER://:9093",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_INTER_BROKER_LISTENER_NAME="BROKER",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
        )
        self.with_command(["sh", "-c", f"while [ ! -f {self.SCRIPT} ]; do sleep 0.1; done; exec bash {self.SCRIPT}"])

    @property
    def bootstrap(self) -> str:
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(self.PORT)}"

    def start(self) -> Self:
        super().start()
        script = (
            f"export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://{self.bootstrap},BROKER://localhost:9094\n"
            "exec /etc/kafka/docker/run\n"
        ).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            file = tarfile.TarInfo(self.SCRIPT.rpartition("/")[2])
            file.size = len(script)
            tar.addfile(file, io.BytesIO(script))
        self.get_wrapped_container().put_archive("/tmp", archive.getvalue())  # noqa: S108  in the container
        LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_SECONDS).wait_until_ready(self)
        return self
