"""What a reader makes of lines in whatever order and number they come."""

from typing import Final
from uuid import UUID

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vinculum_shared.consuming.checkpoints import START, Checkpoint
from vinculum_shared.consuming.event_log import Line, Lookup, whole_commits
from vinculum_shared.consuming.subscription import following

pytestmark = pytest.mark.unit

TRUE, FORGED = UUID(int=1), UUID(int=2)
EVENT: Final = {
    "tenant": "acme",
    "position": 1,
    "id": str(TRUE),
    "type": "vinculum.contact_linked.v1",
    "subject": "link/a/c",
    "time": "2026-01-01T00:00:00+00:00",
    "commitindex": 1,
    "commitsize": 1,
}


def line(tenant: str, position: int, index: int = 1, size: int = 1, event_id: UUID = TRUE) -> Line:
    attributes = {"tenant": tenant, "position": position, "commitindex": index, "commitsize": size, "id": str(event_id)}
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
    new, doubts = following([line("acme", position) for position in positions], {"acme": Checkpoint(since, TRUE)})
    assert positions_of(new) == list(range(since + 1, since + len(new) + 1))
    assert bool(doubts) == (max(positions, default=0) > since + len(new))
    assert doubts in ({}, {"acme": max(positions, default=0)})


@pytest.mark.parametrize(
    "changed",
    [{"position": "1"}, {"tenant": ["acme"]}, {"commitsize": None}, {"subject": 1}, {"commitindex": 1.0}],
    ids=str,
)
def test_what_has_another_type_than_an_event_s_is_no_line(changed: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Line.read(orjson.dumps(EVENT | changed))


@given(st.permutations(range(1, 9)), st.integers(0, 3))
def test_nothing_is_missing_once_the_log_was_asked(positions: list[int], since: int) -> None:
    lines = [line("acme", position) for position in positions]
    new, doubts = following(lines, {"acme": Checkpoint(since, TRUE)})
    reached = doubts.get("acme", since + len(new))
    assert following(lines, {"acme": Checkpoint(reached, TRUE)}) == ([], {})


def test_tenants_are_followed_each_by_itself() -> None:
    lines = [line("acme", 5), line("bolt", 1), line("acme", 7), line("bolt", 2)]
    new, doubts = following(lines, {"acme": Checkpoint(4, TRUE), "bolt": START})
    assert [(each.tenant, each.position) for each in new] == [("bolt", 1), ("bolt", 2)]
    assert doubts == {"acme": 7}


@pytest.mark.parametrize(
    "lines",
    [
        [line("acme", 4, event_id=FORGED)],
        [line("acme", 5), line("acme", 5, event_id=FORGED)],
        [line("acme", 5, event_id=FORGED), line("acme", 5), line("acme", 6)],
        [line("acme", 5, event_id=FORGED), line("acme", 6, event_id=FORGED), line("acme", 5), line("acme", 6)],
    ],
    ids=["one that is applied", "one that was true", "one before the true one", "two before the true ones"],
)
def test_of_two_events_that_claim_one_position_none_is_believed(lines: list[Line]) -> None:
    new, doubts = following(lines, {"acme": Checkpoint(4, TRUE)})
    assert new == []
    assert set(doubts) == {"acme"}


def test_an_event_whose_id_was_not_kept_is_not_disputed() -> None:
    assert following([line("acme", 4)], {"acme": Checkpoint(4, None)}) == ([], {})


def test_of_a_tenant_that_is_held_nothing_is_new() -> None:
    lines = [line("acme", position, event_id=FORGED) for position in (4, 5, 7)]
    assert following(lines, {"acme": Checkpoint(4, TRUE, "diverged")}) == ([], {})


@pytest.mark.parametrize(
    ("checkpoint", "found", "diverges"),
    [
        (START, Lookup(0, None), False),
        (START, Lookup(9, None), False),
        (Checkpoint(5, TRUE), Lookup(9, TRUE), False),
        (Checkpoint(5, None), Lookup(9, TRUE), False),
        (Checkpoint(5, TRUE), Lookup(9, FORGED), True),
        (Checkpoint(5, TRUE), Lookup(4, None), True),
        (Checkpoint(5, None), Lookup(4, None), True),
        (Checkpoint(1, TRUE), Lookup(0, None), True),
    ],
)
def test_a_tenant_diverges_where_the_log_has_another_event_or_none(
    checkpoint: Checkpoint, found: Lookup, *, diverges: bool
) -> None:
    assert checkpoint.diverges_from(found) is diverges


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
