"""The HTTP application: commands, access, the log. Its lifespan is where everything is put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request

from vinculum_command import database, doorbell, upkeep
from vinculum_command.execute import Executor
from vinculum_command.http import access, contracts, log_feed, openapi
from vinculum_command.http.commands import BATCH_BYTES_MAX, BATCH_PATH, BATCHES_MAX, command_routes
from vinculum_command.relay import SENDER
from vinculum_command.settings import Settings
from vinculum_shared.http import serving
from vinculum_shared.http.fairness import Quota, Turns
from vinculum_shared.http.principals import Verifier
from vinculum_shared.http.readers import Queries
from vinculum_shared.migrate import pending
from vinculum_shared.postgres import lent
from vinculum_shared.problems import Unavailable
from vinculum_shared.supervision import Part, supervise


def create_app(settings: Settings, stop: asyncio.Event) -> FastAPI:
    """Make the application. It runs commands until `stop`, and streams end then."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        url, unsafe = settings.database_url, settings.unsafe_durability
        finished = asyncio.Event()
        async with (
            await database.appender_pool(url, unsafe_durability=unsafe) as appender,
            await database.reader_pool(url, unsafe_durability=unsafe) as reader,
            await database.reader_pool(url, size=log_feed.CONNECTIONS, unsafe_durability=unsafe) as feed,
            await database.log_pool(url, unsafe_durability=unsafe) as log_pool,
            asyncio.TaskGroup() as group,
        ):
            executor = Executor(appender, settings.address_key.get_secret_value())
            news = doorbell.News()
            parts: dict[str, Part] = {
                "executor": executor.run,
                "doorbell": partial(doorbell.listen, url, news.ring),
                "upkeep": partial(upkeep.run, log_pool, executor),
            }
            for name, part in parts.items():
                group.create_task(supervise(name, part, finished))
            group.create_task(wake_at_end(news, stop, finished))
            yield {
                "executor": executor,
                "reader": reader,
                "queries": Queries(reader),
                "feed": feed,
                "log": log_pool,
                "news": news,
                "live_turns": Turns(log_feed.AT_ONCE),
                "log_turns": Turns(log_feed.AT_ONCE, resting=True),
                "followers": log_feed.followers(),
                "batches": Quota(of_tenant=BATCHES_MAX, of_principal=BATCHES_MAX),
                "stop": stop,
                "verifier": Verifier(settings.jwks, settings.issuer),
                "invitation_key": settings.invitation_key,
            }
            finished.set()

    return serving.create_app(
        title="Vinculum: commands",
        version=version("vinculum-command"),
        lifespan=lifespan,
        routers=[command_routes(), access.router, log_feed.router, contracts.router],
        checks={"postgres": migrated},
        able_without={SENDER: ("Kafka", "Postgres")},
        larger_bodies={BATCH_PATH: BATCH_BYTES_MAX},
        openapi=openapi.openapi(),
    )


async def migrated(request: Request) -> None:
    async with lent(request.state.reader) as db:
        if await pending(db, "vinculum_command"):
            raise Unavailable("Migrations are pending: run `python -m vinculum_command migrate`.")


async def wake_at_end(news: doorbell.News, stop: asyncio.Event, finished: asyncio.Event) -> None:
    """Let readers go who wait for news when the process is told to end."""
    ended = [asyncio.ensure_future(event.wait()) for event in (stop, finished)]
    await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    for each in ended:
        each.cancel()
    news.ring(frozenset())
