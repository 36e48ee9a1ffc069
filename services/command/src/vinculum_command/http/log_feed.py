"""The log over HTTP: in pages of NDJSON, waiting for more if asked to, or live as server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, nullcontext
from typing import Annotated, Any, Final, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from vinculum_command import reading
from vinculum_command.doorbell import News
from vinculum_command.http.answers import LogEventIds, LogPositions
from vinculum_command.http.callers import Bearer, may_read
from vinculum_command.http.openapi import AppliedPositions, body_schema
from vinculum_command.reading import Filter, Line
from vinculum_shared import deadlines
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import NDJSON
from vinculum_shared.deadlines import Deadline
from vinculum_shared.http.fairness import CountedStream, Quota, Turns
from vinculum_shared.http.openapi import SCHEMA
from vinculum_shared.http.principals import Principal, bearer_of
from vinculum_shared.http.readers import OPERATORS, READERS, require_reader
from vinculum_shared.http.requests import Guard, json_object
from vinculum_shared.http.snapshots import of_tenant
from vinculum_shared.postgres import OUTAGE, Connection, Pool, lent
from vinculum_shared.problems import Forbidden, Invalid, Unauthorized, Unavailable
from vinculum_shared.supervision import set_within

router = APIRouter(prefix="/v1", tags=["log"])

SSE: Final = "text/event-stream"
PAGE_MAX: Final = 1_000
WAIT_SECONDS_MAX: Final = 30
KEEP_ALIVE_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 4.0  # until a reader learns of what no doorbell was heard for, or that its rights have ended
READ_SECONDS_MAX: Final = 10.0
PAUSE_SECONDS: Final = 1.0  # of a stream, when Postgres did not answer it
RECONNECT_MS: Final = 2_000  # how long a browser waits before it opens a stream again
FOLLOWERS_MAX: Final = 500
FOLLOW_AGAIN_SECONDS_MAX: Final = 15  # a stream that is open stays so for long
FOLLOWERS_OF_TENANT_MAX: Final = 100
FOLLOWERS_OF_PRINCIPAL_MAX: Final = 50
CONNECTIONS: Final = 4  # of the feeds' own: who may enter is never decided behind hundreds of streams
AT_ONCE: Final = 2  # of these, for all streams that are live, and for what one tenant reads up to there
LIVE: Final = "live"

FORMS: Final[Any] = {
    NDJSON: {"schema": {"$ref": SCHEMA.format(model="LogEvent")}},
    SSE: {
        "schema": {"type": "string", "description": "`id` is the position, `data` a LogEvent."},
        "example": 'id: 10234\ndata: {"specversion": "1.0", "position": 10234, …}\n\n',
    },
}

After = Annotated[
    str | None,
    Query(
        max_length=90,
        description="The position after which to begin; for all tenants, `tenant:position`. "
        "One beyond the end of the log is 422.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Wait = Annotated[
    float, Query(ge=0, le=WAIT_SECONDS_MAX, description="For how many seconds to wait if nothing is there yet.")
]
LastEventId = Annotated[
    str | None, Header(description="The position that a stream goes on after, whatever `after` says.")
]


def followers() -> Quota:
    """Make the quota of the streams, and of the requests that wait for news."""
    return Quota(
        of_tenant=FOLLOWERS_OF_TENANT_MAX,
        of_principal=FOLLOWERS_OF_PRINCIPAL_MAX,
        in_all=FOLLOWERS_MAX,
        again_seconds=FOLLOW_AGAIN_SECONDS_MAX,
    )


@asynccontextmanager
async def allowed(request: Request, pool: Pool) -> AsyncIterator[Connection]:
    """Read as somebody whose token has not expired, and who may read the whole log of a tenant."""
    principal = await bearer_of(request)
    require_reader(principal, "log")
    async with of_tenant(pool, principal.the_tenant) as db:
        if await may_read(db, principal, scope="log"):
            raise Forbidden("The log is of the whole tenant, and you see only what you manage.")
        yield db


class LogGuard(Guard):
    """Who asks for the log. Each look at it checks the rights in the snapshot that it reads, so this does not."""

    async def __call__(self, principal: Bearer) -> Principal:
        return principal

    async def admit(self, request: Request) -> None:
        principal = await bearer_of(request)
        if is_of_all_tenants(principal):
            require_all_tenants(principal)
            return
        async with allowed(request, request.state.reader):
            pass


@router.get("/log", response_model=None, responses={200: {"content": FORMS}})
async def read_log(
    request: Request,
    principal: Annotated[Principal, Depends(LogGuard())],
    after: After = None,
    limit: Limit = 100,
    wait: Wait = 0,
    types: Annotated[str | None, Query()] = None,
    account_id: Annotated[UUID | None, Query()] = None,
    contact_id: Annotated[UUID | None, Query()] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Read the log after a position. A filtered one ends with the position up to which all were looked at.

    A service for all tenants that names none reads everything, after `tenant:position`, in that order; not live.
    """
    only = Filter(_types(types), account_id, contact_id)
    if is_of_all_tenants(principal):
        require_all_tenants(principal)
        if not only.is_all:
            raise Invalid.at("?tenant", "missing", "A filter is for one tenant. Name it.")
        tenant, position = _place(after)
        async with lent(request.state.log) as db:
            if tenant:
                refuse_beyond("?after", position, await reading.last_position(db, tenant))
            lines = await reading.log_of_all(db, (tenant, position), limit, personal=principal.sees_personal)
        return _page(lines, None)
    followers = cast(Quota, request.state.followers)
    if SSE in request.headers.get("accept", ""):
        place = "Last-Event-ID" if last_event_id else "?after"
        start = _position(last_event_id or after, place)
        return await Feed(request, principal, only, place).live(start, followers)
    with followers.admit(principal) if wait else nullcontext():
        lines, reached = await Feed(request, principal, only).page(_position(after), limit, wait)
    return _page(lines, None if only.is_all else reached, reached)


async def log_of(request: Request, principal: Bearer) -> AsyncIterator[tuple[Connection, str | None]]:
    """Open the log of the one tenant whose positions the caller may know, or of all."""
    if is_of_all_tenants(principal):
        require_all_tenants(principal)
        async with lent(request.state.log) as db:
            yield db, None
        return
    require_reader(principal, "log")
    async with of_tenant(request.state.reader, principal.the_tenant) as db:
        await may_read(db, principal, scope="log", roles=READERS | OPERATORS)
        yield db, principal.the_tenant


async def arrived(request: Request, _: Bearer) -> bytes:
    """Await the body. A slow one is not to keep a connection to the database waiting."""
    return await request.body()


LogOf = Annotated[tuple[Connection, str | None], Depends(log_of, scope="function")]


@router.get("/log/positions", response_model=None, responses={200: {"model": LogPositions}})
async def get_log_positions(log: LogOf) -> Response:
    """Give the last position of the tenant's log; to a service for all tenants, of each."""
    db, tenant = log
    found = {tenant: await reading.last_position(db, tenant)} if tenant else await reading.positions(db)
    return Response(orjson.dumps({"positions": found}), media_type="application/json")


@router.post(
    "/log/positions",
    response_model=None,
    responses={200: {"model": LogEventIds}},
    openapi_extra=body_schema(AppliedPositions),
)
async def compare_log_positions(request: Request, _: Annotated[bytes, Depends(arrived)], log: LogOf) -> Response:
    """Return the last position of each tenant in `at`, and the id of its event at the position given there.

    A reader whose last event has another id, or a position that the log does not have, has applied something else than
    the log. Tenants that the log does not have are left out, and so are the ids of positions that it does not have.
    """
    db, tenant = log
    at = AppliedPositions.model_validate(await json_object(request)).at
    own = at if tenant is None else {tenant: at[tenant]} if tenant in at else {}
    found, ids = await reading.events_at(db, own)
    return Response(orjson.dumps({"positions": found, "ids": ids}), media_type="application/json")


class Feed:
    """One reader's log of one tenant. Each look checks the reader's rights in the snapshot that it reads.

    It takes turns with the tenant's others; once it is live, with all that are.
    """

    def __init__(self, request: Request, principal: Principal, only: Filter, place: str = "?after") -> None:
        self._request = request
        self._pool: Pool = request.state.feed
        self._is_live = False
        self._place = place
        self._news: News = request.state.news
        self._stop: asyncio.Event = request.state.stop
        self._principal, self._tenant, self._only = principal, principal.the_tenant, only

    async def look(self, after: int, limit: int) -> tuple[list[Line], int]:
        with Deadline(READ_SECONDS_MAX):
            async with self._turn(), allowed(self._request, self._pool) as db:
                lines, reached = await reading.log(
                    db, self._tenant, after, limit, only=self._only, personal=self._principal.sees_personal
                )
        refuse_beyond(self._place, after, reached)
        return lines, reached

    def _turn(self) -> AbstractAsyncContextManager[None]:
        state = self._request.state
        turns, share = (state.live_turns, LIVE) if self._is_live else (state.log_turns, self._tenant)
        return cast(Turns, turns).of(share)

    async def page(self, after: int, limit: int, wait: float) -> tuple[list[Line], int]:
        """Give what is there; if nothing is, wait for it."""
        deadlines.extend(wait)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        with self._news.of(self._tenant) as news:
            while True:
                news.clear()
                lines, reached = await self.look(after, limit)
                left = deadline - loop.time()
                if lines or left <= 0 or self._stop.is_set():
                    return lines, reached
                if reached <= after:
                    await set_within(news, min(left, LOOK_SECONDS))
                after = max(after, reached)

    async def live(self, after: int, followers: Quota) -> StreamingResponse:
        turns, pool = self._request.state.queries.turns, self._request.state.reader
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        with ExitStack() as counted:
            counted.enter_context(followers.admit(self._principal))  # a stream too many costs no look at the rights
            async with turns.of(self._tenant), allowed(self._request, pool) as db:
                refuse_beyond(self._place, after, await reading.last_position(db, self._tenant))
            return CountedStream(self._events(after), counted.pop_all(), media_type=SSE, headers=headers)

    async def _events(self, after: int) -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % RECONNECT_MS
        while not self._stop.is_set():
            try:
                lines, after = await self.page(after, PAGE_MAX, KEEP_ALIVE_SECONDS)
                self._is_live = len(lines) < PAGE_MAX
            except (Unavailable, *OUTAGE):
                lines = []
                await set_within(self._stop, PAUSE_SECONDS)
            except (Unauthorized, Forbidden, Invalid):
                return
            if lines:
                yield b"".join(_sent_event(line) for line in lines)
            else:
                yield b": still here\n\n"


def _sent_event(line: Line) -> bytes:
    """Write an event without a name: an EventSource hears named ones only where it listens for just that name."""
    return b"id: %d\ndata: %s\n\n" % (line.position, line.event)


def _page(lines: list[Line], checkpoint: int | None, reached: int | None = None) -> Response:
    body = b"".join(line.event + b"\n" for line in lines)
    if checkpoint is not None:
        body += b'{"checkpoint": %d}\n' % checkpoint
    headers = {} if reached is None else {"Vinculum-Position": str(reached)}
    return Response(body, media_type=NDJSON, headers=headers)


def is_of_all_tenants(principal: Principal) -> bool:
    return principal.kind == "service" and principal.tenant is None


def require_all_tenants(principal: Principal) -> None:
    principal.require_scope("log")
    if "all_tenants" not in principal.scopes:
        raise Forbidden("The token lacks the scope all_tenants.", scope="all_tenants")


def _types(types: str | None) -> tuple[str, ...] | None:
    if not types:
        return None
    wanted = tuple(each.strip() for each in types.split(","))
    unknown = [each for each in wanted if each not in EVENT_TYPES]
    if unknown:
        detail = f"There is no {', '.join(unknown)}. The types are listed in docs/reference/events.md."
        raise Invalid.at("?types", "unknown_type", detail)
    return wanted


def refuse_beyond(place: str, position: int, end: int) -> None:
    """Refuse to go on after an event that the log does not have: until others take its place, nothing would come."""
    if position > end:
        detail = f"The log ends at {end}. If you have read further, it has been restored: read it from the beginning."
        raise Invalid.at(place, "beyond_log", detail)


def _position(after: str | None, where: str = "?after") -> int:
    if not after:
        return 0
    if not (after.isascii() and after.isdecimal()) or len(after) > 18:  # noqa: PLR2004  what a bigint holds
        raise Invalid.at(where, "int_parsing", "Give a position: a whole number, 0 or more.")
    return int(after)


def _place(after: str | None) -> tuple[str, int]:
    tenant, _, position = (after or "").rpartition(":")
    if position.strip("0") and not tenant:
        raise Invalid.at("?after", "place", "Give `tenant:position`.")
    return tenant, _position(position)
