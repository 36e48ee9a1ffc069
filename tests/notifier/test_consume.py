"""From the log to the ledger: each mail once, upon what is known as of the event."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from support import databases
from support.billing import Billing
from support.log_server import LogServer
from support.mail_server import MailServer
from support.notifier import Notifier, running, settings_for
from support.reading import publish
from support.tokens import Issuer
from support.waiting import until
from vinculum_notifier.consume import consume, keep_start
from vinculum_notifier.known import STATES, Known, parsed
from vinculum_shared.contracts.contacts import EmailRemoved
from vinculum_shared.contracts.links import ContactUnlinked, LinkTerms
from vinculum_shared.kafka import ensure_topic

pytestmark = pytest.mark.integration


async def test_what_is_stored_is_the_fold_of_the_log(notifier: Notifier) -> None:
    """In one batch or event by event, read once or twice."""
    firm = Billing.with_addresses("anna@example.com", "bruno@example.com")
    firm.invite()
    firm.log.commit(ContactUnlinked(account_id=firm.account_id, contact_id=firm.contact_id, before=LinkTerms()))
    known = Known("acme")
    for event in firm.log.recorded:
        known.apply(event)
    await notifier.apply(firm.log)
    rows = await notifier.pool.fetch("SELECT stream, state FROM known")
    assert {row["stream"]: parsed(row["stream"], row["state"]) for row in rows} == known.states
    assert {stream.partition("/")[0] for stream in known.states} == set(STATES)


async def test_reading_an_event_again_adds_no_mail(notifier: Notifier) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    notifier.applied.clear()
    await notifier.apply(firm.log)
    assert await notifier.outcomes() == [("anna@example.com", "queued", "preference")]


async def test_a_batch_is_routed_by_what_batches_before_it_have_left(notifier: Notifier) -> None:
    firm = Billing.with_addresses("anna@example.com", "bruno@example.com")
    await notifier.apply(firm.log)
    firm.remind()
    await notifier.apply(firm.log)
    emails = firm.emails(firm.contact_id)
    removed = EmailRemoved(contact_id=firm.contact_id, email_id=emails[0], address_hash="", primary=True)
    firm.log.commit(removed)
    firm.remind()
    await notifier.apply(firm.log)
    assert [address for address, *_ in await notifier.outcomes()] == [
        "anna@example.com",
        "bruno@example.com",
        "anna@example.com",
    ]


async def test_of_one_batch_each_event_is_routed_by_what_came_before_it(notifier: Notifier) -> None:
    firm = Billing.with_addresses("anna@example.com", "bruno@example.com")
    firm.remind()
    firm.log.commit(ContactUnlinked(account_id=firm.account_id, contact_id=firm.contact_id, before=LinkTerms()))
    firm.remind()
    await notifier.apply(firm.log)
    assert [address for address, *_ in await notifier.outcomes()] == [
        "anna@example.com",
        "bruno@example.com",
        "anna@example.com",
    ]


async def test_what_came_before_the_first_start_is_history(notifier: Notifier) -> None:
    """It is in the ledger, and nobody is mailed about it."""
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await keep_start(notifier.pool, {"acme": len(firm.log.recorded)})
    await keep_start(notifier.pool, {"acme": 1_000})
    firm.remind()
    await notifier.apply(firm.log)
    assert [(outcome, reason) for _, outcome, reason in await notifier.outcomes()] == [
        ("skipped", "historic"),
        ("queued", "preference"),
    ]


async def test_tenants_are_kept_apart(notifier: Notifier) -> None:
    """Even if they use the same ids."""
    firm, other = Billing.with_addresses("anna@example.com"), Billing.with_addresses("berta@example.com", tenant="beta")
    other.account_id = other.account("Verdi", firm.account_id)
    other.link(other.account_id, other.contact_id, "invoice")
    await notifier.apply(firm.log)
    await notifier.apply(other.log)
    other.remind()
    await notifier.apply(other.log)
    assert [(row["tenant"], row["address"]) for row in await notifier.ledger()] == [("beta", "berta@example.com")]


async def test_events_come_from_kafka_and_what_it_lacks_from_the_log(
    postgres: str, kafka: str, log: LogServer, mails: MailServer, issuer: Issuer, tmp_path: Path
) -> None:
    """History is folded from the log; what follows is mailed about, whichever way it comes."""
    topic = f"events-{uuid4().hex}"
    await ensure_topic(kafka, topic, partitions=2, replicas=1)
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    history = len(firm.log.lines)
    async with databases.database(postgres, "vinculum_notifier") as url:
        log.logs["acme"] = firm.log
        settings = settings_for(
            url, mails.url, tmp_path, issuer.jwks, kafka_bootstrap=kafka, topic=topic, command_url=log.url
        )
        async with running(settings, issuer) as notifier, asyncio.TaskGroup() as group:
            stop = asyncio.Event()
            group.create_task(consume(settings, stop))

            async def rows(count: int) -> bool:
                return len(await notifier.ledger()) >= count

            await until(lambda: rows(1))
            firm.remind()
            firm.remind()
            await publish(kafka, topic, "acme", firm.log.lines[history + 1 :])
            await until(lambda: rows(3))
            stop.set()
            assert [reason for _, _, reason in await notifier.outcomes()] == ["historic", "preference", "preference"]
