"""Mail, from the event to the mailbox: who gets it, what is in it, and what keeps it from being sent."""

import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from urllib.parse import urlsplit

import pytest

from support.stack import Stack
from support.tenant import Tenant, invitation_token, link, text, types
from support.waiting import until

pytestmark = [pytest.mark.acceptance]


def due(days: int) -> str:
    """Return the day so many days from today."""
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


@pytest.fixture
async def firm(stack: Stack) -> Tenant:
    return await stack.tenant("taxdome")


async def engines(firm: Tenant, *names: str) -> tuple[str, list[str]]:
    """Make an account whose contacts have an address by their first name, and want mail about invoices."""
    contacts = [await firm.contact(name, firm.address(name.split(maxsplit=1)[0].lower())) for name in names]
    account = await firm.account("Analytical Engines", *contacts)
    for contact in contacts:
        await firm.notify(account, contact, invoice=True)
    return account, contacts


def unsubscribe_link(mail: EmailMessage) -> str:
    found = re.fullmatch(r"<(\S+)>", mail["List-Unsubscribe"])
    assert found
    return found[1]


async def test_an_invitation_brings_its_token_which_opens_the_account(firm: Tenant) -> None:
    account, (ada,) = await engines(firm, "Ada Lovelace")
    invited = await firm.login(account, ada)
    (mail,) = await firm.mails(firm.address("ada"), "invitation")
    assert "Northwind Partners" in mail["From"]
    assert mail["To"] == firm.address("ada")
    assert mail["X-Vinculum-Event"] == invited["events"][0]["id"]
    assert "Analytical Engines" in text(mail)
    assert f"https://portal.example.com/{firm.id}/accept#token=" in text(mail)
    assert mail["List-Unsubscribe"] is None

    token = invitation_token(mail)
    accepted = await firm.stack.http.post(f"{firm.stack.command}/v1/invitations/accept", json={"token": token})
    assert accepted.status_code == 200
    entry = accepted.json()
    assert (entry["account_id"], entry["contact_id"], entry["state"]) == (account, ada, "active")
    assert await firm.may_enter(account, ada, email_id=entry["email_id"])
    (event,) = await firm.log(after=invited["position"])
    assert (event["data"]["why"], event["data"]["actor"]) == ("accepted", {"kind": "contact", "id": ada})
    assert token not in str(await firm.log())


async def test_a_token_that_was_changed_or_taken_back_opens_nothing(firm: Tenant) -> None:
    account, (ada, charles) = await engines(firm, "Ada Lovelace", "Charles Babbage")
    tokens = []
    for contact, name in ((ada, "ada"), (charles, "charles")):
        await firm.login(account, contact)
        tokens.append(invitation_token((await firm.mails(firm.address(name), "invitation"))[0]))
    mixed = f"{tokens[0].partition('.')[0]}.{tokens[1].partition('.')[2]}"
    await firm.login(account, ada, on=False)
    await firm.unlink(account, charles)
    for token in (*tokens, mixed, "made-up", ""):
        assert await firm.refused("POST", "/invitations/accept", {"token": token}) == (410, "invitation_invalid")
    await firm.link(account, charles)
    assert await firm.refused("POST", "/invitations/accept", {"token": tokens[1]}) == (410, "invitation_invalid")
    assert not await firm.may_enter(account, ada)
    assert not await firm.may_enter(account, charles)


async def test_an_invitation_taken_back_and_given_anew_has_a_token_of_its_own(firm: Tenant) -> None:
    account, (ada,) = await engines(firm, "Ada Lovelace")
    await firm.login(account, ada)
    assert types(await firm.login(account, ada)) == []
    await firm.mails(firm.address("ada"), "invitation")
    await firm.login(account, ada, on=False)
    await firm.login(account, ada)
    old, new = map(invitation_token, await firm.mails(firm.address("ada"), "invitation", count=2))
    assert await firm.refused("POST", "/invitations/accept", {"token": old}) == (410, "invitation_invalid")
    await firm.done("POST", "/invitations/accept", {"token": new})
    assert await firm.may_enter(account, ada)


async def test_an_invoice_goes_to_those_who_want_it(firm: Tenant) -> None:
    account, (ada, charles) = await engines(firm, "Ada Lovelace", "Charles Babbage")
    await firm.notify(account, charles, invoice=False)
    invoice = await firm.invoice(account, number="2026-017", amount="1190.00", due=due(0))
    sent = await firm.done("POST", f"/records/{invoice}/send")
    (row,) = await firm.notifications(account_id=account)
    assert (row["recipient"]["contact_id"], row["topic"], row["outcome"]) == (ada, "invoice", "sent")
    assert row["reason"] == "preference"
    (mail,) = await firm.mails(firm.address("ada"))
    assert mail["X-Vinculum-Event"] == row["event_id"] == sent["events"][0]["id"]
    assert mail["X-Vinculum-Topic"] == "invoice"
    assert mail["Message-ID"] == row["message_id"]
    assert "2026-017" in mail["Subject"]
    assert "1,190.00" in text(mail)
    assert firm.stack.mailbox.to(firm.address("charles")) == []


async def test_an_invoice_sent_by_hand_goes_past_the_preference(firm: Tenant) -> None:
    account, (ada, charles) = await engines(firm, "Ada Lovelace", "Charles Babbage")
    await firm.notify(account, charles, invoice=False)
    invoice = await firm.invoice(account)
    await firm.done("POST", f"/records/{invoice}/send", {"contact_ids": [charles]})
    (row,) = await firm.notifications(account_id=account)
    assert (row["recipient"]["contact_id"], row["outcome"], row["reason"]) == (charles, "sent", "chosen")
    await firm.mails(firm.address("charles"), "invoice")
    stranger = await firm.contact("Mary Somerville", firm.address("mary"))
    body = {"contact_ids": [ada, stranger]}
    assert (await firm.refused("POST", f"/records/{invoice}/send", body))[0] in {404, 422}
    assert len(await firm.notifications(account_id=account)) == 1


async def test_a_reminder_has_its_time(firm: Tenant) -> None:
    account, (ada,) = await engines(firm, "Ada Lovelace")
    overdue = {"kind": "overdue"}
    for day in (due(0), due(2)):
        invoice = await firm.invoice(account, due=day)
        assert await firm.refused("POST", f"/records/{invoice}/remind", overdue) == (409, "not_overdue")
    late = await firm.invoice(account, due=due(-1), number="2025-999")
    assert types(await firm.done("POST", f"/records/{late}/remind", overdue)) == ["RecordReminded"]
    (row,) = await firm.notifications(account_id=account)
    assert (row["recipient"]["contact_id"], row["topic"], row["outcome"]) == (ada, "invoice", "sent")
    (mail,) = await firm.mails(firm.address("ada"))
    assert "overdue" in mail["Subject"]
    assert "2025-999" in mail["Subject"]


async def test_a_topic_that_reaches_nobody_is_warned_of_and_on_record(firm: Tenant) -> None:
    account, (ada, charles) = await engines(firm, "Ada Lovelace", "Charles Babbage")
    uncovered = [{"code": "topic_uncovered", "account_id": account, "topic": "invoice"}]
    assert (await firm.notify(account, charles, invoice=False))["warnings"] == []
    assert (await firm.unlink(account, ada))["warnings"] == uncovered
    invoice = await firm.invoice(account, due=due(-1))
    assert (await firm.done("POST", f"/records/{invoice}/send"))["warnings"] == uncovered
    reminded = await firm.done("POST", f"/records/{invoice}/remind", {"kind": "overdue"})
    assert reminded["warnings"] == uncovered
    rows = await firm.notifications(topic="invoice")
    assert [(row["outcome"], row["recipient"]) for row in rows] == [("nobody", None), ("nobody", None)]


async def test_mail_about_what_one_may_not_see_is_held(stack: Stack) -> None:
    """Dynamics holds mail without permission; sending by hand goes past that too (PX-13)."""
    sales = await stack.tenant("dynamics")
    ana = await sales.contact("Ana Pop", sales.address("ana"))
    contoso = await sales.account("Contoso", ana)
    warned = await sales.notify(contoso, ana, invoice=True)
    assert [warning["code"] for warning in warned["warnings"]] == ["mail_without_permission"]
    invoice = await sales.invoice(contoso)
    assert [each["code"] for each in (await sales.done("POST", f"/records/{invoice}/send"))["warnings"]] == [
        "topic_uncovered"
    ]
    (row,) = await sales.notifications()
    assert (row["outcome"], row["recipient"]["contact_id"]) == ("held", ana)
    assert (await sales.read(f"/accounts/{contoso}/recipients", topic="invoice"))["uncovered"] is True

    await sales.done("PUT", f"{link(contoso, ana)}/permissions", {"features": ["invoices"]})
    sent = await sales.done("POST", f"/records/{invoice}/send")
    assert sent["warnings"] == []
    (mail,) = await sales.mails(sales.address("ana"))
    assert mail["X-Vinculum-Event"] == sent["events"][0]["id"]
    taken = await sales.done("PUT", f"{link(contoso, ana)}/permissions", {"features": []})
    assert {warning["code"] for warning in taken["warnings"]} == {"mail_without_permission", "topic_uncovered"}


async def test_looking_at_the_unsubscribe_page_changes_nothing_and_its_button_switches_off(firm: Tenant) -> None:
    account, (ada,) = await engines(firm, "Ada Lovelace")
    other = await firm.account("Looms", ada)
    await firm.notify(other, ada, invoice=True)
    invoice, others = await firm.invoice(account), await firm.invoice(other)
    await firm.done("POST", f"/records/{invoice}/send")
    (mail,) = await firm.mails(firm.address("ada"), "invoice")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = unsubscribe_link(mail)
    assert url in text(mail)
    assert urlsplit(url).path.startswith("/v1/unsubscribe/")

    before = firm.position
    page = await firm.stack.http.get(url)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    await firm.done("POST", f"/records/{invoice}/send")
    assert len(await firm.mails(firm.address("ada"), "invoice", count=2)) == 2
    assert {event["type"] for event in await firm.log(after=before)} == {"vinculum.record_sent.v1"}

    done = await firm.stack.http.post(url, data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    await firm.done("POST", f"/records/{invoice}/send")
    newest, *_ = await firm.notifications(account_id=account)
    assert newest["outcome"] in {"skipped", "nobody"}, newest

    async def announced() -> bool:
        return bool(await firm.log(after=before, types="NotificationPreferencesChanged"))

    await until(announced)
    (event,) = await firm.log(after=before, types="NotificationPreferencesChanged")
    assert event["data"]["actor"]["kind"] == "service"
    assert (event["data"]["account_id"], event["data"]["contact_id"]) == (account, ada)
    assert await firm.items(f"/accounts/{account}/recipients", topic="invoice") == []
    assert [each["contact_id"] for each in await firm.items(f"/accounts/{other}/recipients", topic="invoice")] == [ada]
    await firm.done("POST", f"/records/{others}/send")
    assert len(await firm.mails(firm.address("ada"), "invoice", count=3)) == 3

    (listed,) = await firm.items(f"/accounts/{account}/contacts")
    assert listed["topics"]["invoice"] is False
    await firm.notify(account, ada, invoice=True)
    await firm.done("POST", f"/records/{invoice}/send")
    assert len(await firm.mails(firm.address("ada"), "invoice", count=4)) == 4

    unknown = await firm.stack.http.post(f"{firm.stack.notifier}/v1/unsubscribe/made-up")
    assert unknown.status_code == 404


async def test_an_address_that_does_not_exist_is_tried_once(firm: Tenant) -> None:
    """550 5.1.1 suppresses the address."""
    account, (bounce, _) = await engines(firm, "Bounce-550 Ada", "Charles Babbage")
    invoice = await firm.invoice(account)

    async def outcomes() -> dict[str, tuple[str, str]]:
        sent = await firm.done("POST", f"/records/{invoice}/send")
        rows = [row for row in await firm.notifications() if row["event_id"] == sent["events"][0]["id"]]
        return {row["recipient"]["contact_id"]: (row["outcome"], row["reason"]) for row in rows}

    assert (await outcomes())[bounce] == ("failed", "address_rejected")
    again = await outcomes()
    assert again.pop(bounce) == ("skipped", "address_suppressed")
    assert {outcome for outcome, _ in again.values()} == {"sent"}
    email_id = (await firm.read(f"/contacts/{bounce}"))["emails"][0]["email_id"]
    await firm.done("PATCH", f"/contacts/{bounce}/emails/{email_id}", {"address": firm.address("right")})
    assert (await outcomes())[bounce] == ("sent", "preference")


async def test_who_is_unlinked_before_the_delivery_gets_no_mail(firm: Tenant) -> None:
    account, (late, ada) = await engines(firm, "Defer-451-9 Charles", "Ada Lovelace")
    await firm.login(account, late)
    invoice = await firm.invoice(account)
    await firm.done("POST", f"/records/{invoice}/send")

    async def deferred() -> bool:
        return [row["attempts"] > 0 for row in await firm.ledger(contact_id=late)] == [True, True]

    await until(deferred)
    await firm.unlink(account, late)
    rows = await firm.notifications(contact_id=late)
    assert {(row["topic"], row["outcome"], row["reason"]) for row in rows} == {
        ("invitation", "skipped", "unlinked"),
        ("invoice", "skipped", "unlinked"),
    }
    assert firm.stack.mailbox.to(firm.address("defer-451-9")) == []
    assert [row["outcome"] for row in await firm.notifications(contact_id=ada)] == ["sent"]
