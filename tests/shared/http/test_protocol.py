"""How long a connection may take, and how much it may say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from support.http_server import served
from vinculum_shared.http.protocol import BoundedHttpProtocol
from vinculum_shared.http.serving import Answers, Limits, answer_problem
from vinculum_shared.problems import Problem

pytestmark = pytest.mark.unit


class Hasty(BoundedHttpProtocol):
    head_seconds_max = 0.3


async def echo(request: Request) -> Response:
    body = await request.body()
    named = [name.decode() for name, _ in request.scope["headers"]]
    return PlainTextResponse(body, headers={"X-Named": " ".join(named)})


async def hang(_: Request) -> Response:
    return PlainTextResponse(str(await asyncio.Event().wait()))


async def stream(_: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        yield "begun\n"
        await asyncio.sleep(1.0)  # more than an answer may take to begin
        yield "ended\n"

    return StreamingResponse(lines())


@pytest.fixture
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    routes = [Route("/", echo, methods=["POST"]), Route("/hanging", hang), Route("/stream", stream)]
    app = Starlette(routes=routes, exception_handlers={Problem: answer_problem})
    app.add_middleware(Limits, larger={}, body_seconds=0.3, answer_seconds=0.3)
    app.add_middleware(Answers)
    async with served(app, http=Hasty) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        yield reader, writer
        writer.close()


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What is answered until the other side closes, politely or not."""
    with suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 20.0)
    return b""


async def test_a_connection_that_says_nothing_is_closed(connection: Connection) -> None:
    reader, _ = connection
    assert await until_closed(reader) == b""


async def test_headers_that_trickle_are_not_waited_for(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"POST / HTTP/1.1\r\nHost: vinculum\r\n")
    closed = asyncio.create_task(until_closed(reader))
    for number in range(500):
        if closed.done():
            break
        writer.write(b"X-%d: y\r\n" % number)
        await asyncio.wait([closed], timeout=0.02)
    assert await closed == b""


async def test_headers_without_end_are_refused(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"POST / HTTP/1.1\r\nX: " + b"y" * BoundedHttpProtocol.head_bytes_max)
    answer = await asyncio.wait_for(reader.read(), 5.0)
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_does_not_come_is_not_waited_for(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"POST / HTTP/1.1\r\nHost: vinculum\r\nContent-Length: 10\r\n\r\nabc")
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5.0)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"too_slow"' in answer


async def test_a_kept_connection_has_as_long_for_each_request(connection: Connection) -> None:
    reader, writer = connection
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nHost: vinculum\r\nContent-Length: 3\r\n\r\n")
        writer.write(b"abc")
        assert (await asyncio.wait_for(reader.readuntil(b"abc"), 5.0)).startswith(b"HTTP/1.1 200 ")


async def test_trailers_are_not_headers(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"POST / HTTP/1.1\r\nHost: vinculum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    writer.write(b"0\r\nIf-Match: 1\r\nAuthorization: Bearer x\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"abc"), 20.0)
    assert b"x-named: host transfer-encoding\r\n" in answer.lower()
    writer.write(b"POST / HTTP/1.1\r\nHost: vinculum\r\nContent-Length: 3\r\n\r\nabc")
    answer = await asyncio.wait_for(reader.readuntil(b"abc"), 20.0)
    assert b"x-named: host content-length\r\n" in answer.lower()


async def test_an_answer_that_does_not_begin_is_503(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"GET /hanging HTTP/1.1\r\nHost: vinculum\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 20.0)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in answer


async def test_an_answer_that_has_begun_may_take_longer(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"GET /stream HTTP/1.1\r\nHost: vinculum\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"ended"), 20.0)
    assert answer.startswith(b"HTTP/1.1 200 ")
