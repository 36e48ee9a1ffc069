"""The mail sink: it keeps what it is sent, and refuses what it is asked to refuse."""

import mailbox
import sys
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from vinculum_devstack import ports
from vinculum_devstack.folder import prepare
from vinculum_devstack.processes import Part, Processes, Program

pytestmark = pytest.mark.integration


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[int]:
    prepare(tmp_path)
    port = ports.free()
    command = [sys.executable, "-m", "vinculum_devstack.mail_sink", str(tmp_path / "mail"), "--port", str(port)]
    processes = Processes(tmp_path)
    await processes.bring_up(Part(Program("mail-sink", command), lambda: ports.answers(port)))
    yield port
    await processes.stop("mail-sink")


async def send(port: int, recipient: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "vinculum@example.com", recipient, "Ești invitată"
    mail.set_content("Bună!")
    await aiosmtplib.send(mail, hostname=ports.HOST, port=port)


async def test_a_mail_becomes_a_file_with_its_recipient(sink: int, tmp_path: Path) -> None:
    await send(sink, "ana@example.com")
    [mail] = mailbox.Maildir(tmp_path / "mail")
    assert mail["Delivered-To"] == "ana@example.com"
    assert mail["From"] == "vinculum@example.com"


async def test_a_bouncing_address_is_refused_each_time(sink: int, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
            await send(sink, "bounce-550.ana@example.com")
        [answer] = refused.value.recipients
        assert (answer.code, answer.message) == (550, "5.1.1 no such mailbox")
    assert len(mailbox.Maildir(tmp_path / "mail")) == 0


async def test_a_deferring_address_is_taken_after_so_many_tries(sink: int, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await send(sink, "defer-451-2.ana@example.com")
    await send(sink, "defer-451-2.ana@example.com")
    assert len(mailbox.Maildir(tmp_path / "mail")) == 1
