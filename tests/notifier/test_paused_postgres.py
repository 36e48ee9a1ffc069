"""A Postgres that keeps its connections and answers none: whoever unsubscribes is told to try again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from support import databases
from support.mail_server import MailServer
from support.notifier import Notifier, running, settings_for
from support.paused import PausablePostgres
from support.tokens import Issuer
from vinculum_notifier.unsubscribe import Unsubscription

pytestmark = pytest.mark.integration

WITHIN_SECONDS = 15.0  # the answer is due after a third of it


@pytest.fixture
async def notifier(
    pausable_postgres: PausablePostgres, mails: MailServer, issuer: Issuer, tmp_path: Path
) -> AsyncIterator[Notifier]:
    async with (
        databases.database(pausable_postgres.url, "vinculum_notifier") as url,
        running(settings_for(url, mails.url, tmp_path, issuer.jwks), issuer) as notifier,
    ):
        yield notifier


async def test_the_unsubscribe_page_is_unavailable_then(
    notifier: Notifier, pausable_postgres: PausablePostgres
) -> None:
    wish = Unsubscription(tenant="acme", account_id=uuid4(), contact_id=uuid4(), email_id=uuid4(), topic="invoice")
    path = f"/v1/unsubscribe/{wish.token(notifier.settings.unsubscribe_key)}"
    assert (await notifier.http.get(path)).status_code == 200
    with pausable_postgres.paused():
        for method in ("GET", "POST"):
            async with asyncio.timeout(WITHIN_SECONDS):
                answer = await notifier.http.request(method, path, timeout=60)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (await notifier.http.post(path)).status_code == 200
