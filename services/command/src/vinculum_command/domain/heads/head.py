"""A head: the fold of the events that name its key, written with them. Decisions read it, commits rely on it."""

from collections.abc import Iterable
from functools import cache
from typing import ClassVar, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import ConfigDict

from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.values import AccountId, ContactId, Value, named

Entry = Literal["on", "suspended"]


class Mark(NamedTuple):
    """Where an event is found again: its stream, and its version there. Its position is known only after the commit."""

    event_id: UUID
    type: str
    stream: str
    stream_version: int


class Head(Value):
    """State under a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    KEY: ClassVar[tuple[str, ...]]
    EVENTS: ClassVar[tuple[type[Event], ...]]

    @classmethod
    def key(cls, **ids: object) -> str:
        return named(cls.KEY, ids)

    @classmethod
    def keys(cls, event: Event) -> Iterable[str]:
        """Name the heads of this class that the event moves."""
        return (named(cls.KEY, event.__dict__),)

    @classmethod
    def absent(cls, key: str) -> Self:  # noqa: ARG003  most say the same under every key
        """Return the state of a key that no event has named yet."""
        return cls._blank()

    @classmethod
    @cache
    def _blank(cls) -> Self:
        return cls()

    def fold(self, event: Event, mark: Mark) -> Self:
        raise NotImplementedError

    def pair(self) -> tuple[AccountId, ContactId] | None:
        """Return the link that is there now, for finding links by account and by contact."""
        return None

    def entry(self) -> Entry | None:
        """Tell if somebody may enter, or is invited, by this link; or would, were it not suspended."""
        return None

    def pending(self) -> bool:
        """Tell if this is the start of something that goes on in commits to follow."""
        return False
