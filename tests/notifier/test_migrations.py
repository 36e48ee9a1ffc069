"""Migrations that change rows, on a database that has some."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from pydantic import SecretStr

from support import databases
from vinculum_shared.migrate import ensure_role_and_database, migrations
from vinculum_shared.postgres import Connection

pytestmark = pytest.mark.integration

PACKAGE = "vinculum_notifier"
ACCOUNT, ANNA, BO = (UUID(int=number) for number in range(3))
WORK, HOME, GONE = (UUID(int=number) for number in range(10, 13))


@pytest.fixture
async def db(postgres: str) -> AsyncIterator[Connection]:
    """The admin, in a database without tables."""
    url = SecretStr(databases.on(postgres, f"test_{uuid4().hex}", role=PACKAGE))
    server = await asyncpg.connect(postgres)
    await ensure_role_and_database(server, url)
    async with databases.as_admin(postgres, url) as admin:
        yield admin
    await server.execute(f'DROP DATABASE "{databases.name_of(url)}" WITH (FORCE)')
    await server.close()


async def migrate(db: Connection, *numbers: int) -> None:
    for each in migrations(PACKAGE):
        if int(each.name[:4]) in numbers:
            async with db.transaction():
                await db.execute(each.sql)


UNSUBSCRIPTION = """
    INSERT INTO unsubscription (tenant, account_id, contact_id, email_id, topic, asked_at, position)
    VALUES ('acme', $1, $2, $3, 'invoice', timestamptz '2026-01-01' + $4 * interval '1 day', $5)"""


async def test_an_unsubscription_is_kept_by_its_address_the_pending_one_before_the_latest(db: Connection) -> None:
    await migrate(db, *range(1, 5))
    state = {"emails": [{"email_id": str(each), "address_hash": f"hash of {each.int}"} for each in (WORK, HOME)]}
    for contact in (ANNA, BO):
        row = "acme", f"contact/{contact}", orjson.dumps(state).decode()
        await db.execute("INSERT INTO known (tenant, stream, state) VALUES ($1, $2, $3)", *row)
    for contact, email, day, position in (
        (ANNA, WORK, 1, None),
        (BO, WORK, 2, 7),
        (ANNA, HOME, 1, 5),
        (BO, HOME, 2, 6),
        (ANNA, GONE, 1, None),
    ):
        await db.execute(UNSUBSCRIPTION, ACCOUNT, contact, email, day, position)
    await migrate(db, 5)
    kept = await db.fetch("SELECT address_hash, contact_id, position FROM unsubscription ORDER BY address_hash")
    assert [tuple(row) for row in kept] == [("hash of 10", ANNA, None), ("hash of 11", BO, 6)]


WISHES = """
    INSERT INTO unsubscription (tenant, account_id, contact_id, topic, address_hash, position, attempts)
    VALUES ('acme', $1, $2, 'invoice', 'a', NULL, 2), ('acme', $1, $3, 'invoice', 'b', 7, 1)"""
SUPPRESSIONS = """
    INSERT INTO suppressed_address (tenant, address_hash, contact_id, released, position, refused, reply)
    VALUES ('acme', 'c', $1, false, NULL, NULL, '550'), ('acme', 'd', $2, true, 9, NULL, '550'),
        ('acme', 'e', NULL, false, 0, 'contact_not_found', '550')"""
KEYS = """
    SELECT address_hash, idempotency_key FROM unsubscription
    UNION ALL SELECT address_hash, idempotency_key FROM suppressed_address"""
ANNOUNCED = "SELECT about, path, body, idempotency_key, position, attempts FROM announcement ORDER BY about"


async def test_what_is_announced_keeps_its_key_and_how_far_it_has_come(db: Connection) -> None:
    await migrate(db, *range(1, 8))
    await db.execute(WISHES, ACCOUNT, ANNA, BO)
    await db.execute(SUPPRESSIONS, ANNA, BO)
    keys = {row["address_hash"]: row["idempotency_key"] for row in await db.fetch(KEYS)}
    await migrate(db, 8)
    unsubscribe, of_invoices = f"/v1/accounts/{ACCOUNT}/contacts/%s/unsubscribe", f"unsubscription/{ACCOUNT}/invoice"
    assert [(*row[:2], orjson.loads(row["body"]), *row[3:]) for row in await db.fetch(ANNOUNCED)] == [
        ("suppression/c", f"/v1/contacts/{ANNA}/emails/suppress", {"address_hash": "c"}, keys["c"], None, 0),
        ("suppression/d", f"/v1/contacts/{BO}/emails/release", {"address_hash": "d"}, keys["d"], 9, 0),
        (f"{of_invoices}/a", unsubscribe % ANNA, {"topic": "invoice", "address_hash": "a"}, keys["a"], None, 2),
        (f"{of_invoices}/b", unsubscribe % BO, {"topic": "invoice", "address_hash": "b"}, keys["b"], 7, 1),
    ]
    suppressed = await db.fetch("SELECT address_hash FROM suppressed_address ORDER BY address_hash")
    assert [row["address_hash"] for row in suppressed] == ["c", "e"]
