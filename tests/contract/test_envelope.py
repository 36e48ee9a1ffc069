"""Whatever happens is read as it was written; without its personal part, only that is missing."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from support.strategies import of_model
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import Cause, attributes, decode, split, wire
from vinculum_shared.contracts.events import Actor, Event
from vinculum_shared.contracts.values import PERSONAL

pytestmark = pytest.mark.contract

instants: Final = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
traceparents: Final = st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", fullmatch=True)
causes: Final = st.builds(
    Cause,
    tenant=st.sampled_from(["rossi", "0-9"]),
    actor=of_model(Actor),
    command_id=st.uuids(),
    correlation_id=st.uuids(),
    causation_id=st.none() | st.uuids(),
    traceparent=st.none() | traceparents,
    reason=st.none() | st.text(max_size=64),
    effective_at=st.none() | instants,
)
counts: Final = st.integers(1, 2**31 - 1)


@pytest.mark.parametrize("event_type", EVENT_TYPES.values())
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), event_id=st.uuids(), cause=causes, position=st.integers(1, 2**53), number=counts, at=instants)
def test_what_is_written_is_read_the_same(
    event_type: type[Event], data: st.DataObject, event_id: Any, cause: Cause, position: int, number: int, at: datetime
) -> None:
    event = data.draw(of_model(event_type))
    start, parts = attributes(event, event_id, number, 1, number, cause), split(event, cause)
    effective = cause.effective_at or at
    read = decode(wire(start, *parts, position, at, effective))
    assert read.data == event
    assert (read.tenant, read.position, read.id, read.recorded_at) == (cause.tenant, position, event_id, at)
    assert (read.type, read.stream) == (event_type.__name__, event.stream)
    assert (read.stream_version, read.commit_index, read.commit_size) == (number, 1, number)
    assert (read.actor, read.reason, read.effective_at) == (cause.actor, cause.reason, effective)
    assert (read.command_id, read.correlation_id) == (cause.command_id, cause.correlation_id)
    assert (read.causation_id, read.traceparent) == (cause.causation_id, cause.traceparent)

    erased = decode(wire(start, parts[0], None, position, at, effective))
    assert erased.data == without_personal(event)
    assert (parts[1] is None) == (event == without_personal(event))
    assert parts[1] is None or orjson.loads(parts[1])["subject"] == event.subject


def without_personal(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(without_personal, value))
    if not isinstance(value, BaseModel):
        return value
    kept = {
        name: None if PERSONAL in field.metadata else without_personal(getattr(value, name))
        for name, field in type(value).model_fields.items()
    }
    return value.model_copy(update=kept)
