"""What a reader may wait for, and be ready nevertheless."""

import asyncio
from typing import Any

import httpx2
import pytest
from aiokafka.errors import KafkaConnectionError
from starlette.requests import Request

from vinculum_shared.consuming.event_log import LOG, IncompleteLogError
from vinculum_shared.consuming.subscription import from_the_log, whom
from vinculum_shared.http import health
from vinculum_shared.supervision import set_within, supervise, waiting_for
from vinculum_shared.token_file import ACCEPTED_TOKEN

pytestmark = pytest.mark.unit


async def readiness(part: str, waits_for: str | None) -> dict[str, Any]:
    """Return what a service that reads the events answers while a part waits."""
    begun, stop = asyncio.Event(), asyncio.Event()

    async def wait(stop: asyncio.Event) -> None:
        waiting_for(waits_for)
        begun.set()
        await set_within(stop)

    async with asyncio.TaskGroup() as group:
        group.create_task(supervise(part, wait, stop))
        await begun.wait()
        try:
            return await health.ready(Request({"type": "http"}), {}, from_the_log("events"))
        except health.NotReady as problem:
            return {"status": "not ready", "detail": problem.detail}
        finally:
            stop.set()


@pytest.mark.parametrize("away", ["Kafka", "the topic events"])
async def test_a_reader_that_reads_from_the_log_is_ready_and_says_what_it_waits_for(away: str) -> None:
    assert await readiness("consume", away) == {"status": "ok", "waiting": {"consume": f"Waits for {away}."}}


@pytest.mark.parametrize("away", ["Kafka and the log of the command service", LOG, "Postgres", ACCEPTED_TOKEN])
async def test_a_reader_without_the_log_is_not_ready(away: str) -> None:
    assert await readiness("consume", away) == {"status": "not ready", "detail": f"consume: Waits for {away}."}


async def test_other_parts_need_what_they_wait_for() -> None:
    assert (await readiness("deliver", "Kafka"))["status"] == "not ready"
    assert await readiness("deliver", None) == {"status": "ok"}


def test_a_token_that_is_refused_is_told_apart_from_an_outage() -> None:
    request = httpx2.Request("GET", "http://command/v1/log")

    def answered(status: int) -> httpx2.HTTPStatusError:
        return httpx2.HTTPStatusError("", request=request, response=httpx2.Response(status, request=request))

    assert {whom(answered(status)) for status in (401, 403)} == {ACCEPTED_TOKEN}
    assert {whom(answered(503)), whom(httpx2.ConnectError("")), whom(IncompleteLogError())} == {LOG}
    assert whom(KafkaConnectionError()) == "Kafka"
