"""Golden samples: events as they are recorded somewhere, for ever. A new type needs one; an old one is never changed.

VINCULUM_TEST_RECORD=1 writes those that are missing.
"""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from jsonschema import Draft202012Validator

from support.samples import EVENTS, Sample
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import decode
from vinculum_shared.contracts.schemas import file_name

pytestmark = pytest.mark.contract

SAMPLES: Final = Path(str(files("vinculum_shared.contracts"))) / "samples"
SCHEMAS: Final = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


@pytest.fixture(params=EVENTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def golden(name: str) -> bytes:
    file = SAMPLES / f"{name}.json"
    if not file.exists() and os.environ.get("VINCULUM_TEST_RECORD") == "1":
        file.write_bytes(readable(orjson.loads(Sample.named(name).encoded())))
    return file.read_bytes()


def readable(event: Any) -> bytes:
    return orjson.dumps(event, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def test_every_type_has_a_sample() -> None:
    assert {file_name(event_type) for event_type in EVENT_TYPES.values()} <= set(EVENTS)
    assert {file.name for file in SAMPLES.iterdir()} == {f"{name}.json" for name in EVENTS}


def test_a_sample_is_read_as_what_happened(name: str, golden: bytes) -> None:
    assert decode(golden) == Sample.named(name).recorded()._replace(data_json=orjson.loads(golden)["data"])


def test_what_happened_is_written_as_its_sample(name: str, golden: bytes) -> None:
    """To the order of its fields. Older samples write UTC as +00:00."""
    assert readable(orjson.loads(Sample.named(name).encoded())) == golden.replace(b"+00:00", b"Z")


def test_a_sample_keeps_the_published_schema(name: str, golden: bytes) -> None:
    schema = orjson.loads((SCHEMAS / f"{'.'.join(name.split('.')[:2])}.json").read_bytes())
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert list(validator.iter_errors(orjson.loads(golden))) == []


def test_a_sample_with_fields_that_came_later_is_read_all_the_same(name: str, golden: bytes) -> None:
    event = orjson.loads(golden)
    event["partitionkey"] = "rossi"
    event["data"]["later"] = {"any": "thing"}
    if event["data"]["personal"]:
        event["data"]["personal"]["later"] = "thing"
    assert decode(orjson.dumps(event)) == Sample.named(name).recorded()._replace(data_json=event["data"])
