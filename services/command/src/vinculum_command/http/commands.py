"""The one endpoint, for every row of ROUTES, and the batch of many commands."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self, cast

import orjson
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import SecretStr, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from vinculum_command import metrics
from vinculum_command.domain.access import AcceptInvitation
from vinculum_command.domain.commands import Caller, Command, Order, authorise, may_give
from vinculum_command.domain.rejections import InvitationInvalid
from vinculum_command.domain.tenants import RegisterTenant
from vinculum_command.execute import DryRun, Executor
from vinculum_command.http.callers import as_caller, standing
from vinculum_command.http.openapi import BATCH, KEY, Acceptance, answer_schema, operation, operation_id
from vinculum_command.http.routes import COMMANDS, PATHS, ROUTES
from vinculum_command.outcomes import Answer
from vinculum_command.turns import Pace
from vinculum_shared import telemetry
from vinculum_shared.contracts.envelope import NDJSON
from vinculum_shared.http.fairness import CountedStream, Quota
from vinculum_shared.http.openapi import SCHEMA
from vinculum_shared.http.principals import Principal, bearer_of
from vinculum_shared.http.requests import (
    JSON_LINES,
    body_lines,
    check_parameters,
    json_object,
    parsed_object,
    refuse_other_than,
)
from vinculum_shared.problems import (
    FieldError,
    Forbidden,
    Internal,
    Invalid,
    PreconditionFailed,
    Problem,
    UnknownField,
    invalid,
    nothing_at,
    pointer,
)
from vinculum_shared.signed import Invitation

log = structlog.get_logger()

BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
BATCHES_MAX: Final = 50  # of a tenant at a time: each may have 16 MiB in memory
BATCH_PATH: Final = "/v1/commands/batch"
IN_FLIGHT_MAX: Final = 128  # lines of one batch
LARGE_BYTES: Final = 16 * 1024  # of a command: it waits for a turn to be read
LINES_MAX: Final = 10_000
DRY_LINES_MAX: Final = 1_000
ETAG: Final = re.compile(r'"?([0-9]{1,18})"?')
FLAG: Final = TypeAdapter(bool)
PARAMETERS_KNOWN: Final = frozenset({"dry_run", "tenant"})


class CommandRoute(APIRoute):
    """Calls its endpoint with the request alone. FastAPI's search for arguments takes as long as deciding a command."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def command_routes() -> APIRouter:
    """Make the routes of the table."""
    router = APIRouter(prefix="/v1", tags=["commands"], route_class=CommandRoute)
    for route, command in ROUTES.items():
        method, path = route.split(" ")
        router.add_api_route(
            path,
            endpoint(command, by_token if command is AcceptInvitation else by_bearer),
            methods=[method],
            operation_id=operation_id(method, path, command),
            description=command.__doc__,
            openapi_extra=operation(method, command),
            responses=answer_schema(command),
            response_model=None,
        )
    router.add_api_route(
        BATCH_PATH.removeprefix("/v1"),
        batch,
        methods=["POST"],
        operation_id="RunBatch",
        openapi_extra=BATCH,
        responses={200: {"content": {NDJSON: {"schema": {"$ref": SCHEMA.format(model="BatchAnswer")}}}}},
        response_model=None,
    )
    return router


class Options(NamedTuple):
    """What the headers and the query of a request say of its command. `expected` is the version that If-Match names."""

    key: str | None
    expected: int | None
    dry_run: bool

    @classmethod
    def of(cls, request: Request) -> Self:
        key = checked_key(request.headers.get("idempotency-key"), "Idempotency-Key")
        return cls(key, version_of(request.headers.get("if-match")), is_dry_run(request))


Reading = Callable[[Request, type[Command]], Awaitable[tuple[Order, Options]]]


def endpoint(command: type[Command], read: Reading) -> Callable[[Request], Awaitable[Response]]:
    async def run(request: Request) -> Response:
        (order, options), executor = await read(request, command), cast(Executor, request.state.executor)
        try:
            if options.dry_run:
                answer = await would_answer(executor, order)
            else:
                answer = await executor.execute(order, options.key, size=len(await request.body()))
        except Problem as problem:
            metrics.COMMANDS.labels(command.__name__, problem.code).inc()
            raise
        metrics.COMMANDS.labels(command.__name__, label_of(answer)).inc()
        return response(answer, order)

    return run


async def would_answer(executor: Executor, order: Order) -> Answer:
    async with executor.dry_run(order.tenant) as dry_run:
        (answer,) = await dry_run.decide(order)
    return answer.result()


async def by_bearer(request: Request, command: type[Command]) -> tuple[Order, Options]:
    """Read a command of the bearer's. What is wrong with it is told to those who may give it, and to nobody else."""
    principal = await bearer_of(request)
    authorise(as_caller(principal), command)
    try:
        check_parameters(request, PARAMETERS_KNOWN)
        options = Options.of(request)
        if len(await request.body()) > LARGE_BYTES:
            await cast(Executor, request.state.executor).pace(principal.tenant or "").turn()
        fields = await json_object(request)
        order = ordered(command, fields, principal, in_path=request.path_params, expected=options.expected)
    except Problem:
        authorise(as_caller(await standing(request, principal)), command)
        raise
    return order, options


async def by_token(request: Request, command: type[Command]) -> tuple[Order, Options]:
    """Read an invitation. No bearer is needed: its token is the proof."""
    check_parameters(request, {"dry_run"})
    options, body = Options.of(request), Acceptance.model_validate(await json_object(request))
    invitation = Invitation.read(cast(SecretStr, request.state.invitation_key), body.token, datetime.now(UTC))
    if invitation is None:
        raise InvitationInvalid
    accept = command.model_validate(invitation.model_dump(exclude={"tenant", "expires_at"}))
    caller = Caller(kind="contact", id=str(invitation.contact_id))
    return given(invitation.tenant, accept, caller, options.expected), options


def ordered(
    command: type[Command],
    fields: Mapping[str, Any],
    principal: Principal,
    *,
    in_path: Mapping[str, str] = MappingProxyType({}),
    expected: int | None = None,
) -> Order:
    """Read a command of a caller, from outside. A field has one place: what the path has, the body has not."""
    twice = [
        FieldError(pointer=pointer([name]), code=UnknownField.code, detail="The path has it. Remove it from the body.")
        for name in fields.keys() & in_path.keys()
    ]
    if twice:
        raise UnknownField(errors=twice)
    try:
        parsed = command.model_validate({**fields, **in_path})
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        for each in errors:
            if each["loc"] and (name := str(each["loc"][0])) in in_path:
                raise nothing_at(name)(**{name: in_path[name]}) from None
        raise invalid(errors) from None
    tenant = parsed.tenant if isinstance(parsed, RegisterTenant) else principal.the_tenant
    return given(tenant, parsed, as_caller(principal), expected)


def given(tenant: str, command: Command, caller: Caller, expected: int | None = None) -> Order:
    return Order(tenant, command, caller, datetime.now(UTC), traceparent=telemetry.traceparent.get(), expected=expected)


def checked_key(key: Any, where: str) -> str | None:
    if key is None or (isinstance(key, str) and KEY.fullmatch(key)):
        return key
    detail = "Give 1 to 255 printable ASCII characters."
    raise Invalid.at(where, "string", detail)


def is_dry_run(request: Request) -> bool:
    try:
        return FLAG.validate_python(request.query_params.get("dry_run", "false"))
    except ValidationError:
        raise Invalid.at("?dry_run", "boolean", "Give true or false.") from None


def version_of(if_match: str | None) -> int | None:
    if if_match is None or if_match == "*":
        return None
    tag = ETAG.fullmatch(if_match)
    if not tag:
        raise PreconditionFailed("Send one strong ETag in If-Match, as an earlier answer has it.")
    return int(tag[1])


def label_of(answer: Answer) -> str:
    return "replayed" if answer.replayed else "done" if answer.events else "nothing"


def response(answer: Answer, order: Order) -> Response:
    headers = {"ETag": f'"{answer.version}"'}
    if answer.position is not None:
        headers["Vinculum-Position"] = str(answer.position)
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    if answer.status == 201:  # noqa: PLR2004
        headers["Location"] = location(order.command, answer.id)
    return Response(
        orjson.dumps({**answer.to_dict(), **order.command.facts()}), answer.status, headers, "application/json"
    )


def location(command: Command, new_id: str) -> str:
    """Give the path of what is new: the route's own where it names it, else the id under it."""
    found = PATHS[type(command)].format_map(command.__dict__)
    return f"/v1{found}" if "/" in new_id else f"/v1{found}/{new_id}"


async def batch(request: Request) -> Response:
    """Carry out many commands, a line each; the answers are lines in the same order, each with a `status`.

    A line sees what the lines before it did. A bad line fails alone. Nothing is carried out until all lines are there,
    since many callers read no answers before they have sent them all.
    """
    principal = await standing(request, await bearer_of(request))
    if not any(may_give(as_caller(principal), command) for command in PATHS):
        raise Forbidden("The token allows no command.")
    executor = cast(Executor, request.state.executor)
    pace = executor.pace(principal.the_tenant)
    check_parameters(request, PARAMETERS_KNOWN)
    dry_run = is_dry_run(request)
    refuse_other_than(JSON_LINES, request)
    with ExitStack() as counted:
        counted.enter_context(cast(Quota, request.state.batches).admit(principal))
        lines = await body_lines(request, DRY_LINES_MAX if dry_run else LINES_MAX, pace.turn)
        if dry_run:
            return Response(await dry_answers(request, lines, principal, executor), media_type=NDJSON)
        return CountedStream(answers(lines, principal, executor, pace), counted.pop_all(), media_type=NDJSON)


async def answers(lines: list[bytes], principal: Principal, executor: Executor, pace: Pace) -> AsyncIterator[bytes]:
    under_way: deque[Coroutine[Any, Any, bytes]] = deque()
    await pace.turn()
    try:
        for line in lines:
            under_way.append(await started(line, principal, executor))
            if pace.over:
                await pace.turn()
            if len(under_way) >= IN_FLIGHT_MAX:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
            if pace.over:
                await pace.turn()
    finally:  # nobody reads on
        for each in under_way:
            each.close()


async def started(line: bytes, principal: Principal, executor: Executor) -> Coroutine[Any, Any, bytes]:
    """Queue a line's command, so that lines keep their order; its answer is awaited later."""
    try:
        order, key = read_line(line, principal)
    except Problem as problem:
        return line_of(settled(problem), None)
    await executor.room(order.tenant)
    return line_of(executor.submit(order, key, size=len(line)).answer, order.command)


async def dry_answers(request: Request, lines: list[bytes], principal: Principal, executor: Executor) -> bytes:
    """Return the answers to a dry run's lines. Of each tenant one dry run at a time is read and decided."""
    told: list[bytes] = []
    async with executor.dry_run(principal.the_tenant) as dry_run:
        for bunch in bunches(lines):
            if await request.is_disconnected():
                raise ClientDisconnect
            await dry_run.pace.turn()
            told += await bunch_answers(bunch, principal, dry_run)
    return b"".join(told)


def bunches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut lines where they become large: what is read of a bunch is in memory until it is decided."""
    bunch: list[bytes] = []
    size = 0
    for line in lines:
        if bunch and size + len(line) > LARGE_BYTES:
            yield bunch
            bunch, size = [], 0
        bunch.append(line)
        size += len(line)
    if bunch:
        yield bunch


async def bunch_answers(lines: list[bytes], principal: Principal, dry_run: DryRun) -> list[bytes]:
    pace = dry_run.pace
    read: list[Order | Problem] = []
    for line in lines:
        try:
            read.append(read_line(line, principal)[0])
        except Problem as problem:
            read.append(problem)
        if pace.over:
            await pace.turn()
    decided = iter(await dry_run.decide(*[each for each in read if isinstance(each, Order)]))
    told = []
    for each in read:
        answer, command = (next(decided), each.command) if isinstance(each, Order) else (settled(each), None)
        told.append(await line_of(answer, command))
        if pace.over:
            await pace.turn()
    return told


def read_line(line: bytes, principal: Principal) -> tuple[Order, str | None]:
    fields = parsed_object(line, "line")
    name, key = fields.pop("command", None), fields.pop("idempotency_key", None)
    command = COMMANDS.get(name) if isinstance(name, str) else None
    if command is None:
        detail = f"Give one of these: {', '.join(COMMANDS)}."
        raise Invalid.at("/command", "unknown_command", detail)
    authorise(as_caller(principal), command)
    return ordered(command, fields, principal), checked_key(key, "/idempotency_key")


def settled(problem: Problem) -> asyncio.Future[Answer]:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    future.set_exception(problem)
    future.exception()  # whoever waited for it may have gone
    return future


async def line_of(answer: asyncio.Future[Answer], command: Command | None) -> bytes:
    name = type(command).__name__ if command else "unknown"
    try:
        found = await answer
    except Problem as problem:
        shown = problem
    except Exception:
        log.exception("line_failed", command=name)
        shown = Internal()
    else:
        metrics.COMMANDS.labels(name, label_of(found)).inc()
        replayed = {"replayed": True} if found.replayed else {}
        return orjson.dumps({"status": found.status, **found.to_dict(), **replayed}) + b"\n"
    metrics.COMMANDS.labels(name, shown.code).inc()
    return shown.json() + b"\n"
