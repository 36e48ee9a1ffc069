"""What operations people rely on: health, metrics, a clean end, traces, and logs that name nobody."""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2
import psutil
import pytest

from support.stack import Stack
from support.tenant import Tenant, link
from support.waiting import until
from vinculum_devstack import ports

pytestmark = [pytest.mark.acceptance]

SERVICES: Final = ("command", "projection", "notifier")
STOP_SECONDS_MAX: Final = 30.0
WORKERS: Final = 16
ENOUGH: Final = 200  # commands answered, before the service is told to end


def environment(stack: Stack, service: str) -> dict[str, str]:
    """Return the settings that the running service was started with."""
    pid = json.loads((stack.data / "run" / f"{service}.json").read_text())["pid"]
    settings: dict[str, str] = psutil.Process(pid).environ()
    return settings


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_says_that_it_lives_is_ready_and_what_it_offers(stack: Stack, service: str) -> None:
    url = stack.services[service]
    for path in ("live", "ready"):
        answer = await stack.http.get(f"{url}/health/{path}")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    docs = await stack.http.get(f"{url}/docs")
    assert docs.status_code == 200
    assert docs.headers["content-type"].startswith("text/html")
    assert "swagger-ui-bundle.js" in docs.text


OWN_METRICS: Final = {
    "vinculum_commands": {"command"},
    "vinculum_consumer_lag_seconds": {"projection", "notifier"},
    "vinculum_relay_lag_seconds": {"command"},
    "vinculum_notifications": {"notifier"},
    "vinculum_delivery_lag_seconds": {"notifier"},
}


@pytest.mark.parametrize("service", SERVICES)
async def test_metrics_are_on_a_port_of_their_own_and_name_no_tenant(stack: Stack, service: str) -> None:
    firm = await stack.tenant("dynamics")
    account = await firm.account("Contoso")
    await firm.read(f"/accounts/{account}")
    await firm.notifications()
    assert (await stack.http.get(f"{stack.services[service]}/metrics")).status_code == 404
    port = environment(stack, service)[f"VINCULUM_{service.upper()}_METRICS_PORT"]
    metrics = await stack.http.get(f"http://127.0.0.1:{port}/metrics")
    assert metrics.status_code == 200
    assert "vinculum_http_request_seconds_count" in metrics.text
    assert f'vinculum_build_info{{service="vinculum-{service}",version="' in metrics.text
    for name, owners in OWN_METRICS.items():
        assert (name in metrics.text) is (service in owners), name
    assert firm.id not in metrics.text
    assert account not in metrics.text


async def test_how_far_the_read_models_have_got_is_told(stack: Stack) -> None:
    firm = await stack.tenant("dynamics")
    await firm.account("Contoso")
    freshness = await firm.read("/freshness")
    assert (freshness["position"], freshness["lag_events"], freshness["parked_events"]) == (firm.position, 0, 0)
    assert (await firm.read("/parked"))["items"] == []
    ahead = await firm.ask("GET", "/accounts", at="projection", params={"min_position": firm.position + 1})
    assert (ahead.status_code, ahead.json()["errors"][0]["code"]) == (422, "beyond_log")


@asynccontextmanager
async def another_command_service(stack: Stack, log: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """One more process of the command service, on the same database, so that nobody misses it when it ends."""
    chosen = {name: str(ports.free()) for name in ("PORT", "METRICS_PORT")}
    settings = environment(stack, "command") | {f"VINCULUM_COMMAND_{name}": port for name, port in chosen.items()}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "vinculum_command", "serve", env=settings, stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{chosen['PORT']}"

    async def ready() -> bool:
        assert process.returncode is None
        try:
            return (await stack.http.get(f"{url}/health/ready")).is_success
        except httpx2.TransportError:
            return False

    try:
        await until(ready)
        yield url, process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_service_that_is_told_to_end_answers_what_it_was_asked(stack: Stack, tmp_path: Path) -> None:
    """SIGTERM while commands are in flight: each was carried out whole and told so, or not at all."""
    sales = await stack.tenant("dynamics")
    answered: dict[str, httpx2.Response] = {}
    unanswered: set[str] = set()
    asked_before_the_end: set[str] = set()
    enough, told = asyncio.Event(), asyncio.Event()

    def body(key: str) -> dict[str, Any]:
        return {"name": key, "new_contacts": [{"first_name": "Ana"}, {"first_name": "Ion"}]}

    async def work(url: str) -> None:
        while not unanswered:
            key = str(uuid4())
            if not told.is_set():
                asked_before_the_end.add(key)
            headers = {"Authorization": f"Bearer {sales.token}", "Idempotency-Key": key}
            try:
                answered[key] = await stack.http.post(f"{url}/v1/accounts", json=body(key), headers=headers)
            except httpx2.TransportError:
                unanswered.add(key)
            if len(answered) >= ENOUGH:
                enough.set()

    async with another_command_service(stack, tmp_path / "command.log") as (url, process):
        patient = {"types": "RecordSent", "wait": "30"}
        headers = {"Authorization": f"Bearer {sales.token}"}
        waiting = asyncio.create_task(stack.http.get(f"{url}/v1/log", params=patient, headers=headers))
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(work(url))
            await enough.wait()
            process.send_signal(signal.SIGTERM)
            told.set()
        async with asyncio.timeout(STOP_SECONDS_MAX):
            assert await process.wait() == 0
            assert (await waiting).status_code == 200

    assert not unanswered & asked_before_the_end
    done = {key for key, answer in answered.items() if answer.status_code == 201}
    assert len(done) >= ENOUGH
    assert {answer.status_code for answer in answered.values()} <= {201, 429, 503}
    commits = await commits_of(sales)
    names = Counter(name for commit in commits for name in created(commit))
    assert set(names.values()) == {1}
    assert done <= names.keys() <= done | unanswered
    assert all([event["commitindex"] for event in commit] == [1, 2, 3, 4, 5] for commit in commits)

    # Who was not answered asks again, elsewhere, under the same key.
    for key in unanswered:
        await sales.done("POST", "/accounts", body(key), headers={"Idempotency-Key": key})
    names = Counter(name for commit in await commits_of(sales) for name in created(commit))
    assert names == dict.fromkeys(done | unanswered, 1)


async def commits_of(tenant: Tenant) -> list[list[dict[str, Any]]]:
    """Return the commits after that of the registration."""
    commits: dict[str, list[dict[str, Any]]] = {}
    after = 3
    while events := await tenant.log(after=after):
        after = events[-1]["position"]
        for event in events:
            commits.setdefault(event["commandid"], []).append(event)
    return list(commits.values())


def created(commit: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["personal"]["name"] for event in commit if event["type"] == "vinculum.account_created.v1"]


async def test_a_trace_goes_from_the_request_to_the_event_and_to_the_mail(stack: Stack) -> None:
    firm = await stack.tenant("taxdome")
    ada = await firm.contact("Ada Lovelace", firm.address("ada"))
    engines = await firm.account("Engines", ada)
    trace = uuid4().hex
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    await firm.done("PUT", f"{link(engines, ada)}/portal-access", {"login": True}, headers=headers)
    (mail,) = await firm.mails(firm.address("ada"), "invitation")
    (event,) = [event for event in await firm.log() if event["id"] == mail["X-Vinculum-Event"]]
    assert event["traceparent"].split("-")[:2] == ["00", trace]
    assert mail["Traceparent"] == event["traceparent"]


async def test_no_log_names_anybody(stack: Stack) -> None:
    """A journey with names, addresses and titles that are found nowhere else: not in a log either."""
    canary = f"canary{uuid4().hex[:10]}"
    firm = await stack.tenant("perfex", name=f"Firm {canary}")
    pixel = await firm.account(f"Account {canary}", details={"note": canary})
    terms = [{"account_id": pixel, "job_title": f"Title {canary}"}]
    fields = {"phones": [f"+49 {canary}"], "link_accounts": terms}
    jo = await firm.contact(f"Jo {canary}", firm.address(canary), **fields)
    bounce = await firm.contact("Kim", firm.address(f"bounce-550-{canary}"), link_accounts=terms)
    await firm.contact("Lee", firm.address(f"defer-451-1-{canary}"), link_accounts=terms)
    await firm.enter(pixel, jo, firm.address(canary))
    await firm.login(pixel, bounce)
    invoice = await firm.invoice(pixel, title=f"Invoice {canary}", number=canary)
    await firm.done("POST", f"/records/{invoice}/send")
    await firm.done("POST", f"/records/{invoice}/send", {"contact_ids": [bounce]})
    await firm.mails(firm.address(canary), "invoice")

    taken = {"first_name": canary, "emails": [{"address": firm.address(canary)}], "link_accounts": terms}
    assert await firm.refused("POST", "/contacts", taken) == (409, "email_taken")
    assert await firm.refused("POST", "/contacts", {"first_name": "Mo", canary: canary}) == (422, "unknown_field")
    nowhere = {"first_name": canary, "emails": [{"address": f"{canary} at home"}]}
    assert await firm.refused("POST", "/contacts", nowhere) == (422, "invalid")
    left = {"comment": f"Has said {canary}", "reason": "left"}
    assert await firm.refused("POST", f"{link(pixel, bounce)}/unlink", left) == (409, "account_required")
    assert await firm.refused("GET", f"/{canary}") == (404, "not_found")
    assert await firm.refused("GET", f"/accounts/{canary}", at="projection") == (404, "account_not_found")
    assert await firm.refused("POST", "/invitations/accept", {"token": canary}) == (410, "invitation_invalid")
    assert (await stack.http.get(f"{stack.notifier}/v1/unsubscribe/{canary}")).status_code == 404
    await firm.items("/contacts", query=canary)
    await firm.items("/contacts", email=firm.address(canary))
    for service in SERVICES:
        token = {"Authorization": f"Bearer {canary}"}
        path = {"command": "log", "projection": "accounts", "notifier": "notifications"}[service]
        assert (await stack.http.get(f"{stack.services[service]}/v1/{path}", headers=token)).status_code == 401

    logs = {file.name: file.read_text(errors="replace") for file in (stack.data / "logs").iterdir()}
    assert {"command.log", "projection.log", "notifier.log", "postgres.log", "mail-sink.log"} <= logs.keys()
    assert all('"started"' in logs[f"{service}.log"] for service in SERVICES)
    assert [name for name, log in logs.items() if canary in log] == []
