"""The whole system, each part a process of its own, for one test module to kill, pause and cut.

Nothing of it is shared with other tests: its Postgres and its Kafka may be killed too. What would only come with time
after a kill -9 (the end of a group member's session, of a deliverer's or a relay's lease) is brought about by hand.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import httpx2
import psutil
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.group import LeaveGroupRequest
from pydantic import SecretStr

from support.servers import FOLDER
from support.waiting import until
from vinculum_command import settings as command
from vinculum_devstack import ports
from vinculum_devstack.folder import prepare
from vinculum_devstack.kafka import Kafka
from vinculum_devstack.keys import keys, make_keys
from vinculum_devstack.postgres import Postgres, end_orphans
from vinculum_devstack.processes import Part, Processes, Program
from vinculum_devstack.service_tokens import write_service_tokens
from vinculum_devstack.services import Services, is_ready
from vinculum_devstack.stack import side_by_side
from vinculum_devstack.tokens import mint
from vinculum_notifier import settings as notifier
from vinculum_notifier.ledger import LEASE
from vinculum_projection import database
from vinculum_projection import settings as projection
from vinculum_shared.migrate import migrate
from vinculum_shared.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)
Y = TypeVar("Y", bound="System")

SERVE: Final = "command-serve"
RELAY: Final = "command-relay"
QUERIES: Final = "projection-serve"
PROJECT: Final = "projection-consume"
ROUTE: Final = "notifier-consume"
DELIVER: Final = "notifier-deliver"
PARTS: Final = (SERVE, RELAY, QUERIES, PROJECT, ROUTE, DELIVER)
GROUPS: Final = {PROJECT: "vinculum-projection", ROUTE: "vinculum-notifier"}
SECOND: Final = "-2"
"""Ends the name of a second process of a part."""

PARTITIONS: Final = 2  # fewer than tenants: they share them
DRAIN_SECONDS: Final = 180.0
DEATH_SECONDS: Final = 120.0


class System:
    def __init__(self, data: Path) -> None:
        prepare(data)
        make_keys(data)
        self.data = data
        self.processes = Processes(data)
        self.ports = own_ports()
        self.postgres = Postgres(data / "postgres", self.ports["postgres"], keys(data)["postgres_password"])
        self.kafka = Kafka(data / "kafka", self.ports["kafka"], self.ports["kafka_controller"])
        self.services = Services(data, self.ports, self.postgres.url, self.kafka.bootstrap)
        self.maildir = data / "mail"
        self.metrics_ports: dict[str, int] = {}
        self._died_at: dict[str, datetime] = {}

    async def up(self) -> None:
        servers = (self.postgres.part, self.kafka.part, self._mail_sink())
        await side_by_side(*(self.processes.bring_up(part) for part in servers))
        write_service_tokens(self.data)
        await self._migrate()
        await self.heal()

    async def _migrate(self) -> None:
        """Here and not in processes of their own, which take longer to start than to do it."""
        admin = SecretStr(self.postgres.url)
        for settings in (command.Settings, notifier.Settings):
            await migrate(admin, self.settings(settings).database_url, settings.__module__.partition(".")[0])
        await database.create(self.settings(projection.Settings).model_copy(update={"admin_url": admin}))

    async def heal(self) -> None:
        """Have every server and part run, and nothing else."""
        extra = [name for name in self.processes.names() if name.endswith(SECOND) and self.running(name)]
        await self.kill(*extra)
        for name in self.processes.names():
            if process := self.running(name):
                process.resume()
        for part in (self.postgres.part, self.kafka.part, self._mail_sink()):
            if not self.running(part.program.name):
                await self.processes.bring_up(part)
        await self.start(*(part for part in PARTS if not self.running(part)))

    async def down(self) -> None:
        for name in self.processes.names():
            if process := self.running(name):
                process.kill()
        await until(self._nothing_runs, DEATH_SECONDS)
        await asyncio.to_thread(end_orphans, self.data / "postgres")
        shutil.rmtree(self.data)

    async def _nothing_runs(self) -> bool:
        return not any(map(self.running, self.processes.names()))

    # Processes

    def running(self, part: str) -> psutil.Process | None:
        return self.processes.running(part)

    async def start(self, *parts: str) -> None:
        """Start parts, and a command service before what asks it."""
        for part in parts:
            await self._let_go(part)
        ahead = [part for part in parts if part == SERVE]
        for chosen in (ahead, [part for part in parts if part != SERVE]):
            await side_by_side(*(self.processes.bring_up(self._part(part)) for part in chosen))

    async def stop(self, part: str) -> None:
        """Ask it to end, which it does once it has ended what it began."""
        await self.processes.stop(part)

    async def kill(self, *parts: str) -> None:
        """Kill -9."""
        for part in parts:
            if process := self.running(part):
                process.kill()
        await self.died(*parts)

    async def died(self, *parts: str) -> None:
        """Wait for the death of parts."""

        async def dead() -> bool:
            return not any(map(self.running, parts))

        await until(dead, DEATH_SECONDS)
        self._died_at |= dict.fromkeys(parts, datetime.now(UTC))

    async def die_at(self, part: str, failpoints: str) -> None:
        """Start a part that kills itself at a failpoint, and wait for that."""
        await self._let_go(part)
        self.processes.start(self._part(part, failpoints).program)
        await self.died(part)

    async def stop_at(self, part: str, failpoints: str) -> None:
        """Start a part that pauses at a failpoint, and wait for that."""
        await self._let_go(part)
        self.processes.start(self._part(part, failpoints).program)

        async def stopped() -> bool:
            process = self.running(part)
            return process is not None and process.status() == psutil.STATUS_STOPPED

        await until(stopped, DEATH_SECONDS)

    def go_on(self, part: str) -> None:
        process = self.running(part)
        assert process
        process.resume()

    async def crash_postgres(self) -> None:
        """Kill -9 its postmaster, whose backends then end, and start it again."""
        at = datetime.now(UTC)
        await self.kill(self.postgres.program.name)
        await self.processes.bring_up(self.postgres.part)
        await self.end_leases(at)

    async def start_kafka(self) -> None:
        await self.processes.bring_up(self.kafka.part)

    def _part(self, name: str, failpoints: str = "") -> Part:
        service, command = name.removesuffix(SECOND).split("-")
        metrics = self.metrics_ports[name] = ports.free(but=self.ports.values())
        program = Program(
            name,
            [sys.executable, "-m", f"vinculum_{service}", command],
            {
                **self.services.program(service).env,
                f"VINCULUM_{service.upper()}_METRICS_PORT": str(metrics),
                "VINCULUM_COMMAND_TOPIC_PARTITIONS": str(PARTITIONS),
                "VINCULUM_FAILPOINTS": failpoints,
            },
        )
        if command == "serve":
            return Part(program, lambda: is_ready(self.services.url(service)))
        return Part(program, lambda: ports.answers(metrics))

    def _mail_sink(self) -> Part:
        port = self.ports["smtp"]
        argv = [sys.executable, "-m", "vinculum_devstack.mail_sink", str(self.maildir), "--port", str(port)]
        return Part(Program("mail-sink", argv), lambda: ports.answers(port))

    async def _let_go(self, part: str) -> None:
        """Bring about what waiting would have: nobody holds any more what the dead part held."""
        died_at = self._died_at.pop(part, None)
        if died_at and part in GROUPS:
            await self.end_memberships(GROUPS[part])
        if died_at and part == DELIVER:
            await self.end_leases(died_at)
        if died_at and part == RELAY:
            await self.end_relay_lease()

    async def end_relay_lease(self) -> None:
        async with self.sql("command") as db:
            await db.execute("DELETE FROM relay_lease")

    async def end_memberships(self, group: str) -> None:
        """Have the group's coordinator let go of its members, as at the end of their sessions."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        try:
            await admin.start()
            node = await admin.find_coordinator(group)
            (described,) = await admin.describe_consumer_groups([group], node)
            for member, *_ in described.groups[0][5]:
                await admin._send_request(LeaveGroupRequest(group, member), node)
        finally:
            await admin.close()

    async def end_leases(self, taken_before: datetime) -> None:
        """Let the mails be due again that a deliverer had claimed by then."""
        async with self.sql("notifier") as db:
            await db.execute(
                "UPDATE notification SET next_attempt_at = now() WHERE outcome = 'queued' AND next_attempt_at < $1",
                taken_before + LEASE,
            )

    async def task(self, service: str, *command: str) -> None:
        """Run one of a service's tasks to its end."""
        environment = {**os.environ, **self.services.program(service).env}
        argv = (sys.executable, "-m", f"vinculum_{service}", *command)
        process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=PIPE, stderr=STDOUT)
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()

    # Looking in

    async def all_ready(self) -> bool:
        """Whether no part of any process waits for something."""
        async with httpx2.AsyncClient(timeout=5.0) as http:
            answers = [await http.get(f"http://127.0.0.1:{self.metrics_ports[part]}/health/ready") for part in PARTS]
        return all(answer.is_success for answer in answers)

    @asynccontextmanager
    async def sql(self, service: str) -> AsyncIterator[Any]:
        """Connect to a service's database, past its roles and its row level security."""
        schema = {"search_path": database.SCHEMA} if service == "projection" else {}
        db = await asyncpg.connect(self.postgres.url, database=f"vinculum_{service}", server_settings=schema)
        try:
            await db.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
            yield db
        finally:
            await db.close()

    async def drained(self, seconds: float = DRAIN_SECONDS) -> None:
        """Wait until everything committed is relayed, applied by both readers, and mailed."""
        left: dict[str, Any] = {}
        async with self.sql("command") as log, self.sql("projection") as models, self.sql("notifier") as ledger:

            async def nothing_left() -> bool:
                ends = await positions(log, "SELECT tenant, last_position FROM tenants")
                readers = {
                    RELAY: await positions(log, "SELECT tenant, position FROM relayed"),
                    PROJECT: await positions(models, "SELECT tenant, position FROM subscription"),
                    ROUTE: await positions(ledger, "SELECT tenant, position FROM subscription"),
                }
                left[DELIVER] = await ledger.fetchval("SELECT count(*) FROM notification WHERE outcome = 'queued'")
                left.update({part: behind(ends, reached) for part, reached in readers.items()})
                return not any(left.values())

            try:
                await until(nothing_left, seconds)
            except TimeoutError:
                raise AssertionError(f"After {seconds:.0f} s there was still left: {left}") from None

    async def caught_up(self, part: str, tenants: Collection[str] = ()) -> None:
        """Wait until a reader has applied what the log of the tenants, or of all, has by now."""
        async with self.sql("command") as log:
            ends = await positions(log, "SELECT tenant, last_position FROM tenants")
        if tenants:
            ends = {tenant: ends[tenant] for tenant in tenants}
        async with self.sql(part.partition("-")[0]) as db:

            async def applied() -> bool:
                reached = await positions(db, "SELECT tenant, position FROM subscription")
                return all(reached.get(tenant, 0) >= end for tenant, end in ends.items())

            await until(applied, DRAIN_SECONDS)

    async def held(self, part: str, tenant: str) -> None:
        """Wait until a reader holds a tenant."""
        async with self.sql(part.partition("-")[0]) as db:

            async def is_held() -> bool:
                return bool(await db.fetchval("SELECT held IS NOT NULL FROM subscription WHERE tenant = $1", tenant))

            await until(is_held, DRAIN_SECONDS)

    def settings(self, of: type[S]) -> S:
        """The settings that a service's processes have."""
        environment = self.services.program(of.service.removeprefix("vinculum-")).env
        prefix = of.model_config["env_prefix"]
        return of.model_validate({name.removeprefix(prefix).lower(): value for name, value in environment.items()})

    def bearer(self, tenant: str, staff_id: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(tenant=tenant, sub=staff_id)}"}

    def token(self, **fields: Any) -> str:
        return mint(self.data, **fields)

    def http(self, service: str = "command") -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.services.url(service), timeout=5.0)


async def positions(db: Any, statement: str) -> dict[str, int]:
    return dict(await db.fetch(statement))


def behind(ends: dict[str, int], reached: dict[str, int]) -> dict[str, int]:
    return {tenant: end - reached.get(tenant, 0) for tenant, end in ends.items() if end != reached.get(tenant)}


def own_ports() -> dict[str, int]:
    chosen: dict[str, int] = {}
    for name in (*ports.FIXED, *ports.CHOSEN):
        chosen[name] = ports.free(but=chosen.values())
    return chosen


@asynccontextmanager
async def running_system(kind: type[Y]) -> AsyncIterator[Y]:
    system = kind(Path(tempfile.mkdtemp(prefix="system-", dir=os.environ[FOLDER])))
    try:
        await system.up()
        yield system
    finally:
        await system.down()
