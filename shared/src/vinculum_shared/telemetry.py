"""Logs and trace context.

Logs carry ids, never what somebody is called or how to reach them: a field that LOG_FIELDS doesn't name is dropped,
and of an exception only its types and the places that it passed are written, since drivers put values into messages.
"""

import logging
import re
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

LOG_FIELDS: Final = frozenset(  # as words: fifty quoted names would be fifty lines
    """
    event level timestamp logger service part parts trace_id dropped exception
    tenant account_id contact_id email_id staff_id record_id invitation_id event_id command_id notification_id
    stream type position positions version read_model
    command outcome code reason waits_for status method route kind check
    topic partition partitions offset generation migration port
    attempt count limit batch events tenants streams seconds milliseconds
    """.split()  # noqa: SIM905
)
FRAMES_MAX: Final = 12
QUIET_LIBRARIES: Final = ("aiokafka", "asyncio", "httpcore2", "httpx2", "uvicorn")
REPEAT_SECONDS: Final = 10.0
LINES_KNOWN_MAX: Final = 200

TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?"
)
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""Of the request, or of the event, that is being worked on."""


class OperatorError(Exception):
    """The process can't go on as it is. The message says what to change, holds no tenant's values, and is logged."""


def configure(service: str, log_format: Literal["json", "console"]) -> None:
    """Send all that this process logs, its libraries included, to stdout, one line each."""

    def of_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**event, "service": service}

    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        of_service,
        of_trace,
        places_of_exception,
        known_fields,
    ]
    json_line = structlog.processors.JSONRenderer(
        serializer=lambda event, **_: orjson.dumps(event, default=str).decode()
    )
    renderer: Processor = json_line if log_format == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*chain, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[first_line, structlog.stdlib.ExtraAdder(["count"]), *chain],
        )
    )
    handler.addFilter(Repeats())
    handler.addFilter(lowered)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for library in QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)


def lowered(record: logging.LogRecord) -> bool:
    """Lower what aiokafka logs to info: the part that waits for Kafka logs the outage, once."""
    if record.name.partition(".")[0] == "aiokafka":
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


class Repeats(logging.Filter):
    """Lets a library's line through once in a while, and with the next one tells how many were left out (`count`)."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[tuple[object, ...], tuple[float, int]] = {}
        """When each was written, the longest ago first, and how many were left out since."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in QUIET_LIBRARIES:
            return True
        line = (record.name, str(record.msg), record.exc_info and record.exc_info[0])
        written, left_out = self._lines.get(line, (0.0, 0))
        if 0 <= record.created - written < REPEAT_SECONDS:  # a clock that is set back silences nothing
            self._lines[line] = written, left_out + 1
            return False
        if left_out:
            record.__dict__["count"] = left_out
        self._lines.pop(line, None)
        self._lines[line] = record.created, 0
        if len(self._lines) > LINES_KNOWN_MAX:
            del self._lines[next(iter(self._lines))]
        return True


def of_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    parent = traceparent.get()
    return {**event, "trace_id": trace_id(parent)} if parent else event


def first_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Cut off what asyncio appends to a library's message: the repr of tasks, with their exceptions."""
    return {**event, "event": str(event["event"]).partition("\n")[0]}


def known_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    known = {name: value for name, value in event.items() if name in LOG_FIELDS or name.startswith("_")}
    dropped = sorted(event.keys() - known.keys())
    return known | {"dropped": dropped} if dropped else known


def places_of_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    raised = event.pop("exc_info", None)
    error = sys.exception() if raised is True else raised[1] if isinstance(raised, tuple) else raised
    return {**event, "exception": places(error)} if isinstance(error, BaseException) else event


def places(error: BaseException) -> dict[str, Any]:
    """Tell the exception's type and where it passed; its message only if it was written for an operator."""
    passed = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    told: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "places": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in passed],
    }
    if isinstance(error, OperatorError):
        told["message"] = str(error)
    if isinstance(error, BaseExceptionGroup):
        told["among"] = [places(each) for each in error.exceptions]
    if error.__cause__ is not None:
        told["cause"] = places(error.__cause__)
    return told


def continued(parent: str | None) -> str:
    """Make a traceparent (W3C) for work that `parent` caused, or that nothing is known to have caused."""
    match = TRACEPARENT.fullmatch(parent or "")
    trace, flags = match.groups() if match else (secrets.token_hex(16), "01")
    return f"00-{trace}-{secrets.token_hex(8)}-{flags}"


@contextmanager
def continuing(parent: str | None) -> Iterator[None]:
    """Work on behalf of `parent`: logs tell its trace, and what is asked of others carries it on."""
    reset = traceparent.set(parent)
    try:
        yield
    finally:
        traceparent.reset(reset)


def trace_id(parent: str) -> str:
    return parent.split("-", 2)[1]
