"""Rules that hold between commands hold when the commands come at the same time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

import httpx2
import pytest

from support.stack import Stack
from support.tenant import Tenant, link

pytestmark = [pytest.mark.acceptance]

ROUNDS: Final = 25
AT_ONCE: Final = 8  # rounds; each has its own account, so that rounds are in no other's way


async def rounds(play: Callable[[int], Awaitable[None]], number: int = ROUNDS) -> None:
    """Play so many rounds, a few of them side by side."""
    numbers = count()

    async def some() -> None:
        while (each := next(numbers)) < number:
            await play(each)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


def codes(answers: list[httpx2.Response]) -> list[Any]:
    return sorted(answer.json().get("code", "done") for answer in answers)


async def at_once(*requests: Awaitable[httpx2.Response]) -> list[httpx2.Response]:
    return list(await asyncio.gather(*requests))


async def batch(tenant: Tenant, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give commands, of which none may fail."""
    url, headers = f"{tenant.stack.command}/v1/commands/batch", {"Authorization": f"Bearer {tenant.token}"}
    answer = await tenant.stack.http.post(
        url, content="\n".join(json.dumps(line) for line in lines).encode(), headers=headers
    )
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert {each["status"] for each in answers} <= {200, 201}, answers
    return answers


async def test_of_two_unlinks_of_the_last_two_contacts_one_is_refused(stack: Stack) -> None:
    firm = await stack.tenant("taxdome")

    async def play(_: int) -> None:
        members = [await firm.contact("Ada"), await firm.contact("Charles")]
        account = await firm.account("Engines", *members)
        answers = await at_once(*(firm.ask("DELETE", link(account, each)) for each in members))
        assert codes(answers) == ["done", "last_contact"]
        stays = [each for each, answer in zip(members, answers, strict=True) if answer.status_code == 409]
        assert await firm.contacts_of(account) == stays

    await rounds(play)


async def test_of_two_links_of_a_contact_that_may_have_one_account_one_wins(stack: Stack) -> None:
    sales = await stack.tenant("dynamics")
    first, second = await sales.account("First"), await sales.account("Second")

    async def play(_: int) -> None:
        contact = await sales.contact("Ana")
        answers = await at_once(*(sales.ask("PUT", link(account, contact)) for account in (first, second)))
        assert codes(answers) == ["contact_already_linked", "done"]
        (refused,) = [answer for answer in answers if answer.status_code == 409]
        assert await sales.accounts_of(contact) == [refused.json()["account_id"]]

    await rounds(play)


async def test_a_link_and_an_archiving_leave_no_way_in_whichever_comes_first(stack: Stack) -> None:
    sales = await stack.tenant("dynamics")

    async def play(_: int) -> None:
        account, contact = await sales.account("Contoso"), await sales.contact("Ana")
        linked, archived = await at_once(
            sales.ask("PUT", link(account, contact)), sales.ask("POST", f"/accounts/{account}/archive")
        )
        assert archived.status_code == 200
        assert codes([linked]) in (["done"], ["account_archived"])
        access = await sales.access(account, contact)
        assert access["allowed"] is False
        if linked.status_code == 201:
            assert linked.json()["position"] < archived.json()["position"]
        else:
            assert access["code"] == "contact_not_linked"

    await rounds(play)


async def test_a_grant_never_slips_past_an_archiving(stack: Stack) -> None:
    sales = await stack.tenant("dynamics")

    async def play(number: int) -> None:
        account = await sales.account("Contoso")
        contact = await sales.contact("Ana", sales.address("ana"), link_accounts=[{"account_id": account}])
        granted, archived = await at_once(
            sales.ask("PUT", f"{link(account, contact)}/portal-access", {"login": True}),
            sales.ask("POST", f"/accounts/{account}/archive"),
        )
        assert archived.status_code == 200
        assert codes([granted]) in (["done"], ["account_archived"])
        assert (await sales.access(account, contact))["allowed"] is False

    await rounds(play)


async def test_a_grant_never_slips_past_an_unlink(stack: Stack) -> None:
    """200 rounds: whichever is first, the contact is out afterwards, and the log says so in that order."""
    sales = await stack.tenant("dynamics")
    lines: list[dict[str, Any]] = [{"command": "CreateAccount", "name": f"Account {n}"} for n in range(200)]
    accounts = [answer["id"] for answer in await batch(sales, lines)]
    lines = [
        {
            "command": "CreateContact",
            "first_name": "Ana",
            "emails": [{"address": sales.address(f"ana{n}")}],
            "link_accounts": [{"account_id": account}],
        }
        for n, account in enumerate(accounts)
    ]
    contacts = [answer["id"] for answer in await batch(sales, lines)]
    granted_first = 0

    async def play(number: int) -> None:
        nonlocal granted_first
        account, contact = accounts[number], contacts[number]
        grant = sales.ask("PUT", f"{link(account, contact)}/portal-access", {"login": True})
        unlink = sales.ask("POST", f"{link(account, contact)}/unlink")
        granted, unlinked = await at_once(*((grant, unlink) if number % 2 else (unlink, grant)))
        if not number % 2:
            granted, unlinked = unlinked, granted
        assert unlinked.status_code == 200
        assert codes([granted]) in (["done"], ["contact_not_linked"])
        granted_first += granted.status_code == 200
        access = await sales.access(account, contact)
        assert (access["allowed"], access["state"], access["code"]) == (False, "off", "contact_not_linked")

    await rounds(play, 200)
    state: dict[str, str] = {}
    after = 0
    while events := await sales.log(after=after):
        after = events[-1]["position"]
        for event in events:
            if event["type"] == "vinculum.portal_access_changed.v1":
                assert state.get(event["subject"], "off") == event["data"]["from"]
                state[event["subject"]] = event["data"]["to"]
    assert list(state.values()) == ["off"] * granted_first


async def test_one_key_sent_three_times_at_once_is_one_command(stack: Stack) -> None:
    sales = await stack.tenant("dynamics")

    async def play(number: int) -> None:
        key = {"Idempotency-Key": f"key-{number}"}
        answers = await at_once(*(sales.ask("POST", "/accounts", {"name": "Once"}, headers=key) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.text for answer in answers}) == 1
        assert [answer.headers.get("idempotency-replayed") for answer in answers].count("true") == 2

    await rounds(play)
    created = await sales.log(types="AccountCreated")
    assert len(created) == ROUNDS
