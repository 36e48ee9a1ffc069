"""A tenant of the running system and its admin, who gives commands, asks questions and looks into mailboxes."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import httpx2

from support.answers import checked
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack

Json = dict[str, Any]


@dataclass
class Tenant:
    stack: "Stack" = field(repr=False)
    id: str
    token: str = field(repr=False)
    position: int = 0
    """Of the last event that a command's answer told of: what is read has at least this one."""

    def address(self, name: str) -> str:
        """An address that no other tenant has."""
        return f"{name}@{self.id}.example.com"

    async def ask(
        self, method: str, path: str, body: Any = None, *, at: str = "command", token: str | None = None, **rest: Any
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token or self.token}", **rest.pop("headers", {})}
        url = f"{self.stack.services[at]}/v1{path}"
        answer = checked(at, await self.stack.http.request(method, url, json=body, headers=headers, **rest))
        if at == "command":
            self.position = max(self.position, int(answer.headers.get("Vinculum-Position", 0)))
        return answer

    # Commands

    async def done(self, method: str, path: str, body: Any = None, **rest: Any) -> Json:
        answer = await self.ask(method, path, body, **rest)
        assert answer.is_success, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def problem(self, method: str, path: str, body: Any = None, **rest: Any) -> Json:
        """Give the problem that the command is refused with."""
        answer = await self.ask(method, path, body, **rest)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def refused(self, method: str, path: str, body: Any = None, **rest: Any) -> tuple[int, str]:
        problem = await self.problem(method, path, body, **rest)
        return problem["status"], problem["code"]

    async def contact(self, name: str, *addresses: str, **fields: Any) -> str:
        first_name, _, last_name = name.partition(" ")
        body: Json = {"first_name": first_name, "emails": [{"address": address} for address in addresses], **fields}
        if last_name:
            body["last_name"] = last_name
        return str((await self.done("POST", "/contacts", body))["id"])

    async def account(self, name: str, *contact_ids: str, **fields: Any) -> str:
        """Make an account; where contacts are named, with links to them."""
        links = [{"contact_id": contact_id} for contact_id in contact_ids]
        return str((await self.done("POST", "/accounts", {"name": name, "link_contacts": links, **fields}))["id"])

    async def link(self, account_id: str, *contact_ids: str) -> Json:
        contacts = [{"contact_id": contact_id} for contact_id in contact_ids]
        return await self.done("POST", f"/accounts/{account_id}/contacts", {"contacts": contacts})

    async def unlink(self, account_id: str, contact_id: str) -> Json:
        return await self.done("POST", f"/accounts/{account_id}/contacts/{contact_id}/unlink")

    async def login(self, account_id: str, contact_id: str, *, on: bool = True, **fields: Any) -> Json:
        return await self.done("PUT", f"{link(account_id, contact_id)}/portal-access", {"login": on, **fields})

    async def notify(self, account_id: str, contact_id: str, **topics: bool) -> Json:
        return await self.done("PUT", f"{link(account_id, contact_id)}/notifications", {"topics": topics})

    async def invoice(self, account_id: str, **fields: Any) -> str:
        body = {"type": "invoice", "account_id": account_id, "number": "2026-001", **fields}
        return str((await self.done("POST", "/records", body))["id"])

    async def staff(self, *roles: str) -> str:
        """Add a staff user; give a token with their roles."""
        body = {"name": "Sam Staff", "email": self.address("sam"), "roles": roles}
        staff_id = (await self.done("POST", "/staff", body))["id"]
        return self.stack.token(tenant=self.id, sub=staff_id, roles=roles)

    async def enter(self, account_id: str, contact_id: str, address: str, **fields: Any) -> None:
        """Invite the contact, and accept by the token in the mail to their address."""
        await self.login(account_id, contact_id, **fields)
        token = invitation_token((await self.mails(address, "invitation"))[-1])
        await self.done("POST", "/invitations/accept", {"token": token})

    # Questions

    async def access(self, account_id: str, contact_id: str, **query: str) -> Json:
        params = {"account_id": account_id, "contact_id": contact_id, **query}
        return await self.done("GET", "/access", params=params)

    async def may_enter(self, account_id: str, contact_id: str, **query: str) -> bool:
        return (await self.access(account_id, contact_id, **query))["allowed"]  # type: ignore[no-any-return]

    async def log(self, **params: Any) -> list[Json]:
        answer = await self.ask("GET", "/log", params={"limit": 1000, **params})
        assert answer.status_code == 200, answer.text
        lines = [json.loads(line) for line in answer.text.splitlines()]
        return [line for line in lines if "checkpoint" not in line]

    async def known(self) -> None:
        """Wait until every service has heard of the tenant."""
        await self.items("/accounts")
        await self.ledger()

    async def read(self, path: str, **params: Any) -> Json:
        return await self._queried("projection", path, params)

    async def items(self, path: str, **params: Any) -> list[Json]:
        """Give the first page of a list."""
        return (await self.read(path, **params))["items"]  # type: ignore[no-any-return]

    async def contacts_of(self, account_id: str) -> list[str]:
        return [each["contact_id"] for each in await self.items(f"/accounts/{account_id}/contacts")]

    async def accounts_of(self, contact_id: str) -> list[str]:
        return [each["account_id"] for each in await self.items(f"/contacts/{contact_id}/accounts")]

    async def ledger(self, **filters: str) -> list[Json]:
        """Give the ledger's rows as they are now."""
        return (await self._queried("notifier", "/notifications", filters))["items"]  # type: ignore[no-any-return]

    async def notifications(self, **filters: str) -> list[Json]:
        """Give the ledger's rows, once each of them has its outcome."""
        found: list[Json] = []

        async def settled() -> bool:
            found[:] = await self.ledger(**filters)
            return all(row["outcome"] != "queued" for row in found)

        await until(settled)
        return found

    async def mails(self, address: str, topic: str | None = None, count: int = 1) -> list[EmailMessage]:
        """Wait for so many mails to the address; give all that there are."""

        async def delivered() -> bool:
            return len(self.stack.mailbox.to(address, topic)) >= count

        await until(delivered)
        return self.stack.mailbox.to(address, topic)

    async def _queried(self, service: str, path: str, params: Json) -> Json:
        """Ask at the position reached, until the service is there: on a busy machine it takes more than one wait."""
        answers: list[httpx2.Response] = []

        async def answered() -> bool:
            answers.append(await self.ask("GET", path, at=service, params={"min_position": self.position, **params}))
            return answers[-1].status_code not in (409, 503)

        await until(answered)
        assert answers[-1].status_code == 200, answers[-1].text
        return answers[-1].json()  # type: ignore[no-any-return]


def link(account_id: str, contact_id: str) -> str:
    return f"/accounts/{account_id}/contacts/{contact_id}"


def types(answer: Json) -> list[str]:
    return [event["type"] for event in answer["events"]]


def names(items: Iterable[Json]) -> list[str]:
    return [item["name"] for item in items]


def text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert isinstance(body, EmailMessage)
    return str(body.get_content())


def invitation_token(mail: EmailMessage) -> str:
    found = re.search(r"/accept#token=(\S+)", text(mail))
    assert found, text(mail)
    return found[1]
