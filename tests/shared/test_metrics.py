"""What is asked for when metrics are scraped, and what is shown while it can't be known."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.waiting import until
from vinculum_shared import metrics
from vinculum_shared.metrics import Lag, Left, scrape, showing

pytestmark = pytest.mark.unit


class Source:
    """What a part has left to do, as the test says; asked by a lag."""

    def __init__(self) -> None:
        self.left: Left | Exception = (0, None)
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def ask(self) -> Left:
        self.asked += 1
        await self.answers.wait()
        if isinstance(self.left, Exception):
            raise self.left
        return self.left


async def shown() -> tuple[float, float, float]:
    """How much is left, the age of the oldest, and whether that is known."""
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families((await scrape()).decode())
        for sample in family.samples
    }
    return samples["test_lag_events"], samples["test_lag_seconds"], samples["test_lag_known"]


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


async def test_a_lag_is_asked_for_at_each_scrape() -> None:
    source = Source()
    async with showing(Lag("test_lag", "events", "Events", source.ask)):
        assert await shown() == (0, 0, 1)
        source.left = (3, ago(100))
        count, seconds, known = await shown()
    assert (count, known) == (3, 1)
    assert seconds == pytest.approx(100, abs=50)
    assert "test_lag" not in (await scrape()).decode()


async def test_what_is_not_known_is_not_shown_as_nothing() -> None:
    source = Source()
    async with showing(Lag("test_lag", "events", "Events", source.ask)):
        source.left = (3, ago(100))
        await shown()
        source.left = ConnectionError()
        count, seconds, known = await shown()
    assert (count, known) == (3, 0)
    assert seconds >= 100


async def test_where_nothing_was_left_the_age_grows_from_when_that_was_known() -> None:
    source = Source()
    async with showing(Lag("test_lag", "events", "Events", source.ask)):
        assert await shown() == (0, 0, 1)
        source.left = ConnectionError()

        async def grows() -> bool:
            _, first, known = await shown()
            _, second, _ = await shown()
            return known == 0 and 0 < first < second

        await until(grows)


async def test_a_source_that_hangs_does_not_hold_up_the_scrape_and_is_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "ASK_SECONDS_MAX", 0.05)
    source = Source()
    async with showing(Lag("test_lag", "events", "Events", source.ask)):
        source.answers.clear()
        for _ in range(3):
            assert (await shown())[2] == 0
        assert source.asked == 1
        source.left = (1, ago(1))
        source.answers.set()

        async def known() -> bool:
            return (await shown())[::2] == (1, 1)

        await until(known)
