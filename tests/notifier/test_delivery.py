"""From the ledger to the mail server, and what becomes of a mail that is not taken."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from pydantic import SecretStr

from support import databases
from support.billing import Billing
from support.log_server import LogServer
from support.mail_server import CUT, MailServer
from support.notifier import Notifier
from support.waiting import until
from vinculum_notifier import delivery, ledger, smtp
from vinculum_notifier.delivery import MAILS_AT_ONCE, RETRY_LONGEST, retry_delay
from vinculum_notifier.ledger import RETRY_FOR, Claimed, Turns
from vinculum_shared.contracts.contacts import ContactDeactivated
from vinculum_shared.contracts.events import Recipient
from vinculum_shared.contracts.links import PortalAccessChanged
from vinculum_shared.contracts.records import RecordReminded, RecordSent
from vinculum_shared.contracts.tenants import TenantChanged, TenantSettings

pytestmark = pytest.mark.integration

DUE = """
    INSERT INTO notification (tenant, id, event_id, position, recorded_at, topic, template, outcome, reason,
        next_attempt_at)
    SELECT $1, gen_random_uuid(), gen_random_uuid(), number, now(), 'invoice', 'invoice_sent', 'queued', 'preference',
        now() - interval '1 hour' + number * interval '1 millisecond'
    FROM generate_series(1, $2::integer) AS number"""
POSTPONED = """
    INSERT INTO notification (tenant, id, event_id, position, recorded_at, topic, template, outcome, reason, ready,
        next_attempt_at)
    SELECT 'firm-' || number, gen_random_uuid(), gen_random_uuid(), number, now(), 'invoice', 'invoice_sent', 'queued',
        'preference', false, now() + interval '1 hour'
    FROM generate_series(1, $1::integer) AS number"""
BLOCKS_MAX = 1_500
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'"


async def test_each_mail_is_sent_once_and_says_what_it_is_about(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.invite()
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    invitation, reminder = sorted(mails.mails("anna@example.com"), key=lambda mail: str(mail["X-Vinculum-Topic"]))
    events = {type(event.data): str(event.id) for event in firm.log.recorded}
    assert (invitation["X-Vinculum-Topic"], reminder["X-Vinculum-Topic"]) == ("invitation", "invoice")
    assert invitation["X-Vinculum-Event"] == events[PortalAccessChanged]
    assert reminder["X-Vinculum-Event"] == events[RecordReminded]
    assert [row["outcome"] for row in await notifier.ledger()] == ["sent", "sent"]
    assert {row["message_id"] for row in await notifier.ledger()} == {invitation["Message-ID"], reminder["Message-ID"]}
    await notifier.deliver()
    assert len(mails.taken) == 2


async def test_the_lag_is_what_is_due_and_what_waits_for_another_attempt_is_in_the_queue(notifier: Notifier) -> None:
    assert await ledger.due(notifier.pool) == await ledger.queued(notifier.pool) == (0, None)
    firm = Billing.with_addresses("anna@example.com")
    firm.invite()
    firm.remind()
    await notifier.apply(firm.log)
    first, second = await notifier.pool.fetch("SELECT id, made_at FROM notification ORDER BY made_at")
    later = "UPDATE notification SET next_attempt_at = now() + interval '1 hour' WHERE id = $1"
    await notifier.pool.execute(later, first["id"])
    assert (await ledger.due(notifier.pool))[0] == 1
    assert await ledger.queued(notifier.pool) == (2, first["made_at"])
    await notifier.pool.execute(later, second["id"])
    assert await ledger.due(notifier.pool) == (0, None)


async def test_one_bad_recipient_does_not_keep_the_others_waiting(notifier: Notifier, mails: MailServer) -> None:
    """49 of 50 are delivered (D18)."""
    addresses = [f"contact{number}@example.com" for number in range(50)]
    firm = Billing.with_addresses(*addresses)
    mails.to_recipient["contact7@example.com"] = ["550 5.7.1 not wanted here"]
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert sorted(to for to, _ in mails.taken) == sorted(set(addresses) - {"contact7@example.com"})
    failed = [row for row in await notifier.ledger() if row["outcome"] != "sent"]
    assert [(row["outcome"], row["reason"], row["reply"]) for row in failed] == [("failed", "rejected", "550 5.7.1")]
    assert mails.connections < 50


async def test_a_mail_that_is_put_off_is_tried_again(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    mails.to_recipient["anna@example.com"] = ["451 4.7.1 greylisted"]
    mails.to_data["anna@example.com"] = ["452 4.3.1 full"]
    firm.remind()
    await notifier.apply(firm.log)
    for reply in ("451 4.7.1", "452 4.3.1"):
        await notifier.deliver()
        (row,) = await notifier.ledger()
        assert (row["outcome"], row["reply"], row["unclear"]) == ("queued", reply, 0)
        assert row["next_attempt_at"] > datetime.now(UTC)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "sent", "preference")]
    assert len(mails.taken) == 1


async def test_an_address_that_does_not_exist_gets_no_more_mail(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    mails.to_recipient["anna@example.com"] = ["550 5.1.1 <anna@example.com> unknown"]
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [
        ("anna@example.com", "failed", "address_rejected"),
        ("anna@example.com", "skipped", "address_suppressed"),
    ]
    assert "anna" not in (await notifier.ledger())[0]["reply"]


async def test_an_operator_releases_an_address_that_exists_after_all(notifier: Notifier, mails: MailServer) -> None:
    firm, other = Billing.with_addresses("anna@example.com"), Billing.with_addresses(tenant="other")
    mails.to_recipient["anna@example.com"] = ["550 5.1.1 <anna@example.com> unknown"]
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.apply(other.log)
    await notifier.deliver()
    failed = (await notifier.ledger())[0]["id"]
    path, admin = f"/v1/notifications/{failed}/release", notifier.staff("acme", firm.admin_id, "admin")
    for token, status in (
        (notifier.service("acme"), 403),
        (notifier.staff("acme", firm.admin_id, "viewer"), 403),
        (notifier.staff("other", other.admin_id, "admin"), 404),
    ):
        assert (await notifier.post(path, token)).status_code == status
    assert [(await notifier.post(path, admin)).json() for _ in range(2)] == [{"released": True}, {"released": False}]
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [
        ("anna@example.com", "failed", "address_rejected"),
        ("anna@example.com", "sent", "preference"),
    ]


async def test_a_refused_sender_is_not_held_against_the_address(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    mails.to_recipient["anna@example.com"] = ["550 5.1.8 your domain does not exist"]
    firm.remind()
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert sorted(reason for _, _, reason in await notifier.outcomes()) == ["preference", "rejected"]


@pytest.mark.parametrize("at", ["sender", "recipient"])
async def test_what_the_operator_has_to_mend_fails_no_mail(notifier: Notifier, mails: MailServer, at: str) -> None:
    """The sender is refused, or the login: nobody's address is at fault, and the mail is tried again."""
    firm = Billing.with_addresses("anna@example.com")
    refusal = "550 5.1.0 sender rejected" if at == "sender" else "530 5.7.0 Authentication required"
    (mails.to_sender if at == "sender" else mails.to_recipient["anna@example.com"]).append(refusal)
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    (row,) = await notifier.ledger()
    assert (row["outcome"], row["reply"]) == ("queued", refusal[:9])
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "sent", "preference")]


@pytest.mark.faults
@pytest.mark.parametrize("answer", [CUT, "421 4.3.2 shutting down"])
async def test_a_mail_whose_acceptance_was_not_heard_is_sent_again_under_the_same_id(
    answer: str, notifier: Notifier, mails: MailServer
) -> None:
    """The one window in which a mail can be doubled, and it is counted (D17)."""
    firm = Billing.with_addresses("anna@example.com")
    mails.to_data["anna@example.com"] = [answer]
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    (row,) = await notifier.ledger()
    assert (row["outcome"], row["unclear"]) == ("queued", 1)
    await notifier.deliver()
    (row,) = await notifier.ledger()
    assert (row["outcome"], row["attempts"], row["unclear"]) == ("sent", 2, 1)
    received = mails.mails("anna@example.com")
    assert len(received) == (2 if answer == CUT else 1)
    assert {mail["Message-ID"] for mail in received} == {row["message_id"]}


@pytest.mark.faults
async def test_a_mail_that_may_have_gone_out_and_is_no_longer_due_is_not_called_skipped(
    notifier: Notifier, mails: MailServer
) -> None:
    firm = Billing.with_addresses("anna@example.com")
    mails.to_data["anna@example.com"] = [CUT]
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    firm.unlink(firm.contact_id)
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "sent_unconfirmed", "unlinked")]
    assert len(mails.taken) == 1


@pytest.mark.faults
async def test_a_deliverer_whose_lease_has_ended_sends_nothing(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    (late,) = await claim(notifier, 1)
    await notifier.deliver()
    async with notifier.deliverer() as deliverer:
        await deliverer.attempt(late, 0)
    assert len(mails.taken) == 1


async def test_a_mail_waits_until_what_happened_meanwhile_has_been_read(notifier: Notifier, mails: MailServer) -> None:
    """The log has it that the contact is unlinked; the reader does not know yet."""
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    firm.unlink(firm.contact_id)

    async def waits() -> bool:
        (row,) = await notifier.ledger()
        return bool(row["waits_for"] == "reader")

    async with notifier.delivering():
        await until(waits)
    (row,) = await notifier.ledger()
    assert (row["outcome"], row["attempts"]) == ("queued", 0)
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "skipped", "unlinked")]
    assert not mails.taken


async def test_a_mail_waits_while_the_log_is_out_of_reach(
    notifier: Notifier, mails: MailServer, log: LogServer
) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    log.available = False
    await notifier.deliver()
    (row,) = await notifier.ledger()
    assert (row["outcome"], row["waits_for"], row["attempts"]) == ("queued", "reader", 0)
    log.available = True
    await notifier.deliver()
    assert len(mails.taken) == 1


async def test_a_batch_of_mails_asks_the_log_once(notifier: Notifier, log: LogServer) -> None:
    firms = [Billing.with_addresses("anna@example.com", tenant=f"firm-{number}") for number in range(3)]
    for firm in firms:
        firm.remind()
        firm.remind()
        await notifier.apply(firm.log)
    async with notifier.deliverer() as deliverer:
        assert len(await deliverer.due()) == 6
    assert log.asked_about == [[firm.log.tenant for firm in firms]]


async def test_a_mail_that_was_put_off_goes_to_the_corrected_address(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("typo@example.com")
    mails.to_recipient["typo@example.com"] = ["451 4.7.1 greylisted"]
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    firm.correct("anna@example.com")
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "sent", "preference")]
    assert [to for to, _ in mails.taken] == ["anna@example.com"]


async def test_contacts_who_share_an_address_get_one_copy_and_an_invitation_each(
    notifier: Notifier, mails: MailServer
) -> None:
    firm = Billing.with_addresses("office@example.com")
    firm.invite()
    firm.contact_id = firm.contact("Bruno", None, "office@example.com")
    firm.link(firm.account_id, firm.contact_id, "invoice")
    firm.invite()
    firm.remind()
    await notifier.apply(firm.log)
    while [row for row in await notifier.ledger() if row["outcome"] == "queued"]:
        await notifier.deliver()
    assert sorted(await notifier.outcomes()) == [
        ("office@example.com", "sent", "invited"),
        ("office@example.com", "sent", "invited"),
        ("office@example.com", "sent", "preference"),
        ("office@example.com", "skipped", "same_address"),
    ]
    assert len(mails.taken) == 3


async def test_a_shared_address_gets_its_copy_though_the_first_contact_is_unlinked(
    notifier: Notifier, mails: MailServer
) -> None:
    firm = Billing.with_addresses("office@example.com", "office@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    first = min(await notifier.ledger(), key=lambda row: row["id"])
    mails.to_recipient["office@example.com"] = ["451 4.7.1 greylisted"]
    await notifier.deliver()
    assert {row["waits_for"] for row in await notifier.ledger()} == {"mail_server", "same_address"}
    firm.unlink(first["contact_id"])
    await notifier.apply(firm.log)
    await notifier.deliver()
    await notifier.deliver()
    assert sorted(await notifier.outcomes()) == [
        ("office@example.com", "sent", "preference"),
        ("office@example.com", "skipped", "unlinked"),
    ]
    assert len(mails.taken) == 1


@pytest.mark.faults
@pytest.mark.parametrize(
    ("answer", "outcome"), [("250 2.0.0 OK", "sent"), ("550 5.1.1 unknown", "failed"), (CUT, "queued")]
)
async def test_what_the_mail_server_said_is_recorded_after_an_outage(
    answer: str, outcome: str, notifier: Notifier, mails: MailServer, postgres: str
) -> None:
    """The backend is terminated in the middle of its statement; the mail is not sent again for that."""
    firm = Billing.with_addresses("anna@example.com")
    mails.to_data["anna@example.com"] = [answer]
    firm.remind()
    await notifier.apply(firm.log)
    (claimed,) = await claim(notifier, 1)
    database = await notifier.pool.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(postgres)

    async def terminated() -> bool:
        return bool(await admin.fetchval(TERMINATE, database))

    async def handed_over() -> bool:
        return mails.waiting == 1

    mails.answering.clear()
    async with notifier.deliverer() as deliverer, asyncio.TaskGroup() as group:
        group.create_task(deliverer.attempt(claimed, 0))
        await until(handed_over)
        async with notifier.pool.acquire() as db, db.transaction():
            await db.execute("SELECT FROM notification FOR UPDATE")
            mails.answering.set()
            await until(terminated)
    await admin.close()
    (row,) = await notifier.ledger()
    assert (row["outcome"], row["attempts"], row["unclear"]) == (outcome, 1, int(answer == CUT))
    assert row["reply"]


@pytest.mark.faults
async def test_mail_waits_for_a_mail_server_that_is_down(notifier: Notifier) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    notifier.settings = notifier.settings.model_copy(update={"smtp_url": SecretStr("smtp://127.0.0.1:1")})
    await notifier.deliver()
    (row,) = await notifier.ledger()
    assert (row["outcome"], row["reply"]) == ("queued", "no answer")


@pytest.mark.faults
async def test_a_connection_on_which_the_mail_server_hangs_is_closed(
    mails: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = smtp.MailServer(mails.url, "notifier@example.com")
    assert (await server.send("anna@example.com", b"\r\n")).kind == "accepted"
    mails.answers_noop = False
    monkeypatch.setattr(smtp, "CONNECT_SECONDS", 0.1)
    assert await server.send("anna@example.com", b"\r\n") == smtp.Verdict("deferred", "no answer")

    async def closed() -> bool:
        return mails.open == 0

    await until(closed)


async def test_a_mail_that_was_put_off_for_three_days_has_failed(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    mails.to_recipient["anna@example.com"] = ["451 4.7.1 greylisted"]
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.pool.execute("UPDATE notification SET made_at = now() - $1::interval", RETRY_FOR)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "failed", "retries_exhausted")]


async def test_an_unforeseen_error_is_tried_again_and_ends_in_an_outcome(notifier: Notifier, mails: MailServer) -> None:
    """One mail that can't be written, for a template that is not there, keeps no other from being sent."""
    firm = Billing.with_addresses("anna@example.com", "bruno@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.pool.execute("UPDATE notification SET template = 'gone' WHERE address = 'anna@example.com'")
    await notifier.deliver()
    assert await notifier.outcomes() == [
        ("anna@example.com", "queued", "preference"),
        ("bruno@example.com", "sent", "preference"),
    ]
    (row, _) = await notifier.ledger()
    assert row["reply"] == "internal error"
    assert row["next_attempt_at"] > row["changed_at"]
    await notifier.pool.execute("UPDATE notification SET made_at = now() - $1::interval", RETRY_FOR)
    await notifier.deliver()
    assert (await notifier.outcomes())[0] == ("anna@example.com", "failed", "internal_error")


async def test_several_deliverers_share_the_ledger(notifier: Notifier, mails: MailServer) -> None:
    addresses = [f"contact{number}@example.com" for number in range(200)]
    firm = Billing.with_addresses(*addresses)
    firm.remind()
    await notifier.apply(firm.log)

    async def all_taken() -> bool:
        return len(mails.taken) >= len(addresses)

    async with notifier.delivering(), notifier.delivering():
        await until(all_taken)
    assert sorted(to for to, _ in mails.taken) == sorted(addresses)


async def test_tenants_take_turns_and_invitations_go_first(notifier: Notifier) -> None:
    """Whoever has the most mail waiting, and since when."""
    waiting = {"acme": 5, "beta": 1, "gamma": 2}
    firms = {tenant: Billing.with_addresses(f"a@{tenant}.example", tenant=tenant) for tenant in waiting}
    for tenant, firm in firms.items():
        for _ in range(waiting[tenant]):
            firm.remind()
        await notifier.apply(firm.log)
    firms["beta"].invite()
    await notifier.apply(firms["beta"].log)
    turns = Turns()
    served = [
        [(each.mail.tenant, each.mail.topic) for each in await claim(notifier, limit, turns)]
        for limit in (1, 2, 1, 3, 9)
    ]
    assert served == [
        [("beta", "invitation")],
        [("acme", "invoice"), ("beta", "invoice")],
        [("gamma", "invoice")],
        [("acme", "invoice"), ("gamma", "invoice"), ("acme", "invoice")],
        [("acme", "invoice"), ("acme", "invoice")],
    ]


async def test_invitations_leave_room_for_other_mail(notifier: Notifier) -> None:
    firm = Billing.with_addresses("anna@example.com")
    for _ in range(3):
        firm.invite()
    firm.remind()
    await notifier.apply(firm.log)
    claimed = await ledger.claim(notifier.pool, 3, Turns(), invitations_max=2)
    assert [each.mail.topic for each in claimed] == ["invitation", "invitation", "invoice"]
    claimed = await ledger.claim(notifier.pool, 3, Turns(), invitations_max=0)
    assert claimed == []


async def test_a_place_that_becomes_free_is_taken_at_once(
    notifier: Notifier, mails: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More invitations wait than may be under way; the deliverer doesn't look at the ledger by itself meanwhile."""
    monkeypatch.setattr(delivery, "POLL_SECONDS", 3_600.0)
    firm = Billing.with_addresses("anna@example.com")
    for _ in range(3 * MAILS_AT_ONCE):
        firm.invite()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert len(mails.taken) == 1, "all but the last are superseded"


async def test_a_claim_reads_as_much_however_many_mails_of_a_tenant_are_due(notifier: Notifier, postgres: str) -> None:
    """And however few of the others."""
    await notifier.pool.execute(DUE, "acme", 20_000)
    for number in range(10):
        await notifier.pool.execute(DUE, f"firm-{number}", 3)
    async with databases.as_admin(postgres, notifier.settings.database_url) as admin:
        await admin.execute("VACUUM ANALYZE notification")
    assert await checked_claim(notifier) == 16


async def test_a_claim_reads_as_much_however_many_tenants_have_mail_that_was_put_off(
    notifier: Notifier, postgres: str
) -> None:
    await notifier.pool.execute(POSTPONED, 10_000)
    await notifier.pool.execute(DUE, "firm-5000", 3)
    async with databases.as_admin(postgres, notifier.settings.database_url) as admin:
        await admin.execute("VACUUM ANALYZE notification")
    assert await checked_claim(notifier) == 3


async def checked_claim(notifier: Notifier) -> float:
    """Claim mails and see what that reads. Return how many there were."""
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + ledger.CLAIM
    (found,) = orjson.loads(await notifier.pool.fetchval(explain, 16, ledger.LEASE, 12, "", ""))
    scans = [node for node in nodes(found["Plan"]) if node.get("Relation Name") == "notification"]
    assert {node["Node Type"] for node in scans if "Scan" in node["Node Type"]} <= {"Index Scan", "Index Only Scan"}
    assert found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"] < BLOCKS_MAX
    return found["Plan"]["Actual Rows"]  # type: ignore[no-any-return]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


async def claim(notifier: Notifier, limit: int, turns: Turns | None = None) -> list[Claimed]:
    return await ledger.claim(notifier.pool, limit, turns or Turns(), limit)


@pytest.mark.faults
async def test_what_a_dead_deliverer_had_claimed_is_due_again_after_its_lease(notifier: Notifier) -> None:
    """And if it was not dead, what it says afterwards is not written."""
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    (first,) = await claim(notifier, 10)
    assert await claim(notifier, 10) == []
    await notifier.pool.execute("UPDATE notification SET next_attempt_at = now()")
    (second,) = await claim(notifier, 10)
    await ledger.settle(notifier.pool, first, "failed", "rejected")
    assert await notifier.outcomes() == [("anna@example.com", "queued", "preference")]
    await ledger.settle(notifier.pool, second, "sent", "preference")
    assert await notifier.outcomes() == [("anna@example.com", "sent", "preference")]


async def test_what_has_changed_since_the_event_stops_the_mail(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    firm.log.commit(ContactDeactivated(contact_id=firm.contact_id))
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "skipped", "contact_inactive")]
    assert mails.taken == []


async def test_an_invitation_that_is_too_old_is_not_sent(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    firm.log.now -= timedelta(hours=49)
    firm.invite()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "skipped", "expired")]
    assert mails.taken == []


async def test_a_name_that_looks_like_an_encoded_header_is_only_a_name(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("anna@example.com")
    before = TenantSettings(name="Acme")
    name = "=?utf-8?q?a=0ABcc=3A_e=40x?="
    hostile = TenantSettings(name=name)
    firm.log.commit(TenantChanged(tenant="acme", before=before, after=hostile))
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "sent", "preference")]
    (mail,) = mails.mails("anna@example.com")
    assert mail["From"].addresses[0].display_name == name
    assert mail["Bcc"] is None


async def test_only_whole_lines_and_stuffed_dots_go_over_the_wire(notifier: Notifier, mails: MailServer) -> None:
    """A line of a dot alone ends no mail early, and no line break stands alone (S13)."""
    firm = Billing.with_addresses("anna@example.com")
    dot = TenantSettings(name=".")  # which the text has on a line of its own
    firm.log.commit(TenantChanged(tenant="acme", before=TenantSettings(name="Acme"), after=dot))
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert len(mails.taken) == 1
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", bytes(mails.wire)) is None
    assert bytes(mails.wire).count(b"\r\n.\r\n") == 1
    assert bytes(mails.wire).count(b"RCPT TO:") == 1
    text = mails.mails("anna@example.com")[0].get_body(("plain",))
    assert text
    assert "." in text.get_content().splitlines()


async def test_an_address_beyond_ascii_is_reached(notifier: Notifier, mails: MailServer) -> None:
    firm = Billing.with_addresses("josé@EXÄMPLE.com")
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert [to for to, _ in mails.taken] == ["josé@exämple.com"]


async def test_a_record_sent_by_hand_reaches_who_was_chosen(notifier: Notifier, mails: MailServer) -> None:
    """Past the preference (PX-13)."""
    firm = Billing.with_addresses("anna@example.com")
    chosen = firm.contact("Bruno", None, "bruno@example.com")
    firm.link(firm.account_id, chosen)
    recipient = Recipient(contact_id=chosen, email_id=firm.emails(chosen)[0])
    firm.log.commit(
        RecordSent(
            record_id=firm.invoice_id,
            account_id=firm.account_id,
            type="invoice",
            topic="invoice",
            recipients=(recipient,),
            override=True,
        )
    )
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert [to for to, _ in mails.taken] == ["bruno@example.com"]
    assert await notifier.outcomes() == [("bruno@example.com", "sent", "chosen")]


@pytest.mark.unit
def test_attempts_grow_rarer_and_go_on_for_three_days() -> None:
    delays = [retry_delay(attempts) for attempts in range(1, 100)]
    assert delays == sorted(delays)
    assert delays[0] == timedelta(seconds=5)
    assert delays[-1] == RETRY_LONGEST
