"""Commands, given together or against one another, by one process or by two, on a real Postgres."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import JsonValue

from support.commands import SERVICE, Store, event_store, executing
from support.databases import as_admin
from support.waiting import until
from vinculum_command.domain.accounts import ArchiveAccount, ChangeAccount, CreateAccount, RestoreAccount
from vinculum_command.domain.commands import Order
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.links import PutLink, UnlinkContact
from vinculum_command.domain.rejections import ContactAlreadyLinked, ContactRequired
from vinculum_command.domain.tenants import ChangePolicy
from vinculum_command.execute import QueueFull
from vinculum_command.outcomes import Answer, IdempotencyKeyReused, Waiting
from vinculum_shared import failpoints
from vinculum_shared.contracts.links import ContactLinked
from vinculum_shared.contracts.values import AccountId, ContactId
from vinculum_shared.problems import Unavailable


def new_account() -> AccountId:
    return AccountId(uuid4())


def new_contact() -> ContactId:
    return ContactId(uuid4())


pytestmark = pytest.mark.integration

STALLED_SECONDS: Final = 0.2  # where it takes long to decide a large command, ten of them take a second
MOST_IN_A_COMMIT: Final = """
    SELECT max(count) FROM (SELECT count(*) FROM events WHERE type = 'AccountChanged' GROUP BY xmin::text)"""
WAITED_FOR: Final = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"""


@pytest.fixture
async def store(postgres: str) -> AsyncIterator[Store]:
    async with event_store(postgres) as store:
        yield store


@pytest.fixture
async def other(store: Store) -> AsyncIterator[Store]:
    """Another process on the same database."""
    async with executing(store.url) as other:
        yield other


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
    answers = await asyncio.gather(*(store.give("acme", CreateAccount(name="A"), "k") for _ in range(3)))
    assert len({a.id for a in answers}) == 1
    assert sorted(a.replayed for a in answers) == [False, True, True]
    with pytest.raises(IdempotencyKeyReused):
        await store.give("acme", CreateAccount(name="B"), "k")
    assert len(await store.log("acme")) == 4


async def test_what_is_repeated_in_the_same_group_has_the_same_answer(store: Store) -> None:
    """Though it was decided upon what the first one moved, and would be refused: its id is taken by then."""
    await store.register("acme", "dynamics")
    account = new_account()
    answers = await asyncio.gather(*(store.give("acme", CreateAccount(id=account, name="A"), "k") for _ in range(3)))
    assert {(a.status, a.id, a.events) for a in answers} == {(201, str(account), answers[0].events)}
    assert sorted(a.replayed for a in answers) == [False, True, True]
    assert len(await store.log("acme")) == 4


async def test_a_clock_that_was_ahead_is_ahead_for_its_own_tenant_alone(store: Store, postgres: str) -> None:
    for tenant in ("acme", "bolt"):
        await store.register(tenant, "dynamics")
    async with as_admin(postgres, store.url) as admin:
        turn = """
            UPDATE tenants SET last_recorded_at = now() + interval '2 hours' WHERE tenant = $1
            RETURNING last_recorded_at"""
        ahead = await admin.fetchval(turn, "acme")
    await asyncio.gather(*(store.give(tenant, CreateAccount(name="A")) for tenant in ("acme", "bolt")))
    assert (await store.log("acme"))[-1].recorded_at == ahead
    assert (await store.log("bolt"))[-1].recorded_at < ahead


async def test_positions_have_no_holes_and_each_contact_one_account_under_concurrency(
    store: Store, other: Store
) -> None:
    await store.register("acme", "dynamics")
    contacts, accounts = [new_contact() for _ in range(50)], [new_account() for _ in range(50)]
    await asyncio.gather(*(store.give("acme", CreateContact(id=c)) for c in contacts))
    await asyncio.gather(*(store.give("acme", CreateAccount(id=a, name="x")) for a in accounts))
    results = await asyncio.gather(
        *(
            process.give("acme", PutLink(account_id=a, contact_id=c))
            for c in contacts
            for process, a in zip((store, other), accounts[:2], strict=True)
        ),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in results) == ["Answer"] * 50 + ["ContactAlreadyLinked"] * 50
    log = await store.log("acme")
    assert [event.position for event in log] == list(range(1, len(log) + 1))
    linked = [event.data.contact_id for event in log if isinstance(event.data, ContactLinked)]
    assert sorted(linked) == sorted(contacts)


async def test_what_another_process_has_changed_since_it_was_read_is_read_again(store: Store, other: Store) -> None:
    """Also what the command itself doesn't change: the policy."""
    await store.register("acme", "teamleader")
    one, another, contact = new_account(), new_account(), new_contact()
    await store.give("acme", CreateContact(id=contact))
    for account in (one, another):
        await store.give("acme", CreateAccount(id=account, name="A"))
    await store.give("acme", PutLink(account_id=one, contact_id=contact))
    await other.give("acme", ChangePolicy(profile="zoho", overrides={}))
    with pytest.raises(ContactAlreadyLinked):
        await store.give("acme", PutLink(account_id=another, contact_id=contact))


async def test_a_command_whose_heads_move_all_the_time_is_carried_out(
    store: Store, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session moves the policy before every append, unless the tenant's row is locked."""
    await store.register("acme", "dynamics")
    moved: list[bool] = []

    async def move() -> bool:
        async with as_admin(postgres, store.url) as admin, admin.transaction():
            await admin.execute("SET LOCAL lock_timeout = '500ms'")
            try:
                await admin.execute("SELECT FROM tenants WHERE tenant = 'acme' FOR UPDATE")
            except asyncpg.LockNotAvailableError:
                return False
            await admin.execute("UPDATE heads SET token = gen_random_uuid() WHERE key = 'policy'")
            return True

    def reach(name: str) -> None:
        if name == "execute.before_append":
            with ThreadPoolExecutor() as thread:
                moved.append(thread.submit(asyncio.run, move()).result())

    monkeypatch.setattr(failpoints, "reach", reach)
    assert (await store.give("acme", CreateAccount(name="A"))).status == 201
    assert moved == [True, True, False]


async def test_the_same_key_has_the_same_answer_from_another_process(store: Store, other: Store) -> None:
    """Though what it made stands in the way of making it."""
    await store.register("acme", "dynamics")
    command = CreateAccount(id=new_account(), name="A")
    first = await store.give("acme", command, "k")
    again = await other.give("acme", command, "k")
    assert (again.id, again.position, again.replayed) == (first.id, first.position, True)
    once_more = await store.give("acme", command, "k")
    assert once_more.replayed


async def overtakable(store: Store, postgres: str, key: str | None = None) -> list[Waiting]:
    """Give two commands of a tenant, of which the first is written late: its group waits for another tenant's row."""
    async with held(store, postgres) as admin:
        slow = store.submit("acme", CreateAccount(name="A"))
        first, second = [store.submit("bolt", CreateAccount(name=name), key) for name in ("B", "C")]
        await until(lambda: admin.fetchval(WAITED_FOR))
        await asyncio.wait([second.answer], timeout=0.5)
    await asyncio.wait([each.answer for each in (slow, first, second)])
    return [first, second]


@asynccontextmanager
async def held(store: Store, postgres: str) -> AsyncIterator[asyncpg.Connection]:
    """Hold the row of the first of two tenants from outside: until the end of the block nothing is appended to it."""
    for tenant in ("acme", "bolt"):
        await store.register(tenant, "dynamics")
    async with as_admin(postgres, store.url) as admin, admin.transaction():
        await admin.execute("SELECT FROM tenants WHERE tenant = 'acme' FOR UPDATE")
        yield admin


async def test_commands_commit_in_the_order_in_which_they_came(store: Store, postgres: str) -> None:
    """Also those that have no head in common."""
    first, second = await overtakable(store, postgres)
    assert (first.answer.result().position, second.answer.result().position) == (4, 5)


async def test_the_next_group_is_sent_before_callers_are_answered(
    store: Store, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise Postgres would idle while they give their next commands."""
    steps: list[str] = []
    async with held(store, postgres) as admin:
        monkeypatch.setattr(failpoints, "reach", steps.append)
        first = store.submit("acme", CreateAccount(name="A"))
        first.answer.add_done_callback(lambda _: steps.append("answered"))
        await until(lambda: admin.fetchval(WAITED_FOR))
        tasks = len(asyncio.all_tasks())
        second = store.submit("acme", CreateAccount(name="B"))

        async def decided() -> bool:
            return len(asyncio.all_tasks()) > tasks  # one waits for the first group to be written

        await until(decided)
    await asyncio.wait([first.answer, second.answer])
    assert steps[:4] == ["execute.before_append", "execute.after_append", "execute.before_append", "answered"]


async def test_of_two_commands_with_one_key_the_first_wins(store: Store, postgres: str) -> None:
    first, second = await overtakable(store, postgres, "k")
    assert first.answer.result().position == 4
    assert isinstance(second.answer.exception(), IdempotencyKeyReused)


async def test_an_executor_that_fails_answers_whoever_waits_and_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had in hand may have been carried out; the same key tells."""
    await store.register("acme", "dynamics")
    account_id = new_account()
    monkeypatch.setattr(failpoints, "reach", failpoints.armed("execute.after_append=raise"))
    with pytest.raises(Unavailable):
        await store.give("acme", CreateAccount(id=account_id, name="A"), key="k")
    answer = await store.give("acme", CreateAccount(id=account_id, name="A"), key="k")
    assert answer.id == str(account_id)
    assert [event.position for event in await store.log("acme")] == [1, 2, 3, 4]


def large_account(contacts: int = 150) -> CreateAccount:
    addresses = ([{"address": f"{n}.{m}@example.com"} for m in range(3)] for n in range(contacts))
    return CreateAccount.model_validate({"name": "A", "new_contacts": [{"emails": emails} for emails in addresses]})


async def test_a_small_command_does_not_wait_until_another_tenant_s_large_one_is_written(
    store: Store, postgres: str
) -> None:
    async with held(store, postgres) as admin:
        large = store.submit("acme", large_account())
        await until(lambda: admin.fetchval(WAITED_FOR))
        for _ in range(3):
            await store.give("bolt", CreateAccount(name="B"))
        assert not large.answer.done()
    assert len((await large.answer).events) == 301


async def test_a_tenant_past_its_limit_is_refused_alone(store: Store, postgres: str) -> None:
    async with held(store, postgres):
        orders = [Order("acme", CreateAccount(name="A"), SERVICE, datetime.now(UTC)) for _ in range(3)]
        waiting = [store.executor.submit(order, size=2**20) for order in orders]
        with pytest.raises(QueueFull):
            await store.give("acme", CreateAccount(name="A"))
        await store.give("bolt", CreateAccount(name="B"))
    await asyncio.gather(*(each.answer for each in waiting))


async def test_a_large_command_that_did_not_look_large_is_carried_out_as_one(store: Store) -> None:
    """Its size is seen when its links are counted, or when it has more events than one that waits with others may."""
    await store.register("acme", "perfex")
    command = large_account(40)
    await store.give("acme", command)
    for change in (ArchiveAccount(account_id=command.id), RestoreAccount(account_id=command.id)):
        assert len((await store.give("acme", change)).events) == 1


async def test_a_commit_ends_where_its_events_are_large(store: Store, postgres: str) -> None:
    await store.register("acme", "dynamics")
    details: dict[str, JsonValue] = {str(number): "x" * 1_000 for number in range(100)}
    account_id = UUID((await store.give("acme", CreateAccount(name="A", details=details))).id)
    changes = [ChangeAccount(account_id=AccountId(account_id), name=f"A {number}") for number in range(24)]
    await asyncio.gather(*(store.give("acme", change) for change in changes))
    async with as_admin(postgres, store.url) as admin:
        most = await admin.fetchval(MOST_IN_A_COMMIT)
    assert most <= 6  # of 200 KB each


async def test_everything_else_has_its_turn_while_large_commands_are_decided(store: Store) -> None:
    await store.register("acme", "dynamics")
    commands = [large_account() for _ in range(20)]
    async with turns_of_the_loop() as turns:
        await asyncio.gather(*(store.give("acme", command) for command in commands[:10]))
        async with store.executor.dry_run("acme") as dry_run:
            await dry_run.decide(*(Order("acme", command, SERVICE, datetime.now(UTC)) for command in commands[10:]))
    assert max(turns) < STALLED_SECONDS


@asynccontextmanager
async def turns_of_the_loop() -> AsyncIterator[list[float]]:
    """Measure how long, on the CPU, the event loop is kept from its next turn. No garbage is collected meanwhile."""
    turns = [0.0]

    async def watch() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - began)

    gc.disable()
    watching = asyncio.create_task(watch())
    try:
        yield turns
    finally:
        watching.cancel()
        gc.enable()
