"""Traces, what is logged of an exception, and how often a library is heard."""

import json
import logging

import pytest
import structlog

from vinculum_shared import telemetry

pytestmark = pytest.mark.unit


def test_work_that_was_caused_keeps_the_trace_and_gets_a_span_of_its_own() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    version, trace, span, flags = telemetry.continued(parent).split("-")
    assert (version, trace, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "00")
    assert span != "00f067aa0ba902b7"


def test_a_future_version_of_the_header_is_read_as_far_as_it_is_known() -> None:
    assert telemetry.trace_id(telemetry.continued("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")) == (
        "4bf92f3577b34da6a3ce929d0e0e4736"
    )


@pytest.mark.parametrize("parent", [None, "", "00", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"])
def test_without_a_known_cause_a_trace_begins(parent: str | None) -> None:
    assert telemetry.TRACEPARENT.fullmatch(telemetry.continued(parent))
    assert telemetry.continued(parent) != telemetry.continued(parent)


def test_an_exception_is_told_by_its_types_and_places() -> None:
    def raises() -> None:
        raise LookupError("Mario Rossi")

    with pytest.raises(LookupError) as raised:
        raises()
    told = telemetry.places(ExceptionGroup("Mario Rossi", [raised.value, telemetry.OperatorError("Do this.")]))
    assert told["type"] == "builtins.ExceptionGroup"
    assert [each["type"] for each in told["among"]] == [
        "builtins.LookupError",
        "vinculum_shared.telemetry.OperatorError",
    ]
    assert told["among"][0]["places"][-1].endswith(" raises")
    assert told["among"][1]["message"] == "Do this."
    assert "Mario" not in str(told)


def test_what_is_logged_on_behalf_of_a_cause_tells_its_trace() -> None:
    parent = telemetry.continued(None)
    with telemetry.continuing(parent):
        assert telemetry.of_trace(None, "", {"event": "x"})["trace_id"] == telemetry.trace_id(parent)
    assert "trace_id" not in telemetry.of_trace(None, "", {"event": "x"})


def record(seconds: float, message: str, *args: object, logger: str = "aiokafka.cluster") -> logging.LogRecord:
    """Make a record of a time."""
    made = logging.LogRecord(logger, logging.ERROR, "", 0, message, args, None)
    made.created = 1_700_000_000 + seconds
    return made


def test_a_library_s_line_is_let_through_once_in_ten_seconds() -> None:
    repeats = telemetry.Repeats()
    heard = [second for second in range(35) if repeats.filter(record(second, "Topic %s not found", str(second)))]
    assert heard == [0, 10, 20, 30]


def test_other_lines_are_heard_meanwhile_and_our_own_always() -> None:
    repeats = telemetry.Repeats()
    for message, logger in (("a", "aiokafka.cluster"), ("b", "aiokafka.cluster"), ("a", "aiokafka.conn")):
        assert repeats.filter(record(0, message, logger=logger))
        assert not repeats.filter(record(1, message, logger=logger))
    assert all(repeats.filter(record(0, "a", logger="vinculum_command.relay")) for _ in range(3))


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    repeats = telemetry.Repeats()
    assert repeats.filter(record(0, "a"))
    assert repeats.filter(record(-3_600, "a"))


def test_no_more_lines_are_remembered_than_a_bound() -> None:
    repeats = telemetry.Repeats()
    for n in range(telemetry.LINES_KNOWN_MAX + 1):
        assert repeats.filter(record(0, f"line {n}"))
    assert not repeats.filter(record(1, "line 1"))
    assert repeats.filter(record(1, "line 0"))  # forgotten: written the longest ago


def test_the_next_line_of_a_library_tells_how_many_were_left_out_and_aiokafka_s_are_information(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.WARNING))
    before = structlog.get_config()
    telemetry.configure("command", "json")
    for seconds in (0, 1, 2, 11, 22):
        logging.root.handle(record(seconds, "Topic %s not found", "vinculum"))
    logging.root.handle(record(0, "Task exception was never retrieved", logger="asyncio"))
    structlog.configure(**before)
    *written, of_asyncio = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in written} == {"Topic vinculum not found"}
    assert [line.get("count") for line in written] == [None, 2, None]
    assert {line["level"] for line in written} == {"info"}
    assert of_asyncio["level"] == "error"
