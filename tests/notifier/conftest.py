"""A notifier with a mail server, on a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import databases
from support.log_server import LogServer
from support.mail_server import MailServer, mail_server
from support.notifier import Notifier, running, settings_for
from support.tokens import Issuer


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as served:
        yield served


@pytest.fixture
async def notifier(
    postgres: str, mails: MailServer, issuer: Issuer, log: LogServer, tmp_path: Path
) -> AsyncIterator[Notifier]:
    async with databases.database(postgres, "vinculum_notifier") as url:
        settings = settings_for(url, mails.url, tmp_path, issuer.jwks, command_url=log.url)
        async with running(settings, issuer, log) as notifier:
            yield notifier
