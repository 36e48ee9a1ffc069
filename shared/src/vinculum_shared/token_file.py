"""What a service shows to another: its own token."""

from pathlib import Path
from typing import Final

import httpx2

REFUSED: Final = frozenset({401, 403})
ACCEPTED_TOKEN: Final = "a service token that the command service accepts; renew the one in SERVICE_TOKEN_FILE"  # noqa: S105


def lacking(error: Exception, asked: str) -> str:
    """Return what a request failed for want of: a token that is accepted, or the service that was asked."""
    refused = isinstance(error, httpx2.HTTPStatusError) and error.response.status_code in REFUSED
    return ACCEPTED_TOKEN if refused else asked


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
