"""The whole system for acceptance tests, started as its users start it, once for all of a session's processes.

To test one that runs already, set VINCULUM_TEST_STACK to its data folder.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2

from support.tenant import Tenant
from vinculum_devstack import ports
from vinculum_devstack.folder import only_one
from vinculum_devstack.tokens import mint

RUNNING: Final = "VINCULUM_TEST_STACK"
HTTP_SECONDS: Final = 40.0  # longer than the longest wait for the log


class Mailbox:
    """What the mail sink took; each file is read once."""

    def __init__(self, maildir: Path) -> None:
        self._maildir = maildir
        self._read: dict[str, EmailMessage] = {}

    def to(self, address: str, topic: str | None = None) -> list[EmailMessage]:
        """Mails that were delivered to the address, oldest first."""
        new = [file for file in (self._maildir / "new").iterdir() if file.name not in self._read]
        for file in sorted(new, key=lambda file: file.stat().st_mtime_ns):
            self._read[file.name] = BytesParser(EmailMessage, policy=default).parsebytes(file.read_bytes())
        return [
            mail
            for mail in self._read.values()
            if address in mail.get_all("Delivered-To", ()) and topic in {None, mail["X-Vinculum-Topic"]}
        ]


@dataclass
class Stack:
    """Where the system runs, and how it is asked."""

    command: str
    projection: str
    notifier: str
    kafka: str
    topic: str
    maildir: Path
    metrics: Mapping[str, str]
    data: Path
    http: httpx2.AsyncClient
    mailbox: Mailbox = field(init=False)

    def __post_init__(self) -> None:
        self.mailbox = Mailbox(self.maildir)

    @property
    def services(self) -> dict[str, str]:
        return {"command": self.command, "projection": self.projection, "notifier": self.notifier}

    def token(self, **fields: Any) -> str:
        return mint(self.data, **fields)

    async def tenant(self, profile: str, *, tenant: str | None = None, **fields: Any) -> Tenant:
        """Register a tenant, to be asked as its first admin."""
        tenant, admin_id = tenant or f"t-{uuid4().hex[:12]}", str(uuid4())
        body = {
            "tenant": tenant,
            "name": "Northwind Partners",
            "profile": profile,
            "portal_url": f"https://portal.example.com/{tenant}",
            "admin": {"id": admin_id, "name": "Grace Admin", "email": f"admin@{tenant}.example.com"},
            **fields,
        }
        registered = Tenant(self, tenant, self.token(tenant=tenant, sub=admin_id))
        await registered.done("POST", "/tenants", body, token=self.token(kind="platform"))
        return registered


def running_stack(session: Path, http: httpx2.AsyncClient) -> Stack:
    data = Path(os.environ[RUNNING]) if RUNNING in os.environ else own(session)
    status = json.loads(vinculum("status", "--json", data=data))
    if status.pop("state") != "running":
        raise RuntimeError(f"The stack in {data} does not run.")
    return Stack(**status | {"maildir": Path(status["maildir"]), "data": data}, http=http)


def own(session: Path) -> Path:
    """A stack of this session; whoever comes first starts it. It is stopped where the session's folder is removed."""
    data = session / "stack"
    with only_one(session / "stack.lock"):
        if not (data / "stack.json").exists():
            chosen: dict[str, int] = {}
            for name in ports.FIXED:
                chosen[name] = ports.free(but=chosen.values())
            given = {ports.variable(name): str(port) for name, port in chosen.items()}
            vinculum("up", "--detach", data=data, environment=given)
    return data


def vinculum(*arguments: str, data: Path, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603  our own
        [sys.executable, "-m", "vinculum_devstack", *arguments],
        env={**os.environ, "VINCULUM_DATA": str(data), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout
