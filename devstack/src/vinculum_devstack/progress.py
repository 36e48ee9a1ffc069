import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

Say = Callable[[str], None]


class Progress:
    """Steps that run side by side: a line for each that is done, and a spinner for those under way."""

    def __init__(self, console: Console, status: Status) -> None:
        self.console = console
        self.status = status
        self.under_way: dict[str, str] = {}

    @contextmanager
    def step(self, what: str) -> Iterator[Say]:
        """Show a step; what it is given tells how far it has got."""
        started = time.monotonic()
        self._show(what, what)
        yield lambda reached: self._show(what, f"{what} ({reached})")
        shown = self.under_way.pop(what)
        self.status.update(", ".join(self.under_way.values()))
        self.console.print(f"[green]✓[/] {shown} [dim]{time.monotonic() - started:.1f} s[/]")

    def _show(self, what: str, text: str) -> None:
        self.under_way[what] = text
        self.status.update(", ".join(self.under_way.values()))
