"""The metrics that every process has, and what is asked for when metrics are scraped.

A service's own metrics are in a module of its own, so that no process shows those of another service. No label takes
values without a bound (no tenants, no ids).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import REGISTRY, Counter, Histogram, Info, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ASK_SECONDS_MAX: Final = 2.0

Left = tuple[int, datetime | None]
"""How much there is left to do, and since when the oldest of it has been there."""

disable_created_metrics()  # type: ignore[no-untyped-call]

HTTP_SECONDS: Final = Histogram(
    "vinculum_http_request_seconds",
    "From the first byte of a request to the last of its answer; streams count until they end.",
    ["method", "route", "status"],
    buckets=QUICK,
)
PART_RESTARTS: Final = Counter(
    "vinculum_part_restarts", "Times that a part of the process ended unasked, and was restarted.", ["part"]
)
BUILD: Final = Info("vinculum_build", "Which service this is, and its version.")


def describe_build(service: str) -> None:
    try:
        installed = version(service)
    except PackageNotFoundError:
        installed = "unknown"
    BUILD.info({"service": service, "version": installed})


class Lag:
    """How far a part is behind: how much there is left to do, and the age of the oldest of it.

    Both are asked for at each scrape, so they don't depend on the part, which may hang. While the source does not
    answer, the age grows: of the oldest that was known or, if nothing was left to do, since that was known. What has
    come in the meantime can't be older.
    """

    def __init__(self, name: str, unit: str, what: str, ask: Callable[[], Awaitable[Left]]) -> None:
        self.name, self.unit, self.what, self.ask = name, unit, what, ask
        self._count, self._since, self._caught_up, self._known = 0, datetime.now(UTC), False, False
        self._asking: asyncio.Future[Left] | None = None

    async def refresh(self) -> None:
        """Ask, and wait a little for the answer. While a question hangs no other one is asked."""
        asking = self._asking or asyncio.ensure_future(self.ask())
        await asyncio.wait([asking], timeout=ASK_SECONDS_MAX)
        self._asking = None if asking.done() else asking
        self._known = asking.done() and not asking.cancelled() and asking.exception() is None
        if self._known:
            self._count, oldest = asking.result()
            self._since, self._caught_up = oldest or datetime.now(UTC), oldest is None

    def families(self) -> Iterator[Metric]:
        age = 0.0 if self._known and self._caught_up else (datetime.now(UTC) - self._since).total_seconds()
        yield GaugeMetricFamily(f"{self.name}_{self.unit}", f"{self.what}, when last known.", self._count)
        yield GaugeMetricFamily(f"{self.name}_seconds", f"{self.what}: the age of the oldest, at most.", max(0.0, age))
        yield GaugeMetricFamily(f"{self.name}_known", f"{self.what}: 1 if known at this scrape.", self._known)


class Lags(Collector):
    """Those of the parts that run in this process."""

    def __init__(self) -> None:
        self.shown: list[Lag] = []

    def collect(self) -> Iterator[Metric]:
        for lag in self.shown:
            yield from lag.families()


_LAGS: Final = Lags()
REGISTRY.register(_LAGS)


@asynccontextmanager
async def showing(*lags: Lag) -> AsyncIterator[None]:
    """Show lags for as long as the part runs that they are about."""
    _LAGS.shown += lags
    try:
        yield
    finally:
        for lag in lags:
            _LAGS.shown.remove(lag)


async def scrape() -> bytes:
    """Return all metrics as of now."""
    await asyncio.gather(*(lag.refresh() for lag in _LAGS.shown))
    return generate_latest()
