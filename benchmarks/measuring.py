"""How something is measured: rounds in which the variants take turns, closed loops, fixed rates, profiles."""

import asyncio
import cProfile
import gc
import pstats
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, Self

PROFILE_LINES: Final = 10


@dataclass(frozen=True)
class Size:
    """How long is measured. `share` scales what is prepared, where that is much."""

    rounds: int
    seconds: float
    share: float


FULL: Final = Size(rounds=3, seconds=2.0, share=1.0)
QUICK: Final = Size(rounds=1, seconds=0.4, share=0.05)


@dataclass(frozen=True)
class Sample:
    """What one variant did in one round."""

    per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None

    @classmethod
    def of(cls, latencies: Sequence[float], seconds: float | None = None, *, worth: int = 1) -> Self:
        """Make it of the seconds that each took, and the seconds that all of them took."""
        percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
        per_second = len(latencies) * worth / seconds if seconds else None
        return cls(per_second, percentiles[49] * 1_000, percentiles[98] * 1_000)


@dataclass(frozen=True)
class Bar:
    """What is asked for; `values` has what each round gave."""

    id: str
    what: str
    values: Sequence[float]
    target: float
    at_least: bool

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        return self.median >= self.target if self.at_least else self.median <= self.target


@dataclass
class Result:
    title: str
    unit: str
    samples: dict[str, list[Sample]]
    bars: list[Bar]
    conditions: str
    profiles: dict[str, list[str]] = field(default_factory=dict)

    def missed(self, *ids: str) -> bool:
        return any(not bar.met for bar in self.bars if bar.id in ids)


Variant = Callable[[], Awaitable[Sample]]


async def interleaved(rounds: int, variants: Mapping[str, Variant]) -> dict[str, list[Sample]]:
    """Take turns, A, B, A, B, …: what the machine does besides falls on all of them alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            gc.collect()
            samples[name].append(await run())
    return samples


async def closed_loop(clients: int, seconds: float, call: Callable[[], Awaitable[object]], *, worth: int = 1) -> Sample:
    """Let so many ask, each again as soon as it is answered. One call is `worth` so many of what is counted."""
    latencies: list[float] = []
    began = perf_counter()

    async def ask() -> None:
        while (asked := perf_counter()) < began + seconds:
            await call()
            latencies.append(perf_counter() - asked)

    await asyncio.gather(*(ask() for _ in range(clients)))
    return Sample.of(latencies, perf_counter() - began, worth=worth)


async def at_rate(per_second: float, seconds: float, call: Callable[[], Awaitable[object]]) -> Sample:
    """Ask at a fixed rate, whether answers come or not. Latencies count from when each was due."""
    latencies: list[float] = []
    began = perf_counter()

    async def ask(due: float) -> None:
        await call()
        latencies.append(perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for number in range(int(per_second * seconds)):
            due = began + number / per_second
            if (early := due - perf_counter()) > 0:
                await asyncio.sleep(early)
            group.create_task(ask(due))
    return Sample.of(latencies, perf_counter() - began)


async def timed(count: int, run: Callable[[], Awaitable[object]]) -> Sample:
    """Do `count` of something."""
    began = perf_counter()
    await run()
    return Sample(count / (perf_counter() - began))


def ratios(ours: Sequence[Sample], limit: Sequence[Sample]) -> list[float]:
    """Divide figures of the same round: what slows one slows the other."""
    return [a.per_second / b.per_second for a, b in zip(ours, limit, strict=True) if a.per_second and b.per_second]


def p50s(samples: Sequence[Sample]) -> list[float]:
    return [each.p50_ms for each in samples if each.p50_ms is not None]


def p99s(samples: Sequence[Sample]) -> list[float]:
    return [each.p99_ms for each in samples if each.p99_ms is not None]


async def profiled(run: Callable[[], Awaitable[object]]) -> list[str]:
    """Tell where this process spends its time on the CPU: the functions that take most of it themselves."""
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    try:
        await run()
    finally:
        profile.disable()
    stats = pstats.Stats(profile).strip_dirs().get_stats_profile()
    top = sorted(stats.func_profiles.items(), key=lambda each: -each[1].tottime)[:PROFILE_LINES]
    return [
        f"{each.tottime / stats.total_tt:5.1%} {each.ncalls:>9} calls  {each.file_name}:{each.line_number} {name}"
        for name, each in top
    ]
