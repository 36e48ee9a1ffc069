"""The log: read in pages, waited for, followed live and on Kafka; and how a reader proves that nothing is missing."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from support.stack import Stack
from support.tenant import Tenant, link

pytestmark = [pytest.mark.acceptance]

SECONDS_MAX = 60.0


@pytest.fixture
async def firm(stack: Stack) -> Tenant:
    return await stack.tenant("dynamics")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_the_log_is_numbered_from_1_without_holes_and_read_in_pages(firm: Tenant) -> None:
    account = await firm.account("Contoso")
    for name in ("Ana", "Ion", "Mia"):
        await firm.contact(name, link_accounts=[{"account_id": account}])
    answer = await firm.ask("GET", "/log")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    whole = lines(answer.text)
    assert [event["position"] for event in whole] == list(range(1, firm.position + 1))
    pages, after = [], 0
    while page := await firm.log(after=after, limit=3):
        assert len(page) <= 3
        pages.append(page)
        after = page[-1]["position"]
    assert [event for page in pages for event in page] == whole
    assert await firm.refused("GET", "/log", params={"limit": 1001}) == (422, "invalid")
    assert await firm.refused("GET", "/log", params={"wait": 31}) == (422, "invalid")
    assert await firm.refused("GET", "/log", params={"types": "NothingSuch"}) == (422, "invalid")


async def test_an_event_is_a_cloud_event_with_its_place_in_the_tenant_the_stream_and_the_commit(firm: Tenant) -> None:
    account, contact = str(uuid4()), {"id": str(uuid4()), "first_name": "Ana", "job_title": "Director"}
    body = {"id": account, "name": "Contoso", "new_contacts": [contact]}
    answer = await firm.done("POST", "/accounts", body)
    _, _, linked = await firm.log(after=answer["position"] - 3)
    assert linked["id"] == answer["events"][2]["id"]
    assert (linked["specversion"], linked["source"]) == ("1.0", "/vinculum")
    assert (linked["type"], linked["datacontenttype"]) == ("vinculum.contact_linked.v1", "application/json")
    assert linked["subject"] == f"link/{account}/{contact['id']}"
    assert (linked["tenant"], linked["position"], linked["streamversion"]) == (firm.id, answer["position"], 1)
    assert (linked["commitindex"], linked["commitsize"]) == (3, 3)
    assert {"time", "dataschema", "commandid", "correlationid"} <= linked.keys()
    data = linked["data"]
    assert data["actor"]["kind"] == "staff"
    assert data["effective_at"] == linked["time"]
    assert data["personal"] == {"subject": f"contact/{contact['id']}", "job_title": "Director"}
    assert "Director" not in json.dumps({name: value for name, value in data.items() if name != "personal"})
    assert data["source"] == "api"


async def test_a_filtered_log_ends_with_how_far_it_has_looked(firm: Tenant) -> None:
    contoso, fabrikam = await firm.account("Contoso"), await firm.account("Fabrikam")
    ana = await firm.contact("Ana")
    await firm.link(contoso, ana)
    await firm.unlink(contoso, ana)
    await firm.link(fabrikam, ana)

    async def found(**params: Any) -> tuple[list[str], int]:
        *events, last = lines((await firm.ask("GET", "/log", params=params)).text)
        return [event["type"].split(".")[1] for event in events], last["checkpoint"]

    link_types = {"types": "ContactLinked,ContactUnlinked"}
    assert await found(**link_types) == (["contact_linked", "contact_unlinked", "contact_linked"], firm.position)
    assert await found(account_id=fabrikam) == (["account_created", "contact_linked"], firm.position)
    assert await found(**link_types, account_id=contoso, contact_id=ana) == (
        ["contact_linked", "contact_unlinked"],
        firm.position,
    )
    assert await found(**link_types, limit=1) == (["contact_linked"], firm.position - 2)
    assert await found(types="RecordSent") == ([], firm.position)
    assert await found(types="RecordSent", after=firm.position) == ([], firm.position)


async def test_a_reader_at_the_end_waits_for_what_comes(firm: Tenant) -> None:
    waiting = asyncio.create_task(firm.ask("GET", "/log", params={"after": firm.position, "wait": 30}))
    filtered = asyncio.create_task(
        firm.ask("GET", "/log", params={"after": firm.position, "wait": 30, "types": "AccountArchived"})
    )
    account = await firm.account("Contoso")
    async with asyncio.timeout(SECONDS_MAX):
        (event,) = lines((await waiting).text)
        assert event["subject"] == f"account/{account}"
        assert not filtered.done()
        await firm.done("POST", f"/accounts/{account}/archive")
        event, checkpoint = lines((await filtered).text)
        assert event["type"] == "vinculum.account_archived.v1"
        assert checkpoint == {"checkpoint": event["position"]}


async def test_a_stream_is_live_and_goes_on_after_the_last_event_that_was_seen(firm: Tenant) -> None:
    seen = [event async for event in followed(firm, firm.position)]
    assert seen[0].pop("retry") == "2000"
    assert all(event.keys() == {"id", "data"} for event in seen), "an EventSource hears only events without a name"
    assert [event["id"] for event in seen] == [str(event["data"]["position"]) for event in seen]
    whole = await firm.log()
    assert [event["data"] for event in seen] == whole[: len(seen)]

    account = await firm.account("Contoso")
    live = followed(firm, firm.position + 1, last_event_id=seen[-1]["id"])
    async with asyncio.timeout(SECONDS_MAX):
        first = await anext(live)
        assert first["data"]["subject"] == f"account/{account}"
        await firm.done("POST", f"/accounts/{account}/archive")
        second = await anext(live)
        assert second["data"]["type"] == "vinculum.account_archived.v1"
        assert second["data"]["position"] == firm.position
    await live.aclose()


async def followed(firm: Tenant, last: int, last_event_id: str | None = None) -> AsyncGenerator[Any]:
    """Return the server-sent events up to a position."""
    headers = {"Authorization": f"Bearer {firm.token}", "Accept": "text/event-stream"}
    headers |= {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with (
        asyncio.timeout(SECONDS_MAX),
        firm.stack.http.stream("GET", f"{firm.stack.command}/v1/log", headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name and value:
                event[name] = json.loads(value) if name == "data" else value
            elif "data" in event:
                yield event
                if event["data"]["position"] >= last:
                    return
                event = {}


async def test_a_service_of_all_tenants_reads_every_log_in_order(stack: Stack, firm: Tenant) -> None:
    await firm.account("Contoso")
    token = stack.token(kind="service", scopes=["log", "personal", "all_tenants"])
    positions = (await firm.ask("GET", "/log/positions", token=token)).json()["positions"]
    assert positions[firm.id] == firm.position
    place, read = (firm.id, 0), []
    while page := lines(
        (await firm.ask("GET", "/log", params={"after": f"{place[0]}:{place[1]}", "limit": 2}, token=token)).text
    ):
        read += [(event["tenant"], event["position"]) for event in page]
        place = read[-1]
        if place[0] > firm.id:
            break
    assert read[: firm.position] == [(firm.id, position) for position in range(1, firm.position + 1)]
    assert read == sorted(read)

    whole = lines((await firm.ask("GET", "/log", params={"limit": 1000}, token=token)).text)
    places = [(event["tenant"], event["position"]) for event in whole]
    assert places == sorted(places)
    one = stack.token(tenant=firm.id, kind="service", scopes=["log"])
    assert (await firm.ask("GET", "/log/positions", token=one)).json()["positions"] == {firm.id: firm.position}
    without = stack.token(kind="service", scopes=["log"])
    assert (await firm.ask("GET", "/log", token=without)).status_code == 403
    no_log = stack.token(tenant=firm.id, kind="service", scopes=["queries", "commands"])
    assert await firm.refused("GET", "/log", token=no_log) == (403, "forbidden")


async def test_a_reader_sees_by_ids_whether_it_has_applied_what_the_log_has(stack: Stack, firm: Tenant) -> None:
    other = await stack.tenant("dynamics")
    ids = [event["id"] for event in await firm.log()]

    async def at(positions: dict[str, int], token: str) -> Any:
        return await firm.done("POST", "/log/positions", {"at": positions}, token=token)

    everyone = stack.token(kind="service", scopes=["log", "all_tenants"])
    found = await at({firm.id: 1, other.id: 10**12, "nobody": 1}, everyone)
    assert found == {"positions": {firm.id: firm.position, other.id: other.position}, "ids": {firm.id: ids[0]}}
    own = await at({firm.id: len(ids), other.id: 1}, stack.token(tenant=firm.id, kind="service", scopes=["log"]))
    assert own == {"positions": {firm.id: firm.position}, "ids": {firm.id: ids[-1]}}
    assert await at({other.id: 1}, stack.token(tenant=firm.id)) == {"positions": {}, "ids": {}}

    wrong = {"at": {firm.id: -1}}
    assert await firm.refused("POST", "/log/positions", wrong, token=everyone) == (422, "invalid")
    no_log = stack.token(tenant=firm.id, kind="service", scopes=["queries"])
    assert await firm.refused("POST", "/log/positions", wrong, token=no_log) == (403, "forbidden")


async def test_a_subscriber_proves_by_positions_that_it_missed_nothing(stack: Stack, firm: Tenant) -> None:
    async def worker(number: int) -> None:
        account = await firm.account(f"Account {number}")
        for name in ("Ana", "Ion"):
            contact = await firm.contact(name)
            await firm.done("PUT", link(account, contact))
            await firm.unlink(account, contact)

    await asyncio.gather(*(worker(number) for number in range(20)))
    consumer = AIOKafkaConsumer(stack.topic, bootstrap_servers=stack.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        positions: Counter[str] = Counter()
        read: dict[int, list[dict[str, Any]]] = defaultdict(list)
        async with asyncio.timeout(3 * SECONDS_MAX):
            while positions[firm.id] < firm.position:
                record = await consumer.getone()
                event = json.loads(record.value)
                tenant, position = event["tenant"], event["position"]
                assert record.key == tenant.encode()
                assert record.headers == (("content-type", b"application/cloudevents+json"),)
                assert abs(record.timestamp - datetime.fromisoformat(event["time"]).timestamp() * 1000) <= 1
                assert position <= positions[tenant] + 1
                if position > positions[tenant]:
                    positions[tenant] = position
                    if tenant == firm.id:
                        read[record.partition].append(event)
    finally:
        await consumer.stop()
    logged: list[dict[str, Any]] = []
    while page := await firm.log(after=len(logged)):
        logged += page
    assert list(read.values()) == [logged]
    assert (await firm.done("GET", "/log/positions"))["positions"] == {firm.id: positions[firm.id]}
