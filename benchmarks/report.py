"""What was measured, as tables for the terminal and the README, and as JSON."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

from measuring import Bar, Result, Sample, p50s, p99s

HERE: Final = Path(__file__).parent
PACKAGES: Final = ("asyncpg", "aiokafka", "fastapi", "pydantic", "uvicorn", "uvloop", "orjson")
BEGIN, END = "<!-- newest -->\n", "<!-- end of newest -->\n"


def machine(folder: Path, postgres: str, kafka: str) -> dict[str, Any]:
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem(folder),
        "python": platform.python_version(),
        "postgres": postgres,
        "kafka": kafka,
        **{name: version(name) for name in PACKAGES},
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "changed_since_commit": bool(git("status", "--porcelain", "--untracked-files=no")),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def filesystem(folder: Path) -> str:
    """Return the type alone: on one in memory, a commit costs nothing."""
    mounts = [each for each in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(each.mountpoint)]
    return max(mounts, key=lambda each: len(each.mountpoint)).fstype if mounts else "unknown"


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False)  # noqa: S603, S607
    return done.stdout.strip()


def show(result: Result, console: Console) -> None:
    table = Table(title=result.title, title_justify="left", caption=result.conditions, caption_justify="left")
    for heading in ("", result.unit, "range", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, samples in result.samples.items():
        table.add_row(name, *cells(samples))
    console.print(table)
    for bar in result.bars:
        console.print(f"  {bar.id} {bar.what}: {sentence(bar)}", style="green" if bar.met else "red")
    for name, lines in result.profiles.items():
        console.print(f"  Where the time goes, {name}:")
        for line in lines:
            console.print(f"    {line}", markup=False, highlight=False)
    console.print()


def cells(samples: Sequence[Sample]) -> list[str]:
    """Write the rate and its range, p50, p99 and its range: the medians of the rounds."""
    rates = [each.per_second for each in samples if each.per_second is not None]
    return [
        f"{statistics.median(rates):,.0f}" if rates else "",
        f"{min(rates):,.0f} to {max(rates):,.0f}" if rates else "",
        figure(statistics.median(p50s(samples))) if p50s(samples) else "",
        measured(p99s(samples)) if p99s(samples) else "",
    ]


def sentence(bar: Bar) -> str:
    return f"{measured(bar.values)}, asked {asked(bar)}: {'met' if bar.met else 'missed'}"


def measured(values: Sequence[float]) -> str:
    """Write the median, and the range if there is one."""
    middle, least, most = (figure(each) for each in (statistics.median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


def asked(bar: Bar) -> str:
    return f"{'≥' if bar.at_least else '≤'} {bar.target:g}"


def figure(value: float) -> str:
    return f"{value:.3g}" if value < 1_000 else f"{value:,.0f}"


def save(results: Sequence[Result], facts: dict[str, Any]) -> Path:
    content = {
        "machine": facts,
        "results": [
            asdict(result) | {"bars": [asdict(bar) | {"median": bar.median, "met": bar.met} for bar in result.bars]}
            for result in results
        ],
    }
    path = HERE / "results" / f"{facts['at'][:16].replace(':', '')}-{facts['commit']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def publish(results: Sequence[Result], facts: dict[str, Any], saved: Path) -> None:
    """Put the figures into the README."""
    readme = HERE / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(before + BEGIN + markdown(results, facts, saved) + END + after)


def markdown(results: Sequence[Result], facts: dict[str, Any], saved: Path) -> str:
    at, changed = facts["at"][:10], ", with changes" if facts["changed_since_commit"] else ""
    on = f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, {facts['filesystem']}"
    of = f"Python {facts['python']}, Postgres {facts['postgres']}, Kafka {facts['kafka']}"
    lines = [f"{at}, commit `{facts['commit']}`{changed}: {on}; {of}."]
    lines += [f"Every round of it: [results/{saved.name}](results/{saved.name}).", ""]
    lines += ["| bar | | measured | asked | |", "| --- | --- | --- | --- | --- |"]
    for bar in (bar for result in results for bar in result.bars):
        verdict = "met" if bar.met else "**missed**"
        lines.append(f"| {bar.id} | {bar.what} | {measured(bar.values)} | {asked(bar)} | {verdict} |")
    for result in results:
        lines += ["", f"### {result.title}", "", result.conditions, ""]
        lines += [f"| | {result.unit} | range | p50 ms | p99 ms |", "| --- | ---: | ---: | ---: | ---: |"]
        lines += [f"| {name} | {' | '.join(cells(samples))} |" for name, samples in result.samples.items()]
        for name, profile in result.profiles.items():
            lines += ["", f"Where the time goes, {name}:", "", "```", *profile, "```"]
    return "\n".join([*lines, ""])
