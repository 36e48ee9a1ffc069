"""Unsubscribing: the page, the button, and the wish that the command service is told of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from support.answers import checked
from support.billing import Billing
from support.events import Log
from support.firms import Firm, an_email
from support.http_server import served
from support.log_server import LogServer
from support.mail_server import MailServer
from support.notifier import Notifier
from support.waiting import until
from vinculum_notifier.announcing import announce
from vinculum_notifier.rebuild import rebuild
from vinculum_shared.contracts.contacts import ContactChanged, ContactProfile, EmailChanged
from vinculum_shared.contracts.links import (
    ContactUnlinked,
    LinkTerms,
    NotificationPreferences,
    NotificationPreferencesChanged,
)

pytestmark = pytest.mark.integration

ON = NotificationPreferences(topics=("invoice",))
WAITING = "SELECT count(*) FROM announcement WHERE position IS NULL"


@dataclass
class Commands:
    """The command service, as far as it is told of those who unsubscribe."""

    url: str = ""
    answers: list[Response] = field(default_factory=list)
    got: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    """Path and query, body, idempotency key."""

    async def post(self, request: Request) -> Response:
        path = f"{request.url.path}?{request.url.query}"
        self.got.append((path, orjson.loads(await request.body()), request.headers["idempotency-key"]))
        assert request.headers["authorization"] == "Bearer token of the notifier"
        return self.answers.pop(0)


@asynccontextmanager
async def commands(*answers: Response) -> AsyncIterator[Commands]:
    service = Commands(answers=list(answers))
    async with served(Starlette(routes=[Route("/{path:path}", service.post, methods=["POST"])])) as service.url:
        yield service


def done(position: int) -> Response:
    return Response(b"{}", headers={"Vinculum-Position": str(position)})


def problem(status: int, code: str) -> Response:
    return Response(orjson.dumps({"code": code}), status, media_type="application/problem+json")


async def mailed(notifier: Notifier, mails: MailServer) -> tuple[Billing, str]:
    """Send a reminder. Gives the path of its link to unsubscribe."""
    firm = Billing.with_addresses("anna@example.com")
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    (mail,) = mails.mails("anna@example.com")
    return firm, unsubscribe_path(mail)


def unsubscribe_path(mail: EmailMessage) -> str:
    return str(mail["List-Unsubscribe"]).strip("<>").removeprefix("https://notices.vinculum.example")


async def announced(notifier: Notifier, commands: Commands, *, count: int) -> None:
    """Have it tell the command service, until that has been told `count` times and nothing is left to be told."""
    settings = notifier.settings.model_copy(update={"command_url": commands.url})
    stop = asyncio.Event()

    async def told() -> bool:
        await notifier.pool.execute("UPDATE announcement SET next_attempt_at = now() WHERE position IS NULL")
        waiting = await notifier.pool.fetchval(WAITING)
        return len(commands.got) >= count and waiting == 0

    async with asyncio.TaskGroup() as group:
        group.create_task(announce(settings, stop))
        await until(told)
        stop.set()


async def later_reminder(notifier: Notifier, firm: Billing) -> str:
    """Remind once more. Gives what became of it."""
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    return (await notifier.outcomes())[-1][2]


async def test_looking_at_the_page_changes_nothing(notifier: Notifier, mails: MailServer) -> None:
    """Scanners follow links (S20)."""
    firm, path = await mailed(notifier, mails)
    for _ in range(3):
        page = await notifier.http.get(path)
        assert page.status_code == 200
        assert '<form method="post"><button type="submit">' in page.text
        assert "Acme" in page.text
        assert "<script" not in page.text
        assert (await notifier.http.head(path)).status_code == 200
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert await later_reminder(notifier, firm) == "preference"


async def test_the_page_speaks_the_language_of_a_region_that_has_no_formats_of_its_own(
    notifier: Notifier, mails: MailServer
) -> None:
    firm = Billing.with_addresses("anna@example.com")
    profile = ContactProfile(first_name="Anna")
    firm.log.commit(
        ContactChanged(contact_id=firm.contact_id, before=profile, after=profile.model_copy(update={"locale": "it-AT"}))
    )
    firm.remind()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert await notifier.outcomes() == [("anna@example.com", "sent", "preference")]
    (mail,) = mails.mails("anna@example.com")
    page = await notifier.http.get(unsubscribe_path(mail))
    assert page.status_code == 200
    assert '<html lang="it">' in page.text


async def test_the_page_says_what_is_to_be_stopped_and_what_has_been(notifier: Notifier, mails: MailServer) -> None:
    """Which mail, about which account, to which address; and where that is done, it offers nothing more to do."""
    _, path = await mailed(notifier, mails)
    asking = await notifier.http.get(path)
    done = await notifier.http.post(path)
    again = await notifier.http.get(path)
    for page, heading in (
        (asking, "Stop these emails?"),
        (done, "These emails are stopped"),
        (again, "These emails are already stopped"),
    ):
        assert f"<h1>{heading}</h1>" in page.text
        for fact in ("Acme", "Invoices", "Rossi", "anna@example.com"):
            assert f"<dd>{fact}</dd>" in page.text or f'<p class="sender">{fact}</p>' in page.text
    assert [page.text.count("<form") for page in (asking, done, again)] == [1, 0, 0]


async def test_where_the_address_gets_no_such_mail_any_more_the_page_says_so(
    notifier: Notifier, mails: MailServer
) -> None:
    firm, path = await mailed(notifier, mails)
    firm.log.commit(ContactUnlinked(account_id=firm.account_id, contact_id=firm.contact_id, before=LinkTerms()))
    await notifier.apply(firm.log)
    for page in (await notifier.http.get(path), await notifier.http.post(path)):
        assert page.status_code == 200
        assert "There is nothing to stop" in page.text
        assert "<form" not in page.text


async def test_a_link_stops_no_mail_to_the_address_that_replaced_its_own(notifier: Notifier, mails: MailServer) -> None:
    """Whoever reads the old mailbox learns nothing of the new one, and turns nothing off there."""
    firm, path = await mailed(notifier, mails)
    before = an_email("anna@example.com", primary=True).model_copy(update={"email_id": firm.emails(firm.contact_id)[0]})
    after = an_email("new@example.com", primary=True).model_copy(update={"email_id": before.email_id})
    firm.log.commit(EmailChanged(contact_id=firm.contact_id, email_id=before.email_id, before=before, after=after))
    await notifier.apply(firm.log)
    for page in (await notifier.http.get(path), await notifier.http.post(path)):
        assert "There is nothing to stop" in page.text
        assert "new@example.com" not in page.text
    assert await later_reminder(notifier, firm) == "preference"
    assert len(mails.mails("new@example.com")) == 1


async def test_a_link_that_is_not_valid_says_so_in_the_browsers_language(notifier: Notifier) -> None:
    english = await notifier.http.get("/v1/unsubscribe/made-up")
    italian = await notifier.http.get("/v1/unsubscribe/made-up", headers={"Accept-Language": "fr, it-CH;q=0.9, en"})
    assert checked("notifier", english).status_code == checked("notifier", italian).status_code == 404
    assert "This link is not valid" in english.text
    assert "Questo link non è valido" in italian.text


async def test_unsubscribing_holds_at_once(notifier: Notifier, mails: MailServer) -> None:
    """Before the command service has heard of it, and for the topic alone."""
    firm, path = await mailed(notifier, mails)
    body = b"List-Unsubscribe=One-Click"
    answer = await notifier.http.post(path, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 200
    assert "These emails are stopped" in answer.text
    assert "<form" not in answer.text
    assert await later_reminder(notifier, firm) == "unsubscribed"
    firm.invite()
    await notifier.apply(firm.log)
    await notifier.deliver()
    assert (await notifier.outcomes())[-1][1:] == ("sent", "invited")


async def test_a_wish_holds_at_once_for_whoever_else_has_the_address(notifier: Notifier, mails: MailServer) -> None:
    """Before the command service has heard of it: another contact of the account, or the same one linked anew."""
    firm, path = await mailed(notifier, mails)
    await notifier.http.post(path)
    other = firm.contact("Anna", "Again", "anna@example.com")
    firm.link(firm.account_id, other, "invoice")
    firm.unlink(firm.contact_id)
    assert await later_reminder(notifier, firm) == "unsubscribed"
    firm.unlink(other)
    firm.link(firm.account_id, firm.contact_id, "invoice")
    assert await later_reminder(notifier, firm) == "unsubscribed"


async def test_the_wish_is_told_to_the_command_service_until_it_answers(notifier: Notifier, mails: MailServer) -> None:
    firm, path = await mailed(notifier, mails)
    await notifier.http.post(path)
    await notifier.http.post(path)
    async with commands(Response(status_code=503), problem(429, "too_many"), done(12)) as service:
        await announced(notifier, service, count=3)
    (told,) = {(where, orjson.dumps(body), key) for where, body, key in service.got}
    address_hash = an_email("anna@example.com", primary=True).address_hash
    assert told[0] == f"/v1/accounts/{firm.account_id}/contacts/{firm.contact_id}/unsubscribe?tenant=acme"
    assert orjson.loads(told[1]) == {"topic": "invoice", "address_hash": address_hash}


@pytest.mark.parametrize("since", [0, 3], ids=["idle since", "with new events since"])
async def test_a_rebuild_announces_a_wish_again_that_a_restored_log_has_lost(
    since: int, notifier: Notifier, mails: MailServer, log: LogServer
) -> None:
    """However old the copy is that was restored; what the log still has is not announced again."""
    firm, path = await mailed(notifier, mails)
    restored, ends = deepcopy(firm.log), len(firm.log.recorded)
    await notifier.http.post(path)
    async with commands(done(ends), done(ends + 1), done(ends + since + 1)) as service:
        await announced(notifier, service, count=1)
        await rebuilt(notifier, log, restored)
        assert await notifier.pool.fetchval(WAITING) == 0
        await notifier.http.post(path)
        await announced(notifier, service, count=2)
        await notifier.pool.execute("UPDATE announcement SET next_attempt_at = now() - interval '30 days'")
        firm.remind()
        await notifier.apply(firm.log)
        restored.now = firm.log.now + timedelta(hours=1)
        for _ in range(since):
            Firm(restored, firm.admin_id).contact("Bo", None)
        await rebuilt(notifier, log, restored)
        firm.log = restored
        await later_reminder(notifier, firm)
        assert len(mails.mails("anna@example.com")) == 1
        await announced(notifier, service, count=3)
    assert service.got[1] == service.got[2]


async def rebuilt(notifier: Notifier, log: LogServer, as_it_is: Log) -> None:
    log.logs["acme"] = as_it_is
    assert await rebuild(notifier.settings, "acme") == 0


async def test_staff_may_turn_the_topic_on_again(notifier: Notifier, mails: MailServer) -> None:
    """The wish holds until it has come back as an event; from then on the preference says what holds."""
    firm, path = await mailed(notifier, mails)
    await notifier.http.post(path)
    off = ON.model_copy(update={"by_email": {firm.emails(firm.contact_id)[0]: {"invoice": False}}})
    ids = {"account_id": firm.account_id, "contact_id": firm.contact_id}
    async with commands(done(len(firm.log.recorded) + 1)) as service:
        await announced(notifier, service, count=1)
    firm.log.now += timedelta(hours=1)
    firm.log.commit(NotificationPreferencesChanged.model_validate(ids | {"before": ON, "after": off}))
    assert await later_reminder(notifier, firm) == "no_recipient"
    firm.log.commit(NotificationPreferencesChanged.model_validate(ids | {"before": off, "after": ON}))
    assert await later_reminder(notifier, firm) == "preference"


async def test_where_nothing_is_left_to_switch_off_the_wish_is_done(notifier: Notifier, mails: MailServer) -> None:
    _, path = await mailed(notifier, mails)
    await notifier.http.post(path)
    async with commands(problem(404, "contact_not_found")) as service:
        await announced(notifier, service, count=1)
    assert await notifier.pool.fetchval("SELECT refused FROM announcement") == "contact_not_found"


async def test_a_token_that_was_tampered_with_does_nothing(notifier: Notifier, mails: MailServer) -> None:
    _, path = await mailed(notifier, mails)
    prefix, token = path[: -len(path.rpartition("/")[2])], path.rpartition("/")[2]
    swapped = {"a": "b"}
    for index in range(len(token)):
        mutated = token[:index] + swapped.get(token[index], "a") + token[index + 1 :]
        answer = await notifier.http.post(prefix + mutated)
        assert answer.status_code == 404
    for other in ("x", "x.y", "é.é", "." * 50, token + "A", token.partition(".")[0]):
        assert (await notifier.http.get(prefix + other)).status_code == 404
    assert await notifier.pool.fetchval("SELECT count(*) FROM announcement") == 0
