"""Traces, and what is logged of an exception."""

import pytest

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
