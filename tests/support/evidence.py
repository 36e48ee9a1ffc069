"""What the system did, read from where it is kept and not from where it is told."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import default
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from support.fold import Json, joined
from support.system import PARTITIONS, System
from vinculum_shared.settings import TOPIC


class Record(NamedTuple):
    """One of the topic's."""

    partition: int
    offset: int
    key: str
    value: bytes


class Mail(NamedTuple):
    event_id: str
    address: str
    topic: str
    message_id: str


@dataclass
class Evidence:
    """Of some tenants, all there is."""

    log: dict[str, list[Json]]
    """The event store, by tenant and in order."""
    last_positions: dict[str, int]
    requests: dict[str, Json]
    """Kept answers, by tenant and key."""
    topic: list[Record] = field(default_factory=list)
    tables: dict[str, list[Json]] = field(default_factory=dict)
    """The read models."""
    parked: list[Json] = field(default_factory=list)
    """By either reader."""
    ledger: list[Json] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)


READ_MODELS: Final = ("accounts", "contacts", "contact_emails", "links", "access")


async def gathered(system: System, tenants: Collection[str]) -> Evidence:
    names = list(tenants)
    async with system.sql("command") as db:
        events = await db.fetch("SELECT * FROM events WHERE tenant = ANY($1) ORDER BY tenant, position", names)
        positions = await db.fetch("SELECT tenant, last_position FROM tenants WHERE tenant = ANY($1)", names)
        requests = await db.fetch("SELECT * FROM requests WHERE tenant = ANY($1)", names)
    async with system.sql("projection") as db:
        tables = {
            name: await db.fetch(f"SELECT * FROM {name} WHERE tenant = ANY($1)", names)  # noqa: S608  of our own
            for name in READ_MODELS
        }
        parked = await db.fetch("SELECT * FROM parked WHERE tenant = ANY($1)", names)
    async with system.sql("notifier") as db:
        ledger = await db.fetch("SELECT * FROM notification WHERE tenant = ANY($1)", names)
        parked += await db.fetch("SELECT * FROM parked WHERE tenant = ANY($1)", names)
    log: dict[str, list[Json]] = {name: [] for name in names}
    for row in events:
        log[row["tenant"]].append(stored(row))
    ids = {event["id"] for events in log.values() for event in events}
    return Evidence(
        log,
        {row["tenant"]: row["last_position"] for row in positions},
        {f"{row['tenant']}/{row['key']}": dict(row) for row in requests},
        [record for record in await topic(system) if record.key in log],
        {name: [dict(row) for row in rows] for name, rows in tables.items()},
        [dict(row) for row in parked],
        [dict(row) for row in ledger],
        [mail for mail in mails(system) if mail.event_id in ids],
    )


def stored(row: Any) -> Json:
    """Put a row of the event store into the form that `fold.parsed` gives."""
    data = json.loads(row["data"])
    personal = row["personal"] and json.loads(row["personal"])
    effective_at = row["effective_at"] or row["recorded_at"]
    return {
        **json.loads(row["attributes"]),
        "position": row["position"],
        "time": row["recorded_at"],
        "data": joined(data, personal or {}) | {"effective_at": effective_at, "personal": personal},
    }


async def topic(system: System) -> list[Record]:
    """Read the whole topic, from where it begins."""
    consumer = AIOKafkaConsumer(bootstrap_servers=system.kafka.bootstrap, auto_offset_reset="none")
    await consumer.start()
    try:
        partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Record] = []
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                found += [Record(partition.partition, each.offset, each.key.decode(), each.value) for each in records]
        return found
    finally:
        await consumer.stop()


def mails(system: System) -> list[Mail]:
    found = []
    for file in (system.maildir / "new").iterdir():
        with file.open("rb") as content:
            mail = BytesHeaderParser(EmailMessage, policy=default).parse(content)
        found += [
            Mail(mail["X-Vinculum-Event"], str(address), mail["X-Vinculum-Topic"], mail["Message-ID"])
            for address in mail.get_all("Delivered-To", ())
        ]
    return found
