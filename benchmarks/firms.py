"""Tenants with accounts and contacts that are not linked yet, and the commands that link them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from vinculum_command.database import appender_pool
from vinculum_command.domain.accounts import CreateAccount
from vinculum_command.domain.commands import Caller, Command, Order
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.links import PutLink
from vinculum_command.domain.tenants import RegisterTenant
from vinculum_command.execute import Executor
from vinculum_command.settings import Settings
from vinculum_shared.contracts.values import AccountId, ContactId

PLATFORM: Final = Caller(kind="platform", id="platform")
SERVICE: Final = Caller(kind="service", id="service", scopes=frozenset({"commands"}))
ROLE, JOB_TITLE = "Director", "Head of finance"
PROFILE: Final = "teamleader"  # any number of accounts for a contact, and of contacts for an account

Pair = tuple[AccountId, ContactId]


@dataclass(frozen=True)
class Firm:
    tenant: str
    pairs: Iterator[Pair]
    """Each account with each contact, once; neighbours have neither in common."""


@asynccontextmanager
async def executing(settings: Settings) -> AsyncIterator[Executor]:
    async with await appender_pool(settings.database_url, unsafe_durability=False) as appender:
        executor, stop = Executor(appender, settings.address_key.get_secret_value()), asyncio.Event()
        running = asyncio.create_task(executor.run(stop))
        try:
            yield executor
        finally:
            stop.set()
            await running


async def registered(executor: Executor, tenant: str, side: int) -> Firm:
    """Register a tenant with so many accounts and as many contacts."""
    admin = {"name": "Ada", "email": "ada@example.com"}
    fields = {"tenant": tenant, "name": tenant, "profile": PROFILE, "admin": admin}
    await executor.execute(order(tenant, RegisterTenant.model_validate(fields), PLATFORM))
    return await populated(executor, tenant, side)


async def populated(executor: Executor, tenant: str, side: int) -> Firm:
    """Add so many accounts and as many contacts."""
    accounts = await asyncio.gather(
        *(executor.execute(order(tenant, CreateAccount(name=f"Account {number}"))) for number in range(side))
    )
    contacts = await asyncio.gather(
        *(executor.execute(order(tenant, CreateContact(first_name=f"Contact {number}"))) for number in range(side))
    )
    return Firm(tenant, pairs([UUID(each.id) for each in accounts], [UUID(each.id) for each in contacts]))


def pairs(accounts: Sequence[UUID], contacts: Sequence[UUID]) -> Iterator[Pair]:
    for shift in range(len(contacts)):
        for number, account in enumerate(accounts):
            yield AccountId(account), ContactId(contacts[(number + shift) % len(contacts)])


def linking(*firms: Firm) -> Iterator[Order]:
    """Link fresh pairs, of each firm in turn."""
    for turn in zip(*(firm.pairs for firm in firms), strict=False):
        for firm, (account_id, contact_id) in zip(firms, turn, strict=True):
            command = PutLink(account_id=account_id, contact_id=contact_id, role=ROLE, job_title=JOB_TITLE)
            yield order(firm.tenant, command)
    raise RuntimeError("All pairs are linked: prepare more.")


def order(tenant: str, command: Command, caller: Caller = SERVICE) -> Order:
    return Order(tenant, command, caller, datetime.now(UTC))
