"""The HTTP application: queries over the read models."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final, LiteralString

from fastapi import FastAPI, Request

from vinculum_projection import database, freshness, recipients
from vinculum_projection.consume import open_subscription
from vinculum_projection.examples import EXAMPLES
from vinculum_projection.read_models import access, accounts, contacts, history, links
from vinculum_projection.reading import observing, operating
from vinculum_projection.settings import Settings
from vinculum_shared.consuming.arrivals import Arrivals
from vinculum_shared.consuming.subscription import from_the_log
from vinculum_shared.http import parked, serving
from vinculum_shared.http.openapi import OpenApi
from vinculum_shared.http.paging import cursor_cipher
from vinculum_shared.http.principals import Verifier
from vinculum_shared.http.readers import Queries
from vinculum_shared.postgres import lent

DESCRIPTION: Final = """\
Queries over the read models: accounts, contacts, links, related accounts, access and history.

- **Lists** have at most 200 items a page (`limit`), in a fixed order. `next_cursor` is the `cursor` of the next page.
- **Position**: every answer is as of one position of the tenant's log (`Vinculum-Position`). With `min_position`, a
  query waits up to 2 seconds until that event is applied, and answers 409 `projection_behind` after that. A position
  that the log does not have is 422.
- **Limits**: 256 queries of a tenant, and 128 of one caller, may be under way; past that, 429 with `Retry-After`.
- **Answers** may have more fields in later versions, and enumerations of codes and types more values: ignore what you
  don't know.
- **Personal data** is null for a service whose token lacks the scope `personal`.
"""


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with (
            await database.reader_pool(settings) as pool,
            open_subscription(settings) as subscription,
        ):
            yield {
                "pool": pool,
                "queries": Queries(pool),
                "arrivals": Arrivals(subscription.pool, subscription.event_log),
                "subscription": subscription,
                "verifier": Verifier(settings.jwks, settings.issuer),
                "cursor_cipher": cursor_cipher(settings.cursor_key),
            }

    return serving.create_app(
        title="Vinculum: queries",
        version=version("vinculum-projection"),
        lifespan=lifespan,
        routers=[
            *(module.router for module in (accounts, contacts, links, access, history, recipients, freshness)),
            parked.routes(observing, operating),
        ],
        checks={"postgres": schema_is_there},
        able_without=from_the_log(settings.topic),
        openapi=OpenApi(DESCRIPTION, examples=EXAMPLES),
        answer_seconds=database.QUERY_MS_MAX / 1_000,
    )


async def schema_is_there(request: Request) -> None:
    async with lent(request.state.pool) as db:
        await db.execute(SCHEMA_IS_THERE)


SCHEMA_IS_THERE: LiteralString = "SELECT FROM subscription LIMIT 1"
