"""A process from its command line to its exit code."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from support.waiting import until

pytestmark = pytest.mark.integration

SERVICE: Final = Path(__file__).parents[1] / "support" / "tiny_service.py"
ENVIRONMENT: Final = {
    "TINY_DATABASE_URL": "postgresql://tiny:secret@127.0.0.1/tiny",
    "TINY_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "TINY_JWKS": "jwks.json",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def start(*command: str, **environment: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(SERVICE), *command, env=os.environ | ENVIRONMENT | environment, stdout=PIPE, stderr=PIPE
    )


async def ended(process: Process) -> list[dict[str, Any]]:
    """What the process logged until it ended."""
    output, _ = await process.communicate()
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
async def serving() -> AsyncIterator[tuple[Process, httpx2.AsyncClient]]:
    port = free_port()
    process = await start("serve", TINY_PORT=str(port))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as http:

        async def answers() -> bool:
            try:
                return (await http.get("/health/ready")).status_code == 200
            except httpx2.ConnectError:
                return False

        await until(answers)
        yield process, http
    if process.returncode is None:
        process.kill()
    await process.communicate()


@asynccontextmanager
async def running(part: str, **environment: str) -> AsyncIterator[tuple[Process, httpx2.AsyncClient]]:
    """A part in a process of its own, once its metrics port answers."""
    port = free_port()
    process = await start(part, TINY_METRICS_PORT=str(port), **environment)
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as http:

            async def answers() -> bool:
                try:
                    return (await http.get("/metrics")).status_code == 200
                except httpx2.ConnectError:
                    return False

            await until(answers)
            yield process, http
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_a_service_that_is_told_to_stop_answers_what_it_was_asked(
    serving: tuple[Process, httpx2.AsyncClient],
) -> None:
    process, http = serving
    async with http.stream("GET", "/stream") as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "begun"
        slow = asyncio.create_task(http.get("/slow"))
        await http.get("/health/live")
        process.terminate()
        assert await anext(lines) == "ended"
        assert (await slow).json() == "answered"
    began = time.monotonic()
    assert await process.wait() == 0
    assert time.monotonic() - began < 5.0


async def test_an_interrupt_stops_it_the_same_way(serving: tuple[Process, httpx2.AsyncClient]) -> None:
    process, _ = serving
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


async def test_each_process_answers_on_its_metrics_port() -> None:
    async with running("consume") as (process, http):
        metrics = (await http.get("/metrics")).text
        assert 'vinculum_build_info{service="tiny",version="unknown"} 1.0' in metrics
        assert "vinculum_part_restarts" in metrics
        assert "_created" not in metrics
        assert (await http.get("/health/live")).json() == {"status": "ok"}
        assert (await http.get("/health/ready")).json() == {"status": "ok"}
        process.terminate()
        events = [line["event"] for line in await ended(process)]
    assert (events, process.returncode) == (["started", "finished", "stopped"], 0)


@pytest.mark.parametrize("part", ["fail", "end", "cancelled"])
async def test_a_part_that_ends_unasked_is_restarted_and_meanwhile_the_process_is_not_ready(part: str) -> None:
    async with running(part) as (process, http):

        async def restarted() -> bool:
            return f'vinculum_part_restarts_total{{part="{part}"}} 2.0' in (await http.get("/metrics")).text

        async def unready() -> bool:
            return (await http.get("/health/ready")).status_code == 503

        await until(restarted)
        await until(unready)
        assert (await http.get("/health/ready")).json()["checks"] == {part: "Failed, and is being restarted."}
        assert (await http.get("/health/live")).status_code == 200
        process.terminate()
        lines = await ended(process)
    failed = [line for line in lines if line["event"] == "part_failed"]
    assert {line["part"] for line in failed} == {part}
    assert "Mario" not in json.dumps(failed)
    assert (lines[-1]["event"], process.returncode) == ("stopped", 0)


async def test_a_part_says_what_it_waits_for() -> None:
    async with running("wait") as (process, http):
        answer = await http.get("/health/ready")
        process.terminate()
        lines = await ended(process)
    assert [(line["part"], line["waits_for"]) for line in lines if line["event"] == "part_waits"] == [("wait", "Kafka")]
    assert answer.status_code == 503
    assert answer.json()["detail"] == "wait: Waits for Kafka."


async def test_a_part_that_hangs_is_not_alive() -> None:
    async with running("linger", TINY_HEARTBEAT_SECONDS_MAX="0.1") as (_, http):

        async def dead() -> bool:
            return (await http.get("/health/live")).status_code == 503

        await until(dead)
        assert "linger" in (await http.get("/health/live")).json()["parts"]


async def test_what_no_restart_would_mend_ends_the_process_with_what_to_do() -> None:
    process = await start("misconfigured")
    _, failed = await ended(process)
    assert failed["exception"]["among"][0]["message"] == "Set it right."
    assert process.returncode == 1


async def test_a_part_that_does_not_stop_is_cut_off_at_the_deadline() -> None:
    process = await start("linger")
    assert process.stdout is not None
    await process.stdout.readline()
    process.terminate()
    late, stopped = await ended(process)
    assert (late["event"], stopped["event"], process.returncode) == ("stopped_late", "stopped", 0)


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = await start("serve", TINY_PORT=str(port))
        _, failed = await ended(process)
    assert f"127.0.0.1:{port}: Address already in use" in failed["exception"]["among"][0]["message"]
    assert process.returncode == 1


async def test_a_metrics_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = await start("consume", TINY_METRICS_PORT=str(port))
        *_, failed = await ended(process)
    assert f"127.0.0.1:{port}: Address already in use" in failed["exception"]["among"][0]["message"]
    assert process.returncode == 1


async def test_a_missing_setting_is_named_and_no_secret_is_told() -> None:
    process = await start("serve", TINY_UNSAFE_DURABILITY="perhaps")
    _, errors = await process.communicate()
    assert errors.decode().strip().startswith("TINY_UNSAFE_DURABILITY: ")
    assert b"secret" not in errors
    assert process.returncode == 1


async def test_a_task_does_one_thing_and_exits() -> None:
    process = await start("migrate")
    (line,) = await ended(process)
    assert line["event"] == "migrated"
    assert line["event_id"] == "00000000-0000-0000-0000-000000000001"
    assert process.returncode == 0


async def test_logs_have_known_fields_only_and_exceptions_without_their_messages() -> None:
    process = await start("talk")
    linked, library, failed = await ended(process)
    assert linked["tenant"] == "acme"
    assert linked["dropped"] == ["email", "name"]
    assert library["event"] == "first line"
    assert failed["exception"]["type"] == "builtins.ValueError"
    assert failed["exception"]["cause"]["type"] == "builtins.KeyError"
    assert failed["exception"]["places"][-1].startswith("tiny_service.py:")
    for line in (linked, library, failed):
        assert line["service"] == "tiny"
        assert "ario" not in json.dumps(line)


async def test_a_failpoint_kills_the_process_where_it_is_told_to() -> None:
    process = await start("consume", VINCULUM_FAILPOINTS="tiny.begun=kill")
    await ended(process)
    assert process.returncode == -signal.SIGKILL
