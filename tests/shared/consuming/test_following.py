"""What a reader makes of lines in whatever order and number they come."""

from typing import Final
from uuid import UUID

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vinculum_shared.consuming.event_log import Line, whole_commits
from vinculum_shared.consuming.subscription import following

pytestmark = pytest.mark.unit

EVENT: Final = {
    "tenant": "acme",
    "position": 1,
    "id": str(UUID(int=1)),
    "type": "vinculum.contact_linked.v1",
    "subject": "link/a/c",
    "time": "2026-01-01T00:00:00+00:00",
    "commitindex": 1,
    "commitsize": 1,
}


def line(tenant: str, position: int, index: int = 1, size: int = 1) -> Line:
    attributes = {"tenant": tenant, "position": position, "commitindex": index, "commitsize": size}
    return Line.read(orjson.dumps(EVENT | attributes))


commits = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def log_of(tenant: str, sizes: list[int]) -> list[Line]:
    shapes = [(index, size) for size in sizes for index in range(1, size + 1)]
    return [line(tenant, position, *shape) for position, shape in enumerate(shapes, start=1)]


def positions_of(lines: list[Line]) -> list[int]:
    return [each.position for each in lines]


@given(st.lists(st.integers(1, 30)), st.integers(0, 10))
@example([2, 1, 2], 0)
def test_lines_that_follow_are_without_gap_and_each_once(positions: list[int], since: int) -> None:
    new, waiting = following([line("acme", position) for position in positions], {"acme": since})
    assert positions_of(new) == list(range(since + 1, since + len(new) + 1))
    assert waiting == {} or waiting["acme"] > since + len(new)


@pytest.mark.parametrize(
    "changed",
    [{"position": "1"}, {"tenant": ["acme"]}, {"commitsize": None}, {"subject": 1}, {"commitindex": 1.0}],
    ids=str,
)
def test_what_has_another_type_than_an_event_s_is_no_line(changed: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Line.read(orjson.dumps(EVENT | changed))


@given(st.permutations(range(1, 9)), st.integers(0, 3))
def test_nothing_waits_once_what_is_missing_was_fetched(positions: list[int], since: int) -> None:
    lines = [line("acme", position) for position in positions]
    new, waiting = following(lines, {"acme": since})
    reached = waiting.get("acme", since + len(new))
    assert following(lines, {"acme": reached})[1] == {}


def test_tenants_are_followed_each_by_itself() -> None:
    lines = [line("acme", 5), line("bolt", 1), line("acme", 7), line("bolt", 2)]
    new, waiting = following(lines, {"acme": 4, "bolt": 0})
    assert [(each.tenant, each.position) for each in new] == [("acme", 5), ("bolt", 1), ("bolt", 2)]
    assert waiting == {"acme": 7}


@given(commits, st.data())
def test_only_whole_commits_are_given_and_the_rest_is_kept(sizes: list[int], data: st.DataObject) -> None:
    lines = log_of("acme", sizes)
    cut = data.draw(st.integers(0, len(lines)))
    whole, begun = whole_commits(lines[:cut])
    assert whole + begun == lines[:cut]
    assert not whole or whole[-1].commit_index == whole[-1].commit_size
    assert all(each.commit_index == n for n, each in enumerate(begun, start=1))
    again, rest = whole_commits([*begun, *lines[cut:]])
    assert (whole + again, rest) == (lines, [])


def test_a_commit_that_has_begun_holds_up_its_own_tenant_alone() -> None:
    lines = [line("acme", 1, 1, 2), line("bolt", 1), line("cork", 1, 1, 2), line("cork", 2, 2, 2)]
    whole, begun = whole_commits(lines)
    assert {each.tenant for each in whole} == {"bolt", "cork"}
    assert {each.tenant for each in begun} == {"acme"}
