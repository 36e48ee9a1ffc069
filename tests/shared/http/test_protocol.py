"""How long a connection may take, and how much it may say."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
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
    read_seconds_max = 0.3


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


async def refuse(_: Request) -> Response:
    return PlainTextResponse("refused", status_code=401)


@pytest.fixture
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    routes = [Route("/", echo, methods=["POST"]), Route("/hanging", hang), Route("/stream", stream)]
    routes.append(Route("/refused", refuse, methods=["POST"]))
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
    _, writer = connection
    writer.write(b"POST / HTTP/1.1\r\nHost: vinculum\r\n")
    await trickle(b"X: y\r\n", *connection)


HEAD = b"POST / HTTP/1.1\r\nHost: vinculum\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
MAX = BoundedHttpProtocol.head_bytes_max


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"X: " + b"y" * MAX,  # without end
        HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        HEAD + b"X: y\r\n" * (MAX // 5) + b"\r\n",
        HEAD + (b"X: " + b"y" * 8_000 + b"\r\n") * 200 + b"\r\n",
        b"POST /" + b"y" * 2_000_000,
        CHUNKED + b"X: y\r\n" * (MAX // 5) + b"\r\n",
        CHUNKED + b"X: " + b"y" * 200_000,
        CHUNKED[:-3] + b"0;" + b"y" * 2_000_000,
    ],
    ids=["endless", "one field", "many fields", "long", "address", "trailers", "an endless trailer", "an extension"],
)
async def test_a_head_or_trailers_that_are_too_large_are_refused(connection: Connection, request_: bytes) -> None:
    """However much the peer still sends, it reads why."""
    reader, writer = connection
    writer.write(request_)
    answer = await asyncio.wait_for(reader.read(), 20.0)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert problem(answer) == (431, "head_too_large")


async def test_what_is_not_http_is_refused_with_a_problem(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20.0)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert problem(answer) == (400, "malformed")


async def test_a_request_on_a_connection_too_many_is_refused_with_a_problem() -> None:
    async with served(Starlette(), connections_max=1) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(b"GET / HTTP/1.1\r\nHost: vinculum\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20.0)
        writer.close()
        assert b"\r\nretry-after: 1\r\n" in answer
        assert problem(answer) == (503, "unavailable")


def problem(answer: bytes) -> tuple[int, str]:
    """Return the status and the code of a problem, which is the whole of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json\r\n" in head.lower() + b"\r\n"
    assert f"content-length: {len(body)}".encode() in head.lower()
    said = json.loads(body)
    return said["status"], said["code"]


async def test_a_head_may_be_as_large_as_documented(connection: Connection) -> None:
    reader, writer = connection
    field = b"X: " + b"y" * 60_000 + b"\r\n"
    for _ in range(3):
        writer.write(HEAD + field + b"Content-Length: 3\r\n\r\nabc")
        assert (await asyncio.wait_for(reader.readuntil(b"abc"), 20.0)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_does_not_count_as_the_next_head(connection: Connection) -> None:
    reader, writer = connection
    body = b"a" * 200_000
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body + HEAD)
    assert (await asyncio.wait_for(reader.readuntil(body), 20.0)).startswith(b"HTTP/1.1 200 ")
    writer.write(b"Content-Length: 3\r\n\r\nabc")
    assert (await asyncio.wait_for(reader.readuntil(b"abc"), 20.0)).startswith(b"HTTP/1.1 200 ")


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


async def test_a_request_is_served_however_many_connections_are_silent_or_slow() -> None:
    app = Starlette(routes=[Route("/", echo, methods=["POST"])], exception_handlers={Problem: answer_problem})
    app.add_middleware(Limits, larger={})
    head = b"POST / HTTP/1.1\r\nHost: vinculum\r\nContent-Length: 3\r\n"
    async with served(app, connections_max=20) as url, AsyncExitStack() as opened:
        port = urlsplit(url).port

        async def send(data: bytes) -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.callback(writer.close)
            writer.write(data)
            return reader

        for begun in [b"", head, head + b"\r\na"] * 20:
            await send(begun)
        for _ in range(10):
            reader = await send(head + b"\r\nabc")
            assert (await asyncio.wait_for(reader.readuntil(b"abc"), 20.0)).startswith(b"HTTP/1.1 200 ")


async def test_a_connection_that_is_being_answered_makes_no_room() -> None:
    go_on = asyncio.Event()

    async def late(request: Request) -> Response:
        await go_on.wait()
        return PlainTextResponse(await request.body())

    async with (
        served(Starlette(routes=[Route("/", late, methods=["POST"])]), connections_max=20) as url,
        AsyncExitStack() as opened,
    ):
        port = urlsplit(url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.callback(writer.close)
        writer.write(b"POST / HTTP/1.1\r\nHost: vinculum\r\nContent-Length: 3\r\n\r\nabc")
        for _ in range(60):
            _, silent = await asyncio.open_connection("127.0.0.1", port)
            opened.callback(silent.close)
        go_on.set()
        assert (await asyncio.wait_for(reader.readuntil(b"abc"), 20.0)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", [b"/refused", b"/"])
async def test_what_trickles_in_after_an_answer_does_not_keep_the_connection(
    connection: Connection, path: bytes
) -> None:
    reader, writer = connection
    size = b"10000000" if path == b"/" else b"1000000"
    writer.write(b"POST %b HTTP/1.1\r\nHost: vinculum\r\nContent-Length: %b\r\n\r\n" % (path, size))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20.0)
    await trickle(b"x", *connection)


async def test_line_breaks_do_not_keep_an_idle_connection(connection: Connection) -> None:
    reader, writer = connection
    writer.write(b"POST / HTTP/1.1\r\nHost: vinculum\r\nContent-Length: 3\r\n\r\nabc")
    await asyncio.wait_for(reader.readuntil(b"abc"), 20.0)
    await trickle(b"\r\n", *connection)


async def trickle(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a little again and again, until the connection is closed."""
    closed = asyncio.create_task(until_closed(reader))
    async with asyncio.timeout(20.0):
        while not closed.done():
            writer.write(data)
            await asyncio.wait([closed], timeout=0.02)


async def test_a_connection_goes_on_after_an_answer_that_came_before_the_body(connection: Connection) -> None:
    reader, writer = connection
    for _ in range(3):
        writer.write(b"POST /refused HTTP/1.1\r\nHost: vinculum\r\nContent-Length: 3\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"refused"), 20.0)).startswith(b"HTTP/1.1 401 ")
        writer.write(b"abc")


async def test_an_answer_that_nobody_reads_is_cut_off() -> None:
    ended = asyncio.Event()

    async def pour(_: Request) -> Response:
        async def lines() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65_536
                    await asyncio.sleep(0)
            finally:
                ended.set()

        return StreamingResponse(lines())

    async with served(Starlette(routes=[Route("/", pour)]), http=Hasty) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(b"GET / HTTP/1.1\r\nHost: vinculum\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20.0)
        await asyncio.wait_for(ended.wait(), 20.0)
        writer.close()
