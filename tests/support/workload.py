"""Several tenants' commands, given over HTTP by those who don't give up until they are answered."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import httpx2

from support.history import Json, Operation
from support.system import System
from support.waiting import until
from vinculum_command.http.routes import PATH_FIELDS, ROUTES

PROFILES: Final = ("perfex", "taxdome", "zoho")
GIVERS: Final = 3  # a tenant's, at work at the same time
BATCH_LINES: Final = 8
AGAIN_SECONDS: Final = 0.1
FEATURES: Final = ("invoices", "estimates", "contracts", "proposals", "support", "projects")
ROUTE_OF: Final = {command.__name__: (route, PATH_FIELDS[command]) for route, command in reversed(ROUTES.items())}


@dataclass
class Firm:
    """A tenant, and what its givers of commands know to be there."""

    tenant: str
    profile: str
    admin_id: str
    accounts: list[str] = field(default_factory=list)
    contacts: dict[str, list[str]] = field(default_factory=dict)
    """With the ids of their addresses."""
    pairs: list[tuple[str, str]] = field(default_factory=list)
    """That were linked once."""
    invoices: list[str] = field(default_factory=list)


class Workload:
    def __init__(self, system: System, seed: int | str) -> None:
        self.system = system
        self.seed = seed
        self.firms: list[Firm] = []
        self.operations: list[Operation] = []
        self.acknowledged = 0

    @property
    def tenants(self) -> list[str]:
        return [firm.tenant for firm in self.firms]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Workload"]:
        """Have commands given until the block ends; those that were begun are seen through."""
        stop = asyncio.Event()
        async with self.system.http() as http, asyncio.TaskGroup() as givers:
            for profile in PROFILES:
                firm = await self.register(http, profile)
                for number in range(GIVERS):
                    chance = random.Random(f"{self.seed}:{profile}:{number}")  # noqa: S311  the same for the same seed
                    givers.create_task(self._give_until(stop, http, firm, chance))
            try:
                yield self
            finally:
                stop.set()

    async def more(self, count: int) -> None:
        """Wait until so many more commands are acknowledged."""
        goal = self.acknowledged + count

        async def reached() -> bool:
            return self.acknowledged >= goal

        await until(reached)

    async def register(self, http: httpx2.AsyncClient, profile: str, **fields: Any) -> Firm:
        firm = Firm(f"{profile}-{uuid4().hex[:8]}", profile, str(uuid4()))
        registration = {
            "tenant": firm.tenant,
            "name": f"Firm {firm.tenant}",
            "profile": profile,
            "portal_url": "https://portal.example.com",
            "admin": {"id": firm.admin_id, "name": "Ada", "email": "ada@example.com"},
            **fields,
        }
        await self.give(http, firm, "RegisterTenant", registration)
        self.firms.append(firm)
        return firm

    async def give(self, http: httpx2.AsyncClient, firm: Firm, command: str, fields: Json) -> Operation:
        """Give one command until it is decided."""
        operation = Operation(uuid4(), uuid4(), firm.tenant, command, fields)
        self.operations.append(operation)
        while operation.outcome == "info":
            await self._attempt(http, firm, operation)
        return operation

    async def give_together(
        self, http: httpx2.AsyncClient, firm: Firm, commands: list[tuple[str, Json]]
    ) -> list[Operation]:
        """Give commands as a batch, and again those of it that are not decided."""
        trace = uuid4()
        operations = [Operation(uuid4(), trace, firm.tenant, command, fields) for command, fields in commands]
        self.operations += operations
        while left := [operation for operation in operations if operation.outcome == "info"]:
            await self._attempt_together(http, firm, left)
        return operations

    async def _attempt(self, http: httpx2.AsyncClient, firm: Firm, operation: Operation) -> None:
        route, in_path = ROUTE_OF[operation.command]
        method, path = route.split(" ")
        body = {name: value for name, value in operation.fields.items() if name not in in_path}
        headers = self._headers(firm, operation.trace, operation.command) | {"Idempotency-Key": str(operation.key)}
        try:
            answer = await http.request(
                method, f"/v1{path.format_map(operation.fields)}", content=json.dumps(body), headers=headers
            )
            said = answer.json()
        except (httpx2.TransportError, json.JSONDecodeError):
            operation.unclear += 1
            await asyncio.sleep(AGAIN_SECONDS)
            return
        await self._decided(firm, operation, answer.status_code, said)

    async def _attempt_together(self, http: httpx2.AsyncClient, firm: Firm, operations: list[Operation]) -> None:
        lines = [
            json.dumps({"command": each.command, "idempotency_key": str(each.key), **each.fields})
            for each in operations
        ]
        left = list(operations)
        try:
            async with http.stream(
                "POST",
                "/v1/commands/batch",
                content="\n".join(lines),
                headers=self._headers(firm, operations[0].trace, ""),
            ) as answer:
                if answer.status_code == 200:
                    async for line in answer.aiter_lines():
                        said = json.loads(line)
                        await self._decided(firm, left.pop(0), said["status"], said)
        except (httpx2.TransportError, json.JSONDecodeError):
            await asyncio.sleep(AGAIN_SECONDS)
        for operation in left:
            operation.unclear += 1

    async def _decided(self, firm: Firm, operation: Operation, status: int, said: Json) -> None:
        """Note what was answered: done, refused, not taken on, or nobody knows."""
        if status in {200, 201}:
            operation.outcome, operation.answer = "ok", said
            self.acknowledged += 1
            LEARN.get(operation.command, nothing)(firm, operation.fields)
        elif status == 409 or codes(said) & {"contact_not_linked", "too_many_invitations"}:
            operation.outcome, operation.answer = "fail", said
        elif status == 429 or status >= 500:
            operation.unclear += status >= 500
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            raise AssertionError(f"A command that can't be given: {operation}: {said}")

    def _headers(self, firm: Firm, trace: UUID, command: str) -> dict[str, str]:
        if command == "RegisterTenant":
            bearer = {"Authorization": f"Bearer {self.system.token(kind='platform')}"}
        else:
            bearer = self.system.bearer(firm.tenant, firm.admin_id)
        return bearer | {"traceparent": f"00-{trace.hex}-{trace.hex[:16]}-01"}

    async def _give_until(
        self, stop: asyncio.Event, http: httpx2.AsyncClient, firm: Firm, chance: random.Random
    ) -> None:
        while not stop.is_set():
            if chance.random() < 0.2:
                await self.give_together(http, firm, [anything(firm, chance) for _ in range(BATCH_LINES)])
            else:
                await self.give(http, firm, *anything(firm, chance))


def nothing(_: Firm, __: Json) -> None:
    pass


def account_is_there(firm: Firm, fields: Json) -> None:
    firm.accounts.append(fields["id"])
    for contact in fields["new_contacts"]:
        firm.contacts[contact["id"]] = [email["id"] for email in contact["emails"]]
        firm.pairs.append((fields["id"], contact["id"]))


def contact_is_there(firm: Firm, fields: Json) -> None:
    firm.contacts[fields["id"]] = [email["id"] for email in fields["emails"]]
    firm.pairs += [(account["account_id"], fields["id"]) for account in fields["link_accounts"]]


def link_is_there(firm: Firm, fields: Json) -> None:
    firm.pairs.append((fields["account_id"], fields["contact_id"]))


def invoice_is_there(firm: Firm, fields: Json) -> None:
    firm.invoices.append(fields["id"])


LEARN: Final[dict[str, Callable[[Firm, Json], None]]] = {
    "CreateAccount": account_is_there,
    "CreateContact": contact_is_there,
    "PutLink": link_is_there,
    "CreateRecord": invoice_is_there,
}


def anything(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    """Return some command about something that is there, or that makes what isn't."""
    if len(firm.accounts) < 3 or chance.random() < 0.06:
        return "CreateAccount", a_new_account(chance)
    choices = [possible for possible, weight in POSSIBLE for _ in range(weight)]
    return chance.choice(choices)(firm, chance)


def an_id(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def a_new_contact(chance: random.Random) -> Json:
    id_ = an_id(chance)
    emails = [
        {"id": an_id(chance), "address": f"{number}-{id_}@example.com"} for number in range(chance.choice((1, 1, 2)))
    ]
    return {
        "id": id_,
        "first_name": f"Anna {id_[:4]}",
        "last_name": chance.choice(("Rossi", "Østby", "Wu")),
        "emails": emails,
    }


def a_new_account(chance: random.Random) -> Json:
    id_ = an_id(chance)
    contacts = [a_new_contact(chance) for _ in range(chance.choice((1, 2, 3)))]
    return {"id": id_, "name": f"Account {id_[:6]}", "new_contacts": contacts}


def a_pair(firm: Firm, chance: random.Random) -> Json:
    account_id, contact_id = chance.choice(firm.pairs)
    return {"account_id": account_id, "contact_id": contact_id}


def of_address(firm: Firm, chance: random.Random, pair: Json) -> Json:
    return pair | {"email_id": chance.choice(firm.contacts[pair["contact_id"]])}


def create_contact(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    links = [{"account_id": chance.choice(firm.accounts), "role": "clerk"}]
    return "CreateContact", a_new_contact(chance) | {"link_accounts": links}


def put_link(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    pair = {"account_id": chance.choice(firm.accounts), "contact_id": chance.choice(list(firm.contacts))}
    return "PutLink", pair | {"role": chance.choice(("owner", "clerk")), "job_title": an_id(chance)}


def unlink(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    return "UnlinkContact", a_pair(firm, chance) | {"comment": "gone"}


def transfer(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    account_id, contact_id = chance.choice(firm.pairs)
    to = chance.choice(firm.accounts)
    return "TransferContact", {"contact_id": contact_id, "from_account_id": account_id, "to_account_id": to}


def set_access(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    pair = a_pair(firm, chance)
    if firm.profile == "taxdome":  # elsewhere a contact has one login
        pair = of_address(firm, chance, pair)
    return "SetPortalAccess", pair | {"login": chance.random() < 0.7}


def set_permissions(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    features = [feature for feature in FEATURES if chance.random() < 0.6]
    return "SetPermissions", a_pair(firm, chance) | {"features": features}


def set_notifications(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    pair = a_pair(firm, chance)
    where = of_address(firm, chance, pair) if chance.random() < 0.3 else pair
    return "SetNotifications", where | {"topics": {"invoice": chance.random() < 0.8}}


def create_invoice(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    number = str(chance.randrange(10_000))
    invoice = {"type": "invoice", "account_id": chance.choice(firm.accounts), "number": number, "due": "2026-01-31"}
    return "CreateRecord", {"id": an_id(chance), **invoice}


def send_invoice(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    if not firm.invoices:
        return create_invoice(firm, chance)
    invoice = {"record_id": chance.choice(firm.invoices)}
    return ("SendRecord", invoice) if chance.random() < 0.6 else ("RemindRecord", invoice | {"kind": "overdue"})


def rename(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    return "ChangeAccount", {"account_id": chance.choice(firm.accounts), "name": f"Renamed {an_id(chance)[:6]}"}


def close(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    account = {"account_id": chance.choice(firm.accounts)}
    contact = {"contact_id": chance.choice(list(firm.contacts))}
    return chance.choice((("ArchiveAccount", account), ("DeactivateContact", contact)))


def reopen(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    account = {"account_id": chance.choice(firm.accounts)}
    contact = {"contact_id": chance.choice(list(firm.contacts))}
    return chance.choice((("RestoreAccount", account), ("ReactivateContact", contact)))


def change_address(firm: Firm, chance: random.Random) -> tuple[str, Json]:
    contact_id = chance.choice(list(firm.contacts))
    email_id = chance.choice(firm.contacts[contact_id])
    return "ChangeEmail", {"contact_id": contact_id, "email_id": email_id, "address": f"{an_id(chance)}@example.com"}


POSSIBLE: Final[tuple[tuple[Callable[[Firm, random.Random], tuple[str, Json]], int], ...]] = (
    (create_contact, 3),
    (put_link, 4),
    (unlink, 3),
    (transfer, 1),
    (set_access, 6),
    (set_permissions, 2),
    (set_notifications, 3),
    (create_invoice, 2),
    (send_invoice, 5),
    (rename, 2),
    (close, 1),
    (reopen, 2),
    (change_address, 1),
)


def codes(problem: Json) -> set[str]:
    """Return a problem's code, and those of its errors: a transfer names what isn't linked at its own field."""
    return {problem["code"], *(error["code"] for error in problem.get("errors", ()))}
