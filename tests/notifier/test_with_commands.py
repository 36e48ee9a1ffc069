"""What passes between the notifier and the command service: mails' links lead back to commands."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from support import databases
from support.events import Log
from support.mail_server import MailServer
from support.notifier import MOVE, Notifier, running, settings_for
from support.service import Service, command_service
from support.tokens import Issuer
from support.waiting import until
from vinculum_devstack.service_tokens import SCOPES
from vinculum_notifier.announcing import announce
from vinculum_notifier.consume import apply
from vinculum_notifier.known import look
from vinculum_shared.consuming.event_log import open_log
from vinculum_shared.contracts.contacts import Email, EmailChanged
from vinculum_shared.contracts.values import ContactId
from vinculum_shared.token_file import TokenFile

pytestmark = pytest.mark.integration


@dataclass
class Both:
    commands: Service
    notifier: Notifier
    position: int = 0

    async def catch_up(self) -> None:
        """Have the notifier read what the command service's log has."""
        token = TokenFile(self.notifier.settings.service_token_file)
        async with open_log(self.notifier.settings.command_url, token) as log:
            events = [line.decode() for line in await log.after(self.commands.tenant, self.position)]
        if events:
            async with self.notifier.pool.acquire() as db, db.transaction():
                await apply(db, events)
                await db.execute(MOVE, self.commands.tenant, events[-1].position, events[-1].recorded_at)
            self.position = events[-1].position

    async def emails(self, contact: UUID) -> tuple[Email, ...]:
        known = await look(self.notifier.pool, self.commands.tenant, f"contact/{contact}")
        found = known.contact(contact)
        assert found
        return found.emails

    async def mail(self) -> None:
        await self.catch_up()
        await self.notifier.deliver()


@pytest.fixture
async def both(postgres: str, mails: MailServer, issuer: Issuer, tmp_path: Path) -> AsyncIterator[Both]:
    async with command_service(postgres, issuer) as service, databases.database(postgres, "vinculum_notifier") as url:
        settings = settings_for(
            url,
            mails.url,
            tmp_path,
            issuer.jwks,
            command_url=str(service.http.base_url),
            address_key=service.settings.address_key.get_secret_value(),
            invitation_key=service.settings.invitation_key.get_secret_value(),
        )
        token = issuer.token(kind="service", sub="vinculum-notifier", scope=" ".join(SCOPES["notifier"]))
        settings.service_token_file.write_text(token)
        async with running(settings, issuer) as notifier:
            yield Both(await service.register("perfex"), notifier)


async def linked(service: Service, address: str) -> tuple[UUID, UUID]:
    account = await service.account()
    contact = await service.contact(address, link_accounts=[{"account_id": str(account)}])
    return account, contact


def text(mails: MailServer, address: str) -> str:
    body = mails.mails(address)[-1].get_body(("plain",))
    assert body
    content: str = body.get_content()
    return content


async def test_the_invitations_link_opens_the_portal(both: Both, mails: MailServer) -> None:
    account, contact = await linked(both.commands, "anna@example.com")
    await both.commands.done("PUT", f"/accounts/{account}/contacts/{contact}/portal-access", {"login": True})
    await both.mail()
    link = re.search(r"https://portal\.example\.com/firm/accept#token=(\S+)", text(mails, "anna@example.com"))
    assert link
    answer = await both.commands.done("POST", "/invitations/accept", {"token": link.group(1)})
    assert (answer["account_id"], answer["contact_id"], answer["state"]) == (str(account), str(contact), "active")
    assert (await both.commands.access(account, contact))["allowed"] is True


async def test_an_address_that_was_forged_on_the_topic_gets_an_invitation_that_opens_nothing(
    both: Both, mails: MailServer
) -> None:
    account, contact = await linked(both.commands, "anna@example.com")
    await both.catch_up()
    (email,) = await both.emails(contact)
    thief = email.model_copy(update={"address": "thief@example.com"})
    forged = Log(both.commands.tenant).commit(
        EmailChanged(contact_id=ContactId(contact), email_id=email.email_id, before=email, after=thief)
    )
    async with both.notifier.pool.acquire() as db, db.transaction():
        await apply(db, forged)
    await both.commands.done("PUT", f"/accounts/{account}/contacts/{contact}/portal-access", {"login": True})
    await both.mail()
    link = re.search(r"/accept#token=(\S+)", text(mails, "thief@example.com"))
    assert link
    answer = await both.commands.refused("POST", "/invitations/accept", {"token": link.group(1)})
    assert answer == (410, "invitation_invalid")
    assert (await both.commands.access(account, contact))["state"] == "invited"


async def test_who_unsubscribes_has_his_preference_switched_off(both: Both, mails: MailServer) -> None:
    """And staff, who see it there, may switch it on again."""
    account, contact, invoice = await unsubscribed(both, mails)

    async def reminded_again() -> tuple[str, str]:
        await both.commands.done("POST", f"/records/{invoice}/remind", {"kind": "overdue"})
        await both.mail()
        row = (await both.notifier.ledger())[-1]
        return row["outcome"], row["reason"]

    await announced(both.notifier)
    assert await reminded_again() == ("nobody", "no_recipient")
    on = {"topics": {"invoice": True}, "email_id": str(await mailed_to(both.notifier))}
    await both.commands.done("PUT", f"/accounts/{account}/contacts/{contact}/notifications", on)
    assert await reminded_again() == ("sent", "preference")


async def test_an_unsubscription_outlives_the_link_and_the_address(both: Both, mails: MailServer) -> None:
    """Until the topic is turned on for the address again, which warns that its recipient had unsubscribed."""
    account, contact, invoice = await unsubscribed(both, mails)
    await announced(both.notifier)

    async def reminded_again() -> tuple[str, str]:
        await both.commands.done("POST", f"/records/{invoice}/remind", {"kind": "overdue"})
        await both.mail()
        row = (await both.notifier.ledger())[-1]
        return row["outcome"], row["reason"]

    other, pair = await both.commands.account(), f"/accounts/{account}/contacts/{contact}"
    for move in ((account, other), (other, account)):
        from_to = dict(zip(("from_account_id", "to_account_id"), map(str, move), strict=True))
        await both.commands.done("POST", f"/contacts/{contact}/transfer", from_to)
    assert await reminded_again() == ("nobody", "no_recipient")
    await both.commands.done("DELETE", f"/contacts/{contact}/emails/{await mailed_to(both.notifier)}")
    email = {"address": "anna@example.com", "primary": True}
    await both.commands.done("POST", f"/contacts/{contact}/emails", email)
    assert await reminded_again() == ("nobody", "no_recipient")
    on = await both.commands.done("PUT", f"{pair}/notifications", {"topics": {"invoice": True}})
    assert "unsubscribed" in [warning["code"] for warning in on["warnings"]]
    assert await reminded_again() == ("sent", "preference")


async def test_an_unsubscription_from_an_address_that_is_gone_holds_when_it_is_added_again(
    both: Both, mails: MailServer
) -> None:
    _, contact, invoice = await unsubscribed(both, mails)
    await both.commands.done("DELETE", f"/contacts/{contact}/emails/{await mailed_to(both.notifier)}")
    await announced(both.notifier)
    email = {"address": "anna@example.com", "primary": True}
    await both.commands.done("POST", f"/contacts/{contact}/emails", email)
    await both.commands.done("POST", f"/records/{invoice}/remind", {"kind": "overdue"})
    await both.mail()
    assert (await both.notifier.ledger())[-1]["reason"] == "no_recipient"


async def test_commands_whose_mail_cannot_arrive_say_so_until_the_address_is_released(
    both: Both, mails: MailServer
) -> None:
    account, contact = await linked(both.commands, "anna@example.com")
    overdue = {"type": "invoice", "account_id": str(account), "due": "2026-01-31"}
    invoice = (await both.commands.done("POST", "/records", overdue))["id"]

    async def remind() -> list[str]:
        answer = await both.commands.done("POST", f"/records/{invoice}/send", {"contact_ids": [str(contact)]})
        await both.mail()
        await announced(both.notifier)
        return [warning["code"] for warning in answer["warnings"]]

    mails.to_recipient["anna@example.com"] = ["550 5.1.1 unknown"]
    assert await remind() == []
    assert await remind() == ["address_suppressed"]
    invited = await both.commands.done("PUT", f"/accounts/{account}/contacts/{contact}/portal-access", {"login": True})
    assert [warning["code"] for warning in invited["warnings"]] == ["address_suppressed"]
    notification = (await both.notifier.ledger())[0]["id"]
    answer = await both.notifier.post(f"/v1/notifications/{notification}/release", both.commands.token)
    assert answer.json() == {"released": True}
    await announced(both.notifier)
    assert await remind() == []
    assert len(mails.mails("anna@example.com")) == 2


async def unsubscribed(both: Both, mails: MailServer) -> tuple[UUID, UUID, UUID]:
    """Remind of an invoice, and use the mail's link. Return the account, the contact and the invoice."""
    account, contact = await linked(both.commands, "anna@example.com")
    overdue = {"type": "invoice", "account_id": str(account), "due": "2026-01-31"}
    invoice = UUID((await both.commands.done("POST", "/records", overdue))["id"])
    await both.commands.done("POST", f"/records/{invoice}/remind", {"kind": "overdue"})
    await both.mail()
    link = re.search(r"https://notices\.vinculum\.example(/v1/unsubscribe/\S+)", text(mails, "anna@example.com"))
    assert link
    assert (await both.notifier.http.post(link.group(1))).status_code == 200
    return account, contact, invoice


async def mailed_to(notifier: Notifier) -> UUID:
    (email_id,) = {row["email_id"] for row in await notifier.ledger() if row["email_id"]}
    return email_id  # type: ignore[no-any-return]


ANSWERED = "SELECT NOT EXISTS (SELECT FROM announcement WHERE position IS NULL)"


async def announced(notifier: Notifier) -> None:
    """Have the command service told, until it has answered."""

    async def answered() -> bool:
        return bool(await notifier.pool.fetchval(ANSWERED))

    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(announce(notifier.settings, stop))
        await until(answered)
        stop.set()
