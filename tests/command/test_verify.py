"""`verify` folds the log again, and finds what differs."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from support.commands import Store, event_store
from support.databases import as_admin
from support.waiting import until
from vinculum_command import reading
from vinculum_command.database import log_pool
from vinculum_command.domain.access import SetPortalAccess
from vinculum_command.domain.accounts import ArchiveAccount, CreateAccount
from vinculum_command.domain.heads.view import LINKS_AT_ONCE_MAX
from vinculum_command.domain.links import LinkContacts
from vinculum_command.verify import Findings, verify_tenant
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.links import PortalAccessChanged
from vinculum_shared.contracts.values import AccountId, ContactId

pytestmark = pytest.mark.integration


@pytest.fixture
async def store(postgres: str) -> AsyncIterator[Store]:
    async with event_store(postgres) as store:
        yield store


async def verified(store: Store, tenant: str) -> Findings:
    async with await log_pool(store.url, unsafe_durability=True) as pool, pool.acquire() as db:
        return await verify_tenant(db, tenant)


async def test_heads_equal_the_fold_of_the_log(store: Store) -> None:
    await store.register("acme", "perfex")
    account = await create(store, "acme")
    await store.give("acme", ArchiveAccount(account_id=account))
    findings = await verified(store, "acme")
    assert findings.good
    assert findings.events == 9


async def create(store: Store, tenant: str) -> AccountId:
    body = {"name": "A", "new_contacts": [{"first_name": n, "emails": [{"address": f"{n}@example.com"}]} for n in "bc"]}
    command = CreateAccount.model_validate(body)
    await store.give(tenant, command)
    return command.id


async def test_a_changed_head_and_a_missing_event_are_found(store: Store, postgres: str) -> None:
    await store.register("acme", "dynamics")
    account = await create(store, "acme")
    async with as_admin(postgres, store.url) as admin:
        await admin.execute("UPDATE heads SET state = '{}' WHERE key = $1", f"members/{account}")
        assert (await verified(store, "acme")).differing == [f"members/{account}"]
        await admin.execute("DELETE FROM events WHERE position = 5")
        assert (await verified(store, "acme")).gaps == [5]


async def test_a_hole_larger_than_one_look_is_told_position_by_position(
    store: Store, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SCANNED_MAX", 5)
    monkeypatch.setattr("vinculum_command.verify.PAGE", 3)
    await store.register("acme", "dynamics")
    await asyncio.gather(*(store.give("acme", CreateAccount(name=str(n))) for n in range(40)))
    async with as_admin(postgres, store.url) as admin:
        await admin.execute("DELETE FROM events WHERE position BETWEEN 10 AND 29")
    findings = await verified(store, "acme")
    assert findings.gaps == list(range(10, 30))
    assert len(findings.differing) == 20


async def test_what_is_too_large_for_one_commit_goes_on_in_others(store: Store) -> None:
    await store.register("acme", "zoho")
    account = await create(store, "acme")
    count = LINKS_AT_ONCE_MAX + 300
    contacts: list[ContactId] = []
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        new = {ContactId(uuid4()): f"{n}@example.com" for n in numbers}
        lines = [{"new_contact": {"id": id_, "emails": [{"address": address}]}} for id_, address in new.items()]
        await store.give("acme", LinkContacts.model_validate({"account_id": account, "contacts": lines}))
        contacts += new
    logins = [SetPortalAccess(account_id=account, contact_id=each, login=True) for each in contacts]
    await asyncio.gather(*(store.give("acme", each) for each in logins))
    await store.give("acme", ArchiveAccount(account_id=account))

    async def all_suspended() -> bool:
        return sum(suspends(event) for event in await store.log("acme")) == count

    await until(all_suspended)
    assert (await verified(store, "acme")).good
    log = await store.log("acme")
    (archived,) = [event for event in log if event.type == "AccountArchived"]
    first, last = [event for event in log if event.command_id == archived.command_id], log[-1]
    assert (first[-1].commit_size, first[-1].causation_id) == (LINKS_AT_ONCE_MAX + 1, None)
    assert (last.commit_size, last.causation_id, last.correlation_id) == (300, archived.command_id, archived.command_id)
    assert last.actor.kind == "system"


def suspends(event: Recorded[Event]) -> bool:
    return isinstance(event.data, PortalAccessChanged) and event.data.to == "suspended"
