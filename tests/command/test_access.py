"""Who may enter, and what every change takes away or gives back."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from support.service import Service
from support.waiting import until
from vinculum_command.domain.access import INVITATIONS_A_DAY
from vinculum_shared.http.readers import AT_ONCE
from vinculum_shared.signed import Invitation

pytestmark = pytest.mark.integration


async def linked(firm: Service, *addresses: str) -> tuple[UUID, UUID]:
    contact = await firm.contact(*addresses or ("bo@example.com",))
    account = await firm.account(link_contacts=[{"contact_id": contact}], new_contacts=[{"first_name": "Other"}])
    return account, contact


async def log_in(firm: Service, account: UUID, contact: UUID, **body: Any) -> str:
    path = f"/accounts/{account}/contacts/{contact}/portal-access"
    await firm.done("PUT", path, {"login": True, **body})
    return await token_of(firm, contact)


async def token_of(firm: Service, contact: UUID) -> str:
    """The token that the notifier would write for the newest invitation."""
    params = {"types": "PortalAccessChanged", "contact_id": str(contact), "limit": "1000"}
    answer = await firm.ask("GET", "/log", params=params)
    lines = [line for line in map(json.loads, answer.text.splitlines()) if "data" in line]
    data = [line["data"] for line in lines if line["data"]["to"] == "invited"][-1]
    invitation = Invitation(
        tenant=firm.tenant,
        account_id=data["account_id"],
        contact_id=data["contact_id"],
        email_id=data["email_id"],
        address_hash=data["address_hash"],
        invitation_id=data["invitation_id"],
        expires_at=datetime.now(UTC) + timedelta(hours=48),
    )
    return invitation.token(firm.settings.invitation_key)


async def accepted(firm: Service, account: UUID, contact: UUID) -> None:
    token = await log_in(firm, account, contact)
    assert (await firm.done("POST", "/invitations/accept", {"token": token}))["state"] == "active"


async def changes(answer: dict[str, Any]) -> list[str]:
    return [event["type"] for event in answer["events"]]


async def test_login_is_invited_then_active_and_the_reason_is_there_to_read(service: Service) -> None:
    firm = await service.register("taxdome")
    account, contact = await linked(firm)
    assert (await firm.access(account, contact))["state"] == "off"
    token = await log_in(firm, account, contact)
    assert (await firm.access(account, contact))["code"] == "access_invited"
    answer = await firm.done("POST", "/invitations/accept", {"token": token})
    assert answer["account_id"] == str(account)
    assert await changes(answer) == ["PortalAccessChanged"]
    again = await firm.done("POST", "/invitations/accept", {"token": token})
    assert again == answer | {"events": []}
    assert (again["contact_id"], again["state"]) == (str(contact), "active")
    access = await firm.access(account, contact)
    assert (access["allowed"], access["state"]) == (True, "active")
    assert [event["type"] for event in access["because"]] == ["ContactLinked", "PortalAccessChanged"]


async def test_an_unlink_takes_access_away_in_the_same_commit_and_from_that_account_only(service: Service) -> None:
    firm = await service.register("taxdome")
    account, contact = await linked(firm)
    other = await firm.account(link_contacts=[{"contact_id": contact}])
    await accepted(firm, account, contact)
    path = f"/accounts/{other}/contacts/{contact}/portal-access"
    assert await changes(await firm.done("PUT", path, {"login": True})) == ["PortalAccessChanged"]
    assert (await firm.access(other, contact))["state"] == "active"
    answer = await firm.done("DELETE", f"/accounts/{account}/contacts/{contact}")
    assert await changes(answer) == ["ContactUnlinked", "PortalAccessChanged"]
    denied = await firm.access(account, contact)
    assert (denied["allowed"], denied["code"]) == (False, "contact_not_linked")
    assert [event["type"] for event in denied["because"]] == ["ContactUnlinked", "PortalAccessChanged"]
    assert (await firm.access(other, contact))["allowed"] is True
    await firm.done("PUT", f"/accounts/{account}/contacts/{contact}")
    assert (await firm.access(account, contact))["state"] == "off"


async def test_archive_suspends_and_restore_gives_back_as_it_was(service: Service) -> None:
    firm = await service.register("taxdome")
    account, contact = await linked(firm)
    invited = await firm.contact("c@example.com")
    await firm.done("PUT", f"/accounts/{account}/contacts/{invited}")
    await accepted(firm, account, contact)
    old = await log_in(firm, account, invited)
    answer = await firm.done("POST", f"/accounts/{account}/archive")
    assert await changes(answer) == ["AccountArchived", "PortalAccessChanged", "PortalAccessChanged"]
    assert (await firm.access(account, contact))["code"] == "account_archived"
    assert (await firm.done("POST", f"/accounts/{account}/archive"))["events"] == []
    assert await firm.refused("PUT", f"/accounts/{account}/contacts/{await firm.contact()}") == (
        409,
        "account_archived",
    )
    await firm.done("POST", f"/contacts/{contact}/deactivate")
    await firm.done("POST", f"/accounts/{account}/restore")
    assert (await firm.access(account, contact))["code"] == "contact_inactive"
    assert (await firm.access(account, invited))["state"] == "invited"
    assert await firm.refused("POST", "/invitations/accept", {"token": old}) == (410, "invitation_invalid")
    await firm.done("POST", "/invitations/accept", {"token": await token_of(firm, invited)})
    await firm.done("POST", f"/contacts/{contact}/reactivate")
    assert (await firm.access(account, contact))["allowed"] is True


async def test_a_changed_address_is_invited_anew_and_its_old_token_is_dead(service: Service) -> None:
    firm = await service.register("taxdome")
    account, contact = await linked(firm)
    old = await log_in(firm, account, contact)
    email = (await firm.done("POST", f"/contacts/{contact}/emails", {"address": "second@example.com"}))["id"]
    params = {"types": "ContactCreated", "contact_id": str(contact)}
    created = (await firm.ask("GET", "/log", params=params)).text.splitlines()[0]
    first = json.loads(created)["data"]["emails"][0]["email_id"]
    answer = await firm.done("PATCH", f"/contacts/{contact}/emails/{first}", {"address": "new@example.com"})
    assert await changes(answer) == ["EmailChanged", "PortalAccessChanged"]
    assert await firm.refused("POST", "/invitations/accept", {"token": old}) == (410, "invitation_invalid")
    await firm.done("POST", "/invitations/accept", {"token": await token_of(firm, contact)})
    answer = await firm.done("PATCH", f"/contacts/{contact}/emails/{first}", {"address": "other@example.com"})
    assert (await firm.access(account, contact))["state"] == "invited"
    path = f"/accounts/{account}/contacts/{contact}/portal-access"
    assert await firm.refused("PUT", path, {"login": True}) == (422, "invalid")
    await firm.done("PUT", path, {"login": True, "email_id": email})
    assert (await firm.access(account, contact, email_id=email))["state"] == "invited"
    answer = await firm.done("DELETE", f"/contacts/{contact}/emails/{first}")
    assert await changes(answer) == ["EmailRemoved", "EmailChanged", "PortalAccessChanged"]


async def test_an_address_is_invited_five_times_a_day(service: Service) -> None:
    firm = await service.register("taxdome")
    account, contact = await linked(firm)
    path = f"/accounts/{account}/contacts/{contact}/portal-access"
    for _ in range(INVITATIONS_A_DAY):
        await firm.done("PUT", path, {"login": True})
        pending = await firm.done("PUT", path, {"login": True})
        assert (pending["events"], pending["warnings"][0]["code"]) == ([], "invitation_pending")
        await firm.done("PUT", path, {"login": False})
    answer = await firm.ask("PUT", path, {"login": True})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_invitations")
    assert 86_000 < int(answer.headers["retry-after"]) <= 86_400


async def test_no_address_no_login_and_no_portal_no_login(service: Service) -> None:
    firm = await service.register("taxdome")
    contact = await firm.contact()
    account = await firm.account(link_contacts=[{"contact_id": contact}])
    path = f"/accounts/{account}/contacts/{contact}/portal-access"
    assert await firm.refused("PUT", path, {"login": True}) == (409, "email_required")
    firm = await service.register("teamleader")
    account, contact = await linked(firm)
    path = f"/accounts/{account}/contacts/{contact}/portal-access"
    assert await firm.refused("PUT", path, {"login": True}) == (409, "portal_disabled")
    firm = await service.register("zoho", portal_url=None)
    account, contact = await linked(firm)
    path = f"/accounts/{account}/contacts/{contact}/portal-access"
    assert await firm.refused("PUT", path, {"login": True}) == (409, "portal_url_missing")


async def test_a_grant_against_an_unlink_never_leaves_access_without_a_link(service: Service) -> None:
    firm = await service.register("dynamics")
    account = await firm.account()
    for number in range(200):
        if number % INVITATIONS_A_DAY == 0:
            contact = await firm.contact("bo@example.com")
        path = f"/accounts/{account}/contacts/{contact}"
        await firm.done("PUT", path)
        await asyncio.gather(firm.ask("PUT", f"{path}/portal-access", {"login": True}), firm.ask("DELETE", path))
        assert (await firm.access(account, contact))["state"] == "off"


async def test_what_took_access_away_is_the_reason(service: Service) -> None:
    firm = await service.register("taxdome")
    account, contact = await linked(firm)
    await accepted(firm, account, contact)
    await firm.done("PUT", f"/accounts/{account}/contacts/{contact}/portal-access", {"login": False})
    denied = await firm.access(account, contact)
    assert (denied["code"], [event["type"] for event in denied["because"]]) == (
        "access_off",
        ["ContactLinked", "PortalAccessChanged"],
    )


async def test_accepting_is_a_command_like_any_other(service: Service) -> None:
    firm = await service.register("taxdome")
    account, contact = await linked(firm)
    token = {"token": await log_in(firm, account, contact)}
    tried = await firm.ask("POST", "/invitations/accept", token, token="x", params={"dry_run": "true"})
    assert [(event["type"], event["position"]) for event in tried.json()["events"]] == [("PortalAccessChanged", None)]
    assert (await firm.access(account, contact))["state"] == "invited"
    stale: dict[str, Any] = {"headers": {"If-Match": '"1"'}}
    assert await firm.refused("POST", "/invitations/accept", token, **stale) == (412, "version_mismatch")
    key: dict[str, Any] = {"headers": {"Idempotency-Key": "k"}}
    first, second = [await firm.ask("POST", "/invitations/accept", token, token="x", **key) for _ in range(2)]
    assert len(first.json()["events"]) == 1
    assert (second.status_code, second.json()) == (200, first.json())
    assert second.headers["idempotency-replayed"] == "true"
    assert await firm.refused("POST", "/invitations/accept", {"token": "", "x": 1}) == (422, "unknown_field")
    (line,) = await firm.batch({"command": "AcceptInvitation", **token})
    assert (line["status"], line["errors"][0]["code"]) == (422, "unknown_command")


async def test_forged_invitations_are_gone(service: Service) -> None:
    for token in ("", "a.b", "ä.ö", str(uuid4())):
        assert await service.refused("POST", "/invitations/accept", {"token": token}, token="x") == (
            410,
            "invitation_invalid",
        )


async def test_one_tenant_s_questions_do_not_keep_another_one_s_waiting(service: Service, postgres: str) -> None:
    one, other = await service.register("dynamics"), await service.register("dynamics")
    database = urlsplit(service.settings.database_url.get_secret_value()).path.removeprefix("/")
    locking, looking = [await asyncpg.connect(postgres, database=database) for _ in range(2)]

    async def asked_of_postgres(count: int) -> None:
        await until(lambda: looking.fetchval(ASKING, count))

    try:
        async with asyncio.TaskGroup() as asking, locking.transaction():
            await locking.execute("LOCK TABLE heads")
            for _ in range(10):
                asking.create_task(one.ask("GET", "/policy"))
            await asked_of_postgres(AT_ONCE)
            asking.create_task(other.ask("GET", "/policy"))
            await asked_of_postgres(AT_ONCE + 1)
    finally:
        await locking.close()
        await looking.close()


ASKING = """
    SELECT count(*) = $1 FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'vinculum-command-read' AND wait_event_type = 'Lock'"""
