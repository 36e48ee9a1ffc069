"""What the demo tenants have to show: the samples, with people at example.com who enter a portal and get mail.

What is done is noted with the hash of its file and how far the tenant's log had got. So a second start adds nothing,
and one on other databases does it again.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson

from vinculum_devstack.folder import read_json, write_json
from vinculum_devstack.importing import Batch, carry_out
from vinculum_devstack.problems import StackError
from vinculum_devstack.progress import Progress, Say
from vinculum_devstack.tables import Table
from vinculum_devstack.tokens import mint

SAMPLES: Final = Path(__file__).parents[3] / "samples"
INVITATION: Final = re.compile(r"#token=(\S+)")
MAIL_SECONDS: Final = 60.0
MAIL_LOOK_SECONDS: Final = 0.1
TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Sample:
    tenant: str
    file: str
    delimiter: str = ","
    header: str | None = None

    @property
    def path(self) -> Path:
        return SAMPLES / self.file


COMMANDS: Final = (Sample("taxdome", "people/taxdome.ndjson"), Sample("perfex", "people/perfex.ndjson"))
TABLES: Final = (
    Sample("perfex", "northwind/customers.csv"),
    Sample("dynamics", "northwind/customers.csv"),
    Sample("zoho", "northwind/customers.csv"),
    Sample("teamleader", "fec/cm.txt", delimiter="|", header="fec/cm_header_file.csv"),
)


async def show(data: Path, command_url: str, progress: Progress) -> None:
    demo = Demo(data, command_url, progress)
    for sample in COMMANDS:
        await demo.once(sample, demo.send)
    for sample in TABLES:
        await demo.once(sample, demo.bring_in)


class Demo:
    def __init__(self, data: Path, command_url: str, progress: Progress) -> None:
        self.data = data
        self.command_url = command_url
        self.progress = progress
        self.notes = data / "samples.json"

    async def once(self, sample: Sample, work: Callable[[Sample, Say], Awaitable[None]]) -> None:
        """Do it unless it is done: the same file, and the log not shorter than it was then."""
        done: dict[str, Any] = read_json(self.notes) or {}
        name, digest = f"{sample.file} into {sample.tenant}", hashlib.sha256(sample.path.read_bytes()).hexdigest()
        noted = done.get(name)
        if noted and noted["sha256"] == digest and noted["position"] <= await self._position(sample.tenant):
            return
        with self.progress.step(name) as say:
            await work(sample, say)
        done[name] = {"sha256": digest, "position": await self._position(sample.tenant)}
        write_json(self.notes, done)

    async def bring_in(self, sample: Sample, say: Say) -> None:
        header = SAMPLES / sample.header if sample.header else None
        table = Table(sample.path, delimiter=sample.delimiter, header=header)
        total = Batch()
        async for batch in carry_out(table, self.command_url, self.data, sample.tenant):
            total.add(batch)
            say(f"{total.rows:,} rows")

    async def send(self, sample: Sample, _: Say) -> None:
        """Send a file of commands; the first one who is invited accepts."""
        async with self._http(sample.tenant) as http:
            answer = await http.post("/v1/commands/batch", content=sample.path.read_bytes())
            answers = [orjson.loads(line) for line in answer.raise_for_status().content.splitlines()]
            for each in answers:
                if each["status"] >= HTTPStatus.BAD_REQUEST and each["code"] != "id_taken":  # is there from before
                    raise StackError(f"{sample.file} is refused: {each['code']}: {each['detail']}")
            events = [event for each in answers for event in each.get("events", ())]
            invited = next((event["id"] for event in events if event["type"] == "PortalAccessChanged"), None)
            if invited:
                accepted = await http.post("/v1/invitations/accept", json={"token": await self._invitation(invited)})
                if accepted.status_code != HTTPStatus.GONE:  # it was used in a start that was broken off after that
                    accepted.raise_for_status()

    async def _invitation(self, event_id: str) -> str:
        """Return the secret in the mail about that event, once it has come."""
        try:
            async with asyncio.timeout(MAIL_SECONDS):
                while (mail := _mail_about(self.data / "mail", event_id)) is None:  # noqa: ASYNC110  a file of others
                    await asyncio.sleep(MAIL_LOOK_SECONDS)
        except TimeoutError:
            raise StackError(
                f"The mail of an invitation has not come in {MAIL_SECONDS:.0f} s. The notifier's log is "
                f"{self.data / 'logs' / 'notifier.log'}."
            ) from None
        body = mail.get_body(("plain",))
        found = INVITATION.search(body.get_content()) if body else None
        if found is None:
            raise StackError(f"There is no invitation in the mail about the event {event_id}.")
        return found[1]

    async def _position(self, tenant: str) -> int:
        async with self._http(tenant) as http:
            answer = await http.get("/v1/log/positions")
        return int(answer.raise_for_status().json()["positions"][tenant])

    def _http(self, tenant: str) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {mint(self.data, tenant=tenant)}"}
        return httpx2.AsyncClient(base_url=self.command_url, headers=headers, timeout=TIMEOUT_SECONDS)


def _mail_about(maildir: Path, event_id: str) -> EmailMessage | None:
    for file in (maildir / "new").iterdir():
        mail = BytesParser(EmailMessage, policy=default).parsebytes(file.read_bytes())
        if mail["X-Vinculum-Event"] == event_id:
            return mail
    return None
