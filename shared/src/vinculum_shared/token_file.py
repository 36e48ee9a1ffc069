"""What a service shows to another: its own token."""

from pathlib import Path


class TokenFile:
    """A service's own token, in a file that is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed = 0
        self._token = ""

    def read(self) -> str:
        changed = self.path.stat().st_mtime_ns
        if changed != self._changed:
            self._token, self._changed = self.path.read_text("ascii").strip(), changed
        return self._token
