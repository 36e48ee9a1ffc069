"""The HTTP application: the ledger, unsubscribing, and what could not be applied."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI, Request

from vinculum_notifier import announcing, database, notifications, unsubscribe
from vinculum_notifier.consume import STARTED, open_subscription
from vinculum_notifier.examples import EXAMPLES
from vinculum_notifier.reading import observing, operating
from vinculum_notifier.settings import Settings
from vinculum_shared.consuming.arrivals import Arrivals
from vinculum_shared.consuming.subscription import from_the_log
from vinculum_shared.http import parked, serving
from vinculum_shared.http.openapi import OpenApi
from vinculum_shared.http.paging import cursor_cipher
from vinculum_shared.http.principals import Verifier
from vinculum_shared.http.readers import Queries
from vinculum_shared.postgres import lent
from vinculum_shared.problems import Unavailable
from vinculum_shared.token_file import ACCEPTED_TOKEN

DESCRIPTION: Final = """\
What became of each mail: every mail that was due is a row with one outcome and one reason.

- **Lists** have at most 200 items a page (`limit`), the newest first. `next_cursor` is the `cursor` of the next page.
- **Answers** may have more fields in later versions, and enumerations of codes and types more values: ignore what you
  don't know.
- **Unsubscribing**: `GET /v1/unsubscribe/{token}` shows a page and changes nothing; `POST` turns the mail off.
"""


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with await database.http_pool(settings) as pool, open_subscription(settings) as subscription:
            yield {
                "pool": pool,
                "queries": Queries(pool),
                "arrivals": Arrivals(subscription.pool, subscription.event_log),
                "subscription": subscription,
                "settings": settings,
                "verifier": Verifier(settings.jwks, settings.issuer),
                "cursor_cipher": cursor_cipher(settings.cursor_key),
            }

    return serving.create_app(
        title="Vinculum: notifications",
        version=version("vinculum-notifier"),
        lifespan=lifespan,
        routers=[notifications.router, unsubscribe.router, parked.routes(observing, operating)],
        checks={"started": has_started},
        able_without={announcing.PART: (announcing.COMMAND, ACCEPTED_TOKEN), **from_the_log(settings.topic)},
        openapi=OpenApi(DESCRIPTION, examples=EXAMPLES),
        answer_seconds=database.QUERY_MS_MAX / 1_000,
    )


async def has_started(request: Request) -> None:
    """Fail until the first start is on record: what happens before counts as history."""
    async with lent(request.state.pool) as db:
        if not await db.fetchval(STARTED):
            raise Unavailable("The first start is not on record yet; the part `consume` makes it.")
