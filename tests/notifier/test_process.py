"""The notifier as a process of its own: started, killed, stopped."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr

from support import databases
from support.billing import Billing
from support.log_server import LogServer
from support.mail_server import MailServer
from support.notifier import Notifier, running, settings_for
from support.reading import publish
from support.tokens import Issuer
from support.waiting import until
from vinculum_devstack.ports import free
from vinculum_notifier.settings import Settings
from vinculum_shared.kafka import ensure_topic


def environment(settings: Settings) -> dict[str, str]:
    values = settings.model_dump(exclude_none=True)
    shown = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in values.items()
    }
    return os.environ | {f"VINCULUM_NOTIFIER_{name.upper()}": str(value) for name, value in shown.items()}


@asynccontextmanager
async def process(settings: Settings, part: str, failpoints: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vinculum_notifier",
        part,
        env=environment(settings) | {"VINCULUM_FAILPOINTS": failpoints},
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def stopped(started: asyncio.subprocess.Process) -> int:
    started.send_signal(signal.SIGTERM)
    return await asyncio.wait_for(started.wait(), 90)


async def deliver_until(moment: str, notifier: Notifier) -> Billing:
    """Have one mail due, and the deliverer killed at a moment of sending it."""
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    settings = notifier.settings.model_copy(update={"metrics_port": free()})
    async with process(settings, "deliver", f"{moment}=kill") as killed:
        assert await asyncio.wait_for(killed.wait(), 90) == -signal.SIGKILL
    return firm


@pytest.mark.faults
@pytest.mark.parametrize(("moment", "copies"), [("deliver.claimed", 1), ("deliver.accepted", 2)])
async def test_a_deliverer_that_is_killed_loses_no_mail(
    moment: str, copies: int, notifier: Notifier, mails: MailServer
) -> None:
    """Killed between the server's answer and the record, it sends the mail once more, under the same Message-ID."""
    await deliver_until(moment, notifier)
    settings = notifier.settings.model_copy(update={"metrics_port": free()})
    assert await notifier.outcomes() == [("anna@example.com", "queued", "preference")]
    await notifier.pool.execute("UPDATE notification SET next_attempt_at = now()")

    async def sent() -> bool:
        return [outcome for _, outcome, _ in await notifier.outcomes()] == ["sent"]

    async with process(settings, "deliver") as started:
        await until(sent)
        assert await stopped(started) == 0
    received = mails.mails("anna@example.com")
    assert len(received) == copies
    assert len({mail["Message-ID"] for mail in received}) == 1


@pytest.mark.faults
@pytest.mark.parametrize(
    ("moment", "outcome"), [("deliver.claimed", "skipped"), ("deliver.accepted", "sent_unconfirmed")]
)
async def test_what_a_killed_deliverer_may_have_sent_is_not_called_skipped(
    moment: str, outcome: str, notifier: Notifier
) -> None:
    firm = await deliver_until(moment, notifier)
    firm.unlink(firm.contact_id)
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", outcome, "unlinked")]


@pytest.mark.acceptance
async def test_the_whole_service_mails_what_kafka_brings(
    postgres: str, kafka: str, log: LogServer, mails: MailServer, issuer: Issuer, tmp_path: Path
) -> None:
    topic = f"events-{uuid4().hex}"
    await ensure_topic(kafka, topic, partitions=2, replicas=1)
    port = free()
    async with databases.database(postgres, "vinculum_notifier") as url:
        settings = settings_for(
            url,
            mails.url,
            tmp_path,
            issuer.jwks,
            kafka_bootstrap=kafka,
            topic=topic,
            command_url=log.url,
            port=port,
            metrics_port=free(but=[port]),
        )
        async with (
            running(settings, issuer) as notifier,
            process(settings, "run") as started,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
        ):

            async def ready() -> bool:
                try:
                    return (await http.get("/health/ready")).is_success
                except httpx2.HTTPError:
                    return False

            async def taken() -> bool:
                return len(mails.taken) == 2

            await until(ready)
            firm = Billing.with_addresses("anna@example.com")
            firm.invite()
            firm.remind()
            log.logs["acme"] = firm.log
            await publish(kafka, topic, "acme", firm.log.lines)
            await until(taken)
            query = {"min_position": str(len(firm.log.lines)), "contact_id": str(firm.contact_id)}
            headers = {"Authorization": f"Bearer {notifier.service('acme')}"}
            answer = await http.get("/v1/notifications", params=query, headers=headers)
            assert len(answer.json()["items"]) == 2
            assert await stopped(started) == 0
