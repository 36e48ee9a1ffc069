"""The CloudEvents SDK as an oracle: it reads what we write, and we read what it writes."""

from datetime import datetime
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event, to_structured_event

from support.samples import EVENTS, RECORDED_AT, TENANT, Sample
from vinculum_command.relay import HEADERS
from vinculum_shared.contracts.envelope import decode

pytestmark = pytest.mark.contract

every_sample = pytest.mark.parametrize("sample", [Sample.named(name) for name in EVENTS], ids=EVENTS)


def on_kafka(sample: Sample) -> KafkaMessage:
    """Make the record that the relay sends."""
    return KafkaMessage(headers=dict(HEADERS), key=TENANT.encode(), value=sample.encoded())


@every_sample
def test_the_sdk_reads_the_same_attributes_and_data(sample: Sample) -> None:
    read = from_kafka_event(on_kafka(sample))
    written: dict[str, Any] = orjson.loads(sample.encoded())
    data = written.pop("data")
    assert read.get_data() == data
    assert read.get_attributes() == written | {"time": RECORDED_AT, "partitionkey": TENANT}
    assert isinstance(read.get_time(), datetime)
    assert read.get_subject() == sample.event.stream


@every_sample
def test_what_the_sdk_writes_is_read_as_what_happened(sample: Sample) -> None:
    written = to_structured_event(from_kafka_event(on_kafka(sample)))
    assert [(name, value) for name, value in written.headers.items()] == HEADERS
    assert written.key == TENANT
    assert decode(written.value) == sample.recorded()
