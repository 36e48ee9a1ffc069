"""An SMTP server that delivers to nobody: each mail becomes a file of a Maildir.

What an address begins with decides the answer to it, so that faults can be rehearsed:
`bounce-550…@` is refused with 550 each time, `defer-451-3…@` with 451 the first three times, then taken.
"""

import asyncio
import mailbox
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer
from aiosmtpd.smtp import SMTP, Envelope, Session

SCRIPTED: Final = re.compile(r"(?:bounce-(?P<bounce>5\d\d)|defer-(?P<defer>4\d\d)-(?P<times>\d+))(?!\d)")


class MailSink:
    def __init__(self, maildir: Path) -> None:
        for part in ("cur", "new", "tmp"):
            (maildir / part).mkdir(parents=True, exist_ok=True)
        self.maildir = mailbox.Maildir(maildir)
        self.tries: Counter[str] = Counter()

    async def handle_RCPT(  # noqa: N802  the name is aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        scripted = SCRIPTED.match(address)
        if scripted and scripted["bounce"]:
            return f"{scripted['bounce']} 5.1.1 no such mailbox"
        if scripted and self.tries[address] < int(scripted["times"]):
            self.tries[address] += 1
            return f"{scripted['defer']} 4.2.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        trace = "".join(f"Delivered-To: {address}\r\n" for address in envelope.rcpt_tos)
        self.maildir.add(
            f"Return-Path: <{envelope.mail_from}>\r\n{trace}".encode() + (envelope.original_content or b"")
        )
        return "250 OK"


async def serve(host: str, port: int, maildir: Path) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for received in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(received, stopped.set)
    sink = MailSink(maildir)
    server = await loop.create_server(lambda: SMTP(sink, enable_SMTPUTF8=True, loop=loop), host, port)
    async with server:
        await stopped.wait()


def main(
    maildir: Annotated[Path, typer.Argument()],
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 2525,
) -> None:
    asyncio.run(serve(host, port, maildir))


if __name__ == "__main__":
    typer.run(main)
