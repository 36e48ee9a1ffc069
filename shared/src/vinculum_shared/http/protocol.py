"""HTTP as uvicorn speaks it, with an end to what a silent or slow peer can hold up."""

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from vinculum_shared.http.openapi import PROBLEM_JSON
from vinculum_shared.http.serving import problem_response
from vinculum_shared.problems import HeadTooLarge, Malformed, Problem, Unavailable

CROWDED: Final = 0.5
"""The share of the connections above which peers have less time."""


class Connections(ServerState):
    """The connections of a server."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[BoundedHttpProtocol, float] = {}
        """Those that wait for a request or for the rest of one, and since when; the longest first."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """A connection that waits for its peer too long is closed; uvicorn alone would keep it for ever.

    The more connections there are, the sooner: where all are taken, the one that has waited longest makes room for
    the next. A peer that sends its request at once is served however many others send nothing.
    """

    head_seconds_max: ClassVar[float] = 10.0
    head_bytes_max: ClassVar[int] = 64 * 1024
    wait_seconds_max: ClassVar[float] = 60.0  # for a whole request, where others need the connection
    read_seconds_max: ClassVar[float] = 30.0  # in which the peer has to take some of its answer

    server_state: Connections
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _in_head = False
    _in_body = False
    _field_bytes = 0  # of the head, or of what follows a chunked body
    _unparsed_bytes = 0  # received, and not told by the parser yet
    _refused = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()
        self._await_head()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.waiting.pop(self, None)
        self._cancel_deadline()
        self._cancel_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._in_body and not self._answering:
            self._await_head()  # even of a line break, which begins no request and would only put off the keep-alive
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._field_bytes + self._unparsed_bytes > self.head_bytes_max:
            self._refuse(HeadTooLarge())

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser can't read, or read no further."""
        large = self._field_bytes > self.head_bytes_max
        self._refuse(HeadTooLarge() if large else Malformed(f"{msg} Send HTTP/1.1, without an upgrade."))

    def _refuse(self, problem: Problem) -> None:
        """Refuse the request. Closing at once would reset a peer that is still sending, and lose the answer."""
        if self._refused:
            return
        self._refused = True
        begun = self.cycle.response_started if self._answering else self._in_body
        if self._answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if begun:  # it can't be answered twice
            self.transport.abort()
            return
        self.flow.resume_reading()
        self.transport.write(whole_answer(problem))
        self.transport.write_eof()
        self._close_within(self.head_seconds_max)

    def on_message_begin(self) -> None:
        if not self._answering:
            self._wait()
        self._await_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Ignore trailers: a field that follows the body must not pass for a header."""
        self._count(len(name) + len(value) + len(": \r\n"))
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        self._field_bytes = self._unparsed_bytes = 0
        self._cancel_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._field_bytes = self._unparsed_bytes = 0
        super().on_message_complete()
        if self._answering:
            self.server_state.waiting.pop(self, None)
        else:  # it was answered before its body had come
            self._cancel_deadline()
            self._await_head()
            self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._close_within(self.read_seconds_max)
        elif self._answering:
            return  # the next request, which was pipelined
        elif self._in_body:
            self._close_within(self.head_seconds_max)
        else:
            self._wait()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()  # closed politely, it would wait for what the peer has not read

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.read_seconds_max, self.transport.abort)

    def resume_writing(self) -> None:
        self._cancel_unread()
        super().resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        answering: Any = crowded_out if app is service_unavailable else app
        super()._start_asgi_task(cycle, answering)

    @property
    def _answering(self) -> bool:
        cycle = cast(RequestResponseCycle | None, self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _count(self, size: int) -> None:
        """Count the bytes of a field. The parser ends at what is raised, and the request is refused."""
        self._unparsed_bytes = max(0, self._unparsed_bytes - size)
        self._field_bytes += size
        if self._field_bytes > self.head_bytes_max:
            raise ValueError("the head is too large")

    def _wait(self) -> None:
        self.server_state.waiting.pop(self, None)
        self.server_state.waiting[self] = self.loop.time()

    def _await_head(self) -> None:
        self._in_head = True
        if self._deadline is None:
            self._close_within(self.head_seconds_max)

    def _make_room(self) -> None:
        """Close connections that have waited longest: the fewer are left, the sooner."""
        limit, now = self.limit_concurrency, self.loop.time()
        if limit is None or len(self.connections) < limit * CROWDED:
            return
        for each, since in list(self.server_state.waiting.items()):
            left = max(0.0, 1 - len(self.connections) / limit)
            if left and now - since < self.wait_seconds_max * left / (1 - CROWDED):
                return
            if each is not self and each.keeps_waiting:
                self.connections.discard(each)
                each.transport.abort()

    @property
    def keeps_waiting(self) -> bool:
        """Whether the peer is what it waits for: not so where the body is held up here, or its answer has begun."""
        return not self.flow.read_paused and not (self._answering and self.cycle.response_started)

    def _close_within(self, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cancel_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def whole_answer(problem: Problem) -> bytes:
    """Return the last answer on a connection, head and body, where there is no request that could be answered."""
    body = problem.json()
    head = (
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
        f"Content-Type: {PROBLEM_JSON}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


async def crowded_out(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer on a connection too many."""
    response = problem_response(Unavailable())
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
