"""What a request may carry."""

from collections.abc import Iterable

import pytest
from starlette.requests import Request
from starlette.types import Message

from vinculum_shared.http.requests import LINE_BYTES_MAX, VALUES_MAX, body_lines, has_more_values
from vinculum_shared.problems import TooLarge

pytestmark = pytest.mark.unit


def arriving(chunks: Iterable[bytes]) -> Request:
    """Make a request whose body has no end: whoever reads past these chunks fails."""
    pieces = iter(chunks)

    async def receive() -> Message:
        piece = next(pieces)
        return {"type": "http.request", "body": piece, "more_body": piece != b""}

    return Request({"type": "http"}, receive)


async def at_once() -> None:
    """Wait for no turn."""


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_lines_are_the_same_however_they_arrive(size: int) -> None:
    body = b'{"a":1}\n\n {"b":2}\r\n{"c":3}'
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    lines = await body_lines(arriving([*chunks, b""]), 4, at_once)
    assert [line.strip() for line in lines] == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


@pytest.mark.parametrize("chunks", [[b"1\n2\n", b"3"], [b"1\n2\n3\n"], [b"\n" * 3]])
async def test_a_line_too_many_is_refused_when_it_comes(chunks: list[bytes]) -> None:
    with pytest.raises(TooLarge):
        await body_lines(arriving(chunks), 2, at_once)


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_too_long_is_refused_when_it_comes(end: bytes) -> None:
    with pytest.raises(TooLarge):
        await body_lines(arriving([b"x" * LINE_BYTES_MAX, b"x" + end]), 2, at_once)


async def test_each_part_of_a_body_waits_for_its_turn() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        turns += 1

    await body_lines(arriving([b"1\n", b"2\n", b""]), 2, turn)
    assert turns >= 2


def test_values_count_however_deep_they_are() -> None:
    most = {"a": {"b": [0] * (VALUES_MAX - 2)}}
    assert not has_more_values(most, VALUES_MAX)
    assert has_more_values({"a": most}, VALUES_MAX)
