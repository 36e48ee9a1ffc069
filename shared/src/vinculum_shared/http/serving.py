"""The anatomy that the three services' HTTP applications share."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final

import orjson
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

from vinculum_shared import metrics, problems, telemetry
from vinculum_shared.http import api_docs, health, requests
from vinculum_shared.http.health import Check
from vinculum_shared.http.openapi import PUBLIC, OpenApi, operation_id
from vinculum_shared.problems import (
    FieldError,
    Forbidden,
    Internal,
    Malformed,
    MethodNotAllowed,
    NotFound,
    Problem,
    TooLarge,
    TooSlow,
    Unauthorized,
)

log = structlog.get_logger()

BODY_BYTES_MAX: Final = 1024 * 1024
BODY_SECONDS_MAX: Final = 60.0

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
    able_without: Collection[str] = (),
    larger_bodies: Mapping[str, int] | None = None,
) -> FastAPI:
    """Make a service's application.

    `lifespan` yields what handlers find in `request.state`; `able_without` names the parts that may wait for something
    while the service is ready; `larger_bodies` names paths and their limits.
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
    app.add_middleware(BodyLimit, larger=larger_bodies or {})
    app.add_middleware(Answers)
    app.add_exception_handler(Problem, answer_problem)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(RequestValidationError, answer_invalid_request)
    app.add_exception_handler(ValidationError, answer_invalid_body)

    app.openapi = partial(openapi.of, app)  # type: ignore[method-assign]
    return app


def health_routes(checks: Mapping[str, Check], able_without: Collection[str]) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", openapi_extra=PUBLIC)
    async def get_liveness() -> dict[str, Any]:
        """Say that every part of the process shows signs of life."""
        return health.live()

    @router.get("/ready", openapi_extra=PUBLIC)
    async def get_readiness(request: Request) -> dict[str, Any]:
        """Say that all is there that the service needs, or what isn't."""
        return await health.ready(request, checks, able_without)

    return router


def problem_response(problem: Problem) -> Response:
    return Response(
        orjson.dumps(problem.to_dict(), default=str),
        status_code=problem.status,
        headers=problem.headers(),
        media_type="application/problem+json",
    )


async def answer_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error)


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


async def answer_invalid_request(_: Request, error: Exception) -> Response:
    """Tell what FastAPI found wrong. An id in the path that can't be one is an address where nothing is."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return problem_response(Malformed("The body is not JSON."))
    in_path = [each["loc"][1] for each in found if each["loc"][0] == "path"]
    if in_path:
        return problem_response(problems.nothing_at(in_path[0]))
    in_body = [each | {"loc": each["loc"][1:]} for each in found if each["loc"][0] == "body"]
    elsewhere = [
        FieldError(pointer=f"{PREFIXES[each['loc'][0]]}{each['loc'][1]}", code=each["type"], detail=each["msg"])
        for each in found
        if each["loc"][0] in PREFIXES
    ]
    return problem_response(problems.invalid(in_body, elsewhere))


async def answer_invalid_body(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    return problem_response(problems.invalid(error.errors()))


class BodyLimit:
    """413 for a body over its path's limit, before it is in memory; 408 for one that doesn't come."""

    def __init__(self, app: ASGIApp, larger: Mapping[str, int], seconds_max: float = BODY_SECONDS_MAX) -> None:
        self.app = app
        self.larger = larger
        self.seconds_max = seconds_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.larger.get(scope["path"], BODY_BYTES_MAX)
        if int(Headers(scope=scope).get("content-length", 0)) > limit:
            await problem_response(TooLarge(bytes_max=limit))(scope, receive, send)
            return
        received, complete = 0, False
        deadline = asyncio.get_running_loop().time() + self.seconds_max

        async def receive_limited() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise TooSlow from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > limit:
                raise TooLarge(bytes_max=limit)
            return message

        await self.app(scope, receive_limited, send)


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
            except Exception:
                log.exception("request_failed", route=route(scope))
                if status:
                    raise
                await problem_response(Internal())(scope, receive, send_answer)
            finally:
                method = scope["method"] if scope["method"] in metrics.METHODS else "other"
                metrics.HTTP_SECONDS.labels(method, route(scope), status).observe(time.perf_counter() - began)


def route(scope: Scope) -> str:
    """Give the path's template: the path itself has ids and tokens, without end."""
    path: str = getattr(scope.get("route"), "path", "none")
    return path
