"""A tenant of which something was applied that its log does not have: no mail, until it is rebuilt."""

from copy import deepcopy
from datetime import timedelta

import pytest

from support.billing import Billing
from support.log_server import LogServer
from support.mail_server import MailServer
from support.notifier import Notifier
from support.waiting import until
from vinculum_notifier.rebuild import rebuild

pytestmark = pytest.mark.integration

HOLD = "UPDATE subscription SET held = 'diverged', held_at = now() WHERE tenant = $1"
RELEASE = "UPDATE subscription SET held = NULL, held_at = NULL WHERE tenant = $1"


async def test_no_mail_goes_out_while_its_tenant_is_held(notifier: Notifier, mails: MailServer) -> None:
    acme = Billing.with_addresses("anna@example.com")
    other = Billing.with_addresses("berta@example.com", tenant="other")
    for firm in (acme, other):
        firm.remind()
        await notifier.apply(firm.log)
    await notifier.pool.execute(HOLD, "acme")

    async def delivered(address: str) -> bool:
        return bool(mails.mails(address))

    async with notifier.delivering():
        await until(lambda: delivered("berta@example.com"))
        assert not mails.mails("anna@example.com")
        ((_, outcome, _),) = [row for row in await notifier.outcomes() if row[0] == "anna@example.com"]
        assert outcome == "queued"
        await notifier.pool.execute(RELEASE, "acme")
        await until(lambda: delivered("anna@example.com"))


async def test_a_mail_that_was_claimed_before_its_tenant_was_held_does_not_go_out(
    notifier: Notifier, mails: MailServer
) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    async with notifier.deliverer() as deliverer:
        ((claimed, end),) = await deliverer.due()
        await notifier.pool.execute(HOLD, "acme")
        await deliverer.attempt(claimed, end)
    (row,) = await notifier.ledger()
    assert (row["outcome"], row["attempts"]) == ("queued", 0)
    assert not mails.taken


async def test_answers_about_mails_say_that_their_tenant_is_held(notifier: Notifier) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.pool.execute(HOLD, "acme")
    token = notifier.service("acme")
    page = (await notifier.get("/v1/notifications", token)).json()
    one = (await notifier.get(f"/v1/notifications/{page['items'][0]['id']}", token)).json()
    assert (page["held"], one["held"]) == (True, True)


async def test_a_rebuilt_tenant_is_mailed_what_its_log_makes_due_and_nothing_twice(
    notifier: Notifier, mails: MailServer, log: LogServer
) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    true = deepcopy(firm.log)
    await notifier.apply(firm.log)
    await notifier.deliver()
    firm.contact_id = firm.contact("Mallory", None, "mallory@example.com")
    firm.link(firm.account_id, firm.contact_id, "invoice")
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    firm.remind()
    await notifier.apply(firm.log)
    assert len(mails.mails("anna@example.com")) == 2
    assert len(mails.mails("mallory@example.com")) == 1
    await notifier.pool.execute(HOLD, "acme")

    truly = Billing(true, firm.admin_id)
    truly.account_id, truly.contact_id, truly.invoice_id = firm.account_id, firm.contact_id, firm.invoice_id
    truly.remind()
    log.logs["acme"] = true
    assert await rebuild(notifier.settings, "acme") == 0

    due = true.recorded[-1].id
    assert [
        (row["address"], row["event_id"] == due, row["outcome"], row["reason"]) for row in await notifier.ledger()
    ] == [
        ("anna@example.com", False, "sent", "preference"),
        ("anna@example.com", True, "queued", "preference"),
        ("anna@example.com", False, "sent", "not_in_log"),
        ("mallory@example.com", False, "sent", "not_in_log"),
        ("anna@example.com", False, "skipped", "not_in_log"),
        ("mallory@example.com", False, "skipped", "not_in_log"),
    ]
    await notifier.deliver()
    assert len(mails.mails("anna@example.com")) == 3
    assert len(mails.mails("mallory@example.com")) == 1


async def test_what_is_too_old_to_be_tried_still_is_history_to_a_rebuild(notifier: Notifier, log: LogServer) -> None:
    """It was routed when it came; a version that routes otherwise must not write to people about last year."""
    firm = Billing.with_addresses("anna@example.com")
    firm.log.now -= timedelta(hours=73)
    firm.remind()
    firm.log.now += timedelta(hours=2)
    firm.remind()
    log.logs["acme"] = firm.log
    assert await rebuild(notifier.settings, "acme") == 0
    assert [(outcome, reason) for _, outcome, reason in await notifier.outcomes()] == [
        ("skipped", "historic"),
        ("queued", "preference"),
    ]
