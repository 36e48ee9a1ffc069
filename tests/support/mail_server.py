"""A real SMTP server in the test's own process, which answers as a test tells it to and keeps what it took."""

import asyncio
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import SecretStr

CUT: Final = "cut"
"""Instead of an answer: take the mail, and cut the connection off before saying so."""
TAKEN: Final = "250 2.0.0 OK"


@dataclass
class MailServer:
    url: SecretStr
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    """Recipient and mail, as often as it was accepted."""
    to_sender: list[str] = field(default_factory=list)
    """The answers to MAIL, one after the other; then any sender is accepted."""
    to_recipient: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By address, the answers to RCPT, one after the other; then the address is accepted."""
    to_data: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The same, to the end of DATA."""
    answers_noop: bool = True
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, it keeps the mails that have come in waiting for their answer."""
    waiting: int = 0
    connections: int = 0
    open: int = 0
    """Those of the connections that the client has not closed."""
    wire: bytearray = field(default_factory=bytearray)
    """All bytes that came in."""

    def mails(self, address: str) -> list[EmailMessage]:
        return [message_from_bytes(mail, policy=default) for to, mail in self.taken if to == address]

    async def handle_NOOP(self, _server: SMTP, _session: Session, _envelope: Envelope, _: str) -> str:  # noqa: N802
        if not self.answers_noop:
            await asyncio.Event().wait()
        return TAKEN

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.to_sender:
            return self.to_sender.pop(0)
        envelope.mail_from = address
        return TAKEN

    async def handle_RCPT(  # noqa: N802  the name is aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.to_recipient[address]:
            return self.to_recipient[address].pop(0)
        envelope.rcpt_tos.append(address)
        return TAKEN

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        (address,) = envelope.rcpt_tos
        self.waiting += 1
        await self.answering.wait()
        self.waiting -= 1
        answer = self.to_data[address].pop(0) if self.to_data[address] else TAKEN
        if answer in (TAKEN, CUT):
            assert envelope.original_content is not None
            self.taken.append((address, envelope.original_content))
        if answer == CUT:
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]
        return answer


class Recording(SMTP):
    def __init__(self, mail_server: MailServer, **options: Any) -> None:
        super().__init__(mail_server, **options)
        self.mail_server = mail_server
        mail_server.connections += 1
        mail_server.open += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.mail_server.open -= 1
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self.mail_server.wire += data
        super().data_received(data)


@asynccontextmanager
async def mail_server(*, smtputf8: bool = True) -> AsyncIterator[MailServer]:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    served = MailServer(SecretStr(f"smtp://127.0.0.1:{listener.getsockname()[1]}"))
    served.answering.set()
    async with await loop.create_server(lambda: Recording(served, enable_SMTPUTF8=smtputf8, loop=loop), sock=listener):
        yield served
