"""Commands, given together or against one another, on a real Postgres."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from support.commands import Store, event_store
from vinculum_command.domain.accounts import ArchiveAccount, CreateAccount
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.links import PutLink, UnlinkContact
from vinculum_command.domain.rejections import ContactAlreadyLinked, ContactRequired
from vinculum_command.outcomes import Answer, IdempotencyKeyReused
from vinculum_shared.contracts.values import AccountId, ContactId


def new_account() -> AccountId:
    return AccountId(uuid4())


def new_contact() -> ContactId:
    return ContactId(uuid4())


pytestmark = pytest.mark.integration


@pytest.fixture
async def store(postgres: str) -> AsyncIterator[Store]:
    async with event_store(postgres) as store:
        yield store


def types(answer: Answer) -> list[str]:
    return [type_ for _, type_, _ in answer.events]


async def test_an_account_and_its_contacts_are_one_commit(store: Store) -> None:
    await store.register("acme", "taxdome")
    answer = await store.give(
        "acme", CreateAccount.model_validate({"name": "A", "new_contacts": [{"first_name": "B"}, {"first_name": "C"}]})
    )
    assert types(answer) == ["AccountCreated", "ContactCreated", "ContactLinked", "ContactCreated", "ContactLinked"]
    assert [position for *_, position in answer.events] == [4, 5, 6, 7, 8]
    assert answer.status == 201
    log = await store.log("acme")
    assert [e.position for e in log] == list(range(1, 9))
    assert [(e.commit_index, e.commit_size) for e in log[3:]] == [(n, 5) for n in range(1, 6)]
    with pytest.raises(ContactRequired):
        await store.give("acme", CreateAccount(name="B"))


async def test_of_two_unlinks_of_the_last_two_contacts_one_is_refused(store: Store) -> None:
    await store.register("acme", "taxdome")
    for _ in range(20):
        a, b, c = new_account(), new_contact(), new_contact()
        await store.give(
            "acme", CreateAccount.model_validate({"id": a, "name": "A", "new_contacts": [{"id": b}, {"id": c}]})
        )
        results = await asyncio.gather(
            store.give("acme", UnlinkContact(account_id=a, contact_id=b)),
            store.give("acme", UnlinkContact(account_id=a, contact_id=c)),
            return_exceptions=True,
        )
        assert sorted(type(r).__name__ for r in results) == ["Answer", "LastContact"]


async def test_the_same_key_sent_at_once_has_one_effect(store: Store) -> None:
    await store.register("acme", "dynamics")
    command = CreateAccount(name="A")
    answers = await asyncio.gather(*(store.give("acme", CreateAccount(name="A"), "k") for _ in range(3)))
    assert len({a.id for a in answers}) == 1
    assert sorted(a.replayed for a in answers) == [False, True, True]
    with pytest.raises(IdempotencyKeyReused):
        await store.give("acme", CreateAccount(name="B"), "k")
    assert command.name == "A"
    assert len(await store.log("acme")) == 4


async def test_many_commands_at_once(store: Store) -> None:
    await store.register("acme", "dynamics")
    await store.register("other", "taxdome")
    contacts = [new_contact() for _ in range(50)]
    await asyncio.gather(*(store.give("acme", CreateContact(id=c)) for c in contacts))
    accounts = [new_account() for _ in range(50)]
    await asyncio.gather(*(store.give("acme", CreateAccount(id=a, name="x")) for a in accounts))
    rs = await asyncio.gather(
        *(store.give("acme", PutLink(account_id=a, contact_id=c)) for c in contacts for a in accounts[:2]),
        return_exceptions=True,
    )
    assert sum(isinstance(r, ContactAlreadyLinked) for r in rs) == 50
    log = await store.log("acme")
    assert [e.position for e in log] == list(range(1, len(log) + 1))
    await store.give("acme", ArchiveAccount(account_id=accounts[0]))
