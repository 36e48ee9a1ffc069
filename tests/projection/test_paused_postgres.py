"""A Postgres that keeps its connections and answers none: queries are answered in time."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from support.firms import Firm
from support.log_server import LogServer
from support.paused import PausablePostgres
from support.projection import Projection, clone_of, running, settings_for
from support.tokens import Issuer
from vinculum_projection import database

pytestmark = pytest.mark.integration

SLACK_SECONDS = 10.0  # of a machine that is busy


@pytest.fixture
async def projection(
    pausable_postgres: PausablePostgres, issuer: Issuer, log: LogServer, tmp_path: Path
) -> AsyncIterator[Projection]:
    url, template = pausable_postgres.url, f"projection_template_{uuid4().hex}"
    (tmp_path / "service-token").write_text("token")
    await database.create(settings_for(url, template, tmp_path, issuer.jwks, "http://unused"))
    async with (
        clone_of(template, url) as name,
        running(settings_for(url, name, tmp_path, issuer.jwks, log.url), issuer, log) as projection,
    ):
        yield projection


async def test_queries_are_answered_in_time(projection: Projection, pausable_postgres: PausablePostgres) -> None:
    firm = Firm.registered()
    account = firm.account("Initech")
    await projection.deliver(firm.log)
    token = projection.service("acme", "queries")

    async def unavailable(within: float, path: str, **query: int) -> None:
        began = time.monotonic()
        answer = await projection.get(path, token, **query)
        assert time.monotonic() - began < within + SLACK_SECONDS
        assert answer.status_code == 503, path
        if path.startswith("/v1"):
            assert int(answer.headers["retry-after"]) > 0

    with pausable_postgres.paused():
        async with asyncio.TaskGroup() as asked:
            for _ in range(database.READER_CONNECTIONS):
                asked.create_task(unavailable(2, "/v1/accounts"))
            asked.create_task(unavailable(2, f"/v1/accounts/{account}/contacts"))
            asked.create_task(unavailable(4, "/v1/accounts", min_position=2))
            asked.create_task(unavailable(3, "/health/ready"))
    answer = await projection.get("/v1/accounts", token)
    assert (answer.status_code, len(answer.json()["items"])) == (200, 1)
