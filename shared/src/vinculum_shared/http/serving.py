"""The anatomy that the three services' HTTP applications share."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from math import inf
from types import MappingProxyType
from typing import Any, Final

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vinculum_shared import metrics, problems, telemetry, wording
from vinculum_shared.deadlines import Deadline
from vinculum_shared.http import api_docs, health, requests
from vinculum_shared.http.entrance import Entrance
from vinculum_shared.http.health import AbleWithout, Check, NotAlive, NotReady
from vinculum_shared.http.openapi import PROBLEM_JSON, PUBLIC, OpenApi, operation_id, raises
from vinculum_shared.postgres import OUTAGE
from vinculum_shared.problems import (
    FieldError,
    Forbidden,
    Internal,
    Invalid,
    Malformed,
    MethodNotAllowed,
    NotFound,
    Problem,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

log = structlog.get_logger()

BODY_BYTES_MAX: Final = 1024 * 1024
BODY_SECONDS_MAX: Final = 60.0
ANSWER_SECONDS_MAX: Final = 10.0

SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def create_app(
    *,
    title: str,
    version: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]],
    routers: Sequence[APIRouter],
    checks: Mapping[str, Check],
    openapi: OpenApi,
    able_without: AbleWithout = MappingProxyType({}),
    answer_seconds: float = ANSWER_SECONDS_MAX,
    larger_bodies: Mapping[str, int] | None = None,
) -> FastAPI:
    """Make a service's application.

    `lifespan` yields what handlers find in `request.state`; `able_without` names parts whose waiting does not make the
    service unready; `larger_bodies` names paths and their limits.
    """
    # As routes of the application itself: an included router is searched twice for each request.
    routers = (health_routes(checks, able_without), *routers, api_docs.router)
    routes = [route for router in routers for route in router.routes]
    for route in routes:
        if isinstance(route, APIRoute):
            route.unique_id = route.operation_id = route.operation_id or operation_id(route)
            if route.response_class is not HTMLResponse:  # links to pages come back with parameters of mail programs
                requests.check(route)
    app = FastAPI(
        title=title,
        version=version,
        lifespan=lifespan,
        routes=routes,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Entrance)
    app.add_middleware(Limits, answer_seconds=answer_seconds, larger=larger_bodies or {})
    app.add_middleware(Answers)
    app.add_exception_handler(Problem, answer_problem)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(RequestValidationError, answer_invalid_request)
    app.add_exception_handler(ValidationError, answer_invalid_body)

    app.openapi = partial(openapi.of, app)  # type: ignore[method-assign]
    return app


def health_routes(checks: Mapping[str, Check], able_without: AbleWithout) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", openapi_extra=PUBLIC | raises(NotAlive))
    async def get_liveness() -> dict[str, Any]:
        """Say that every part of the process shows signs of life."""
        return health.live()

    @router.get("/ready", openapi_extra=PUBLIC | raises(NotReady))
    async def get_readiness(request: Request) -> dict[str, Any]:
        """Say that all is there that the service needs, or what isn't."""
        return await health.ready(request, checks, able_without)

    return router


FAULTS: Final = (Malformed, Invalid, UnsupportedMediaType)
"""What is wrong with a request: told to those alone who have the right to make it."""


def problem_response(problem: Problem) -> Response:
    return Response(
        problem.json(),
        status_code=problem.status,
        headers=problem.headers(),
        media_type=PROBLEM_JSON,
    )


async def answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return await fault_response(request, error) if isinstance(error, FAULTS) else problem_response(error)


async def fault_response(request: Request, fault: Problem) -> Response:
    """Tell what is wrong with a request, or refuse the caller who has no right to make it."""
    try:
        await requests.require_rights(request)
    except Problem as refusal:
        return problem_response(refusal)
    return problem_response(fault)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Answer for the router (404, 405) and FastAPI, which hides a problem that came up while it read a body."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, Problem):
        return problem_response(error.__cause__)
    known = {problem.status: problem for problem in (Malformed, Unauthorized, Forbidden, NotFound, MethodNotAllowed)}
    response = problem_response(known.get(error.status_code, Malformed)())
    response.headers.update(error.headers or {})
    if error.status_code == MethodNotAllowed.status:
        response.headers["Allow"] = ", ".join(allowed(request))
    return response


def allowed(request: Request) -> list[str]:
    """Return the methods of all routes at the request's path; the router's own answer names those of the first."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in routes if isinstance(route, Route) for method in route.methods or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


PREFIXES: Final = {"query": "?", "header": ""}


async def answer_invalid_request(request: Request, error: Exception) -> Response:
    """Tell what FastAPI found wrong. An id in the path that can't be one is an address where nothing is."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return await fault_response(request, Malformed("The body is not JSON."))
    in_path = [each for each in found if each["loc"][0] == "path"]
    if in_path:
        name, value = in_path[0]["loc"][1], in_path[0]["input"]
        return await fault_response(request, problems.nothing_at(name)(**{name: value}))
    in_body = [each | {"loc": each["loc"][1:]} for each in found if each["loc"][0] == "body"]
    elsewhere = [
        FieldError(
            pointer=f"{PREFIXES[each['loc'][0]]}{each['loc'][1]}", code=each["type"], detail=wording.detail(each)
        )
        for each in found
        if each["loc"][0] in PREFIXES
    ]
    return await fault_response(request, problems.invalid(in_body, elsewhere))


async def answer_invalid_body(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    return await fault_response(request, problems.invalid(error.errors(include_url=False, include_input=False)))


class Limits:
    """What a request may cost, whatever its route.

    400 for a header that is given twice; 413 for a body over its path's limit, before it is in memory; 408 for one
    that is slow; 503 for a slow answer.

    The time to answer counts from the end of the body to the beginning of the answer, which may be a stream.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        answer_seconds: float = ANSWER_SECONDS_MAX,
        body_seconds: float = BODY_SECONDS_MAX,
        larger: Mapping[str, int],
    ) -> None:
        self.app = app
        self.answer_seconds = answer_seconds
        self.body_seconds = body_seconds
        self.larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if repeated := requests.repeated_header(headers):
            await problem_response(Malformed(f"Send the header {repeated.title()} once."))(scope, receive, send)
            return
        bytes_max = self.larger.get(scope["path"], BODY_BYTES_MAX)
        if int(headers.get("content-length", 0)) > bytes_max:
            await problem_response(TooLarge(bytes_max=bytes_max))(scope, receive, send)
            return
        exchange = Exchange(receive, send, bytes_max, self)
        try:
            with Deadline(self.answer_seconds) as exchange.deadline:
                await self.app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            if exchange.answering or not exchange.reading:
                raise
            await problem_response(TooSlow())(scope, receive, send)


class Exchange:
    """A request and its answer, as far as they have come."""

    deadline: Deadline

    def __init__(self, receive: Receive, send: Send, bytes_max: int, limits: Limits) -> None:
        self._receive = receive
        self._send = send
        self._bytes_max = self._bytes_left = bytes_max
        self._limits = limits
        self._body_at = time.monotonic() + limits.body_seconds
        self._complete = False
        self.reading = False
        self.answering = False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        self.reading, self.deadline.at = True, self._body_at
        message = await self._receive()
        self.reading = False
        self.deadline.at = inf if self.answering else time.monotonic() + self._limits.answer_seconds
        self._complete = not message.get("more_body", False)
        self._bytes_left -= len(message.get("body", b""))
        if self._bytes_left < 0:
            raise TooLarge(bytes_max=self._bytes_max)
        return message

    async def send(self, message: Message) -> None:
        if not self.answering:
            self.answering = True
            self.deadline.at = self._body_at if self.reading else inf
        await self._send(message)


class Answers:
    """What all answers have in common: trace context, security headers, a metric, HEAD wherever there is a GET.

    A failure that nobody handled ends here, as a problem; an answer that has begun can only be cut off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        if head := scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # a copy: by its own, uvicorn leaves the body out

        async def send_answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in SECURITY_HEADERS if each[0] not in own)]
            await send(message)
            if head:  # the rest may be a stream without end
                await send({"type": "http.response.body"})
                raise ClientDisconnect

        with telemetry.continuing(telemetry.continued(Headers(scope=scope).get("traceparent"))):
            try:
                await self.app(scope, receive, send_answer)
            except ClientDisconnect:
                return
            except Exception as error:
                problem = failed(error, route(scope))
                if status:
                    raise
                await problem_response(problem)(scope, receive, send_answer)
            finally:
                method = scope["method"] if scope["method"] in metrics.METHODS else "other"
                metrics.HTTP_SECONDS.labels(method, route(scope), status).observe(time.perf_counter() - began)


def failed(error: Exception, where: str) -> Problem:
    """Log a failure that nobody handled, and return what the caller is told."""
    if isinstance(error, OUTAGE):
        log.warning("request_unanswered", route=where, reason=type(error).__name__)
        return Unavailable()
    log.error("request_failed", route=where, exc_info=error)
    return Internal()


def route(scope: Scope) -> str:
    """Give the path's template: the path itself has ids and tokens, without end."""
    path: str = getattr(scope.get("route"), "path", "none")
    return path
