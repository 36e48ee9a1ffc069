"""A Postgres and a Kafka of the benchmarks' own, durable, in a folder that is thrown away at the end."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg
from pydantic import SecretStr

from vinculum_command.settings import Settings as CommandSettings
from vinculum_devstack import ports
from vinculum_devstack.folder import prepare
from vinculum_devstack.kafka import Kafka
from vinculum_devstack.keys import jwks, keys, make_keys
from vinculum_devstack.ports import HOST
from vinculum_devstack.postgres import Postgres
from vinculum_devstack.processes import Processes
from vinculum_devstack.tokens import mint
from vinculum_projection import database
from vinculum_projection.settings import Settings as ProjectionSettings
from vinculum_shared import kafka
from vinculum_shared.migrate import migrate
from vinculum_shared.postgres import Connection

PARTITIONS: Final = 12
NOWHERE: Final = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Servers:
    folder: Path
    postgres: Postgres
    kafka: Kafka
    processes: Processes

    def database_url(self, service: str, name: str) -> SecretStr:
        password = keys(self.folder)["database_passwords"][service]
        return SecretStr(f"postgresql://vinculum_{service}:{password}@{HOST}:{self.postgres.port}/{name}")

    def token(self, tenant: str) -> str:
        return mint(self.folder, kind="service", tenant=tenant, scopes=("commands", "queries", "personal"))

    @asynccontextmanager
    async def admin(self, name: str = "postgres") -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(self.postgres.url, database=name)
        try:
            yield connection
        finally:
            await connection.close()

    async def command(self, name: str) -> CommandSettings:
        """Make a database for the command service."""
        settings = CommandSettings(
            database_url=self.database_url("command", name),
            kafka_bootstrap=self.kafka.bootstrap,
            jwks=str(jwks(self.folder)),
            port=ports.free(),
            address_key=SecretStr("addresses"),
            invitation_key=SecretStr("invitations"),
        )
        await migrate(SecretStr(self.postgres.url), settings.database_url, "vinculum_command")
        return settings

    async def projection(self, name: str) -> ProjectionSettings:
        """Make a database for the projection service, and a topic."""
        settings = ProjectionSettings(
            database_url=self.database_url("projection", name),
            admin_url=SecretStr(self.postgres.url),
            kafka_bootstrap=self.kafka.bootstrap,
            topic=await self.topic(),
            jwks=str(jwks(self.folder)),
            command_url=NOWHERE,
            service_token_file=self.folder / "none",
            cursor_key=SecretStr("cursors"),
        )
        await database.create(settings)
        return settings

    async def topic(self) -> str:
        name = f"benchmark-{uuid4().hex}"
        await kafka.ensure_topic(self.kafka.bootstrap, name, partitions=PARTITIONS, replicas=1)
        return name


@asynccontextmanager
async def running() -> AsyncIterator[Servers]:
    folder = Path(tempfile.mkdtemp(prefix="vinculum-benchmarks-"))
    processes = Processes(folder)
    try:
        prepare(folder)
        make_keys(folder)
        numbers = ports.settled(folder)
        postgres = Postgres(folder / "postgres", numbers["postgres"], keys(folder)["postgres_password"])
        broker = Kafka(folder / "kafka", numbers["kafka"], numbers["kafka_controller"])
        for server in (postgres, broker):
            await processes.bring_up(server.part)
        yield Servers(folder, postgres, broker, processes)
    finally:
        await processes.stop(*processes.names())
        shutil.rmtree(folder)
