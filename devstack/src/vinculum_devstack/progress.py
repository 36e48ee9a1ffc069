import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status


class Progress:
    """Steps that run side by side: a line for each that is done, and a spinner for those under way."""

    def __init__(self, console: Console, status: Status) -> None:
        self.console = console
        self.status = status
        self.under_way: list[str] = []

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        self._show([*self.under_way, what])
        yield
        self._show([other for other in self.under_way if other != what])
        self.console.print(f"[green]✓[/] {what} [dim]{time.monotonic() - started:.1f} s[/]")

    def _show(self, under_way: list[str]) -> None:
        self.under_way = under_way
        self.status.update(", ".join(under_way))
