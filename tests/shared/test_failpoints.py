"""Places where a test can have a process killed."""

import pytest

from vinculum_shared import failpoints

pytestmark = pytest.mark.unit


def test_production_has_no_active_point() -> None:
    assert failpoints.SPEC == ""
    assert failpoints.reach is failpoints.unarmed


def test_a_point_acts_at_the_hit_that_it_was_told() -> None:
    reach = failpoints.armed("one=raise@3, other=raise")
    reach("one")
    reach("one")
    reach("unknown")
    with pytest.raises(failpoints.FailpointError):
        reach("one")
    reach("one")
    with pytest.raises(failpoints.FailpointError):
        reach("other")


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(KeyError):
        failpoints.armed("one=explode")
