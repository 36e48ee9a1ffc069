"""What those who gave commands know of them: acknowledged, refused, or neither."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

Json = dict[str, Any]


@dataclass(slots=True)
class Operation:
    """A command, given until it was answered, under one key and one trace."""

    key: UUID
    trace: UUID
    """Of the request it came in: a batch has one for all its lines."""
    tenant: str
    command: str
    fields: Json
    outcome: Literal["ok", "fail", "info"] = "info"
    """`info`: nobody knows. It may have happened, or may happen yet."""
    answer: Json | None = None
    unclear: int = 0
    """Attempts that nobody knows the outcome of."""

    @property
    def refused_for_sure(self) -> bool:
        """Refused, with no earlier attempt that may still have been carried out."""
        return self.outcome == "fail" and not self.unclear

    @property
    def nobody_knows(self) -> bool:
        """Not acknowledged, and perhaps carried out all the same."""
        return self.outcome != "ok" and (self.outcome == "info" or self.unclear > 0)
