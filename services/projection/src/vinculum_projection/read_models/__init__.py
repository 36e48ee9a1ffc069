"""The read models, in the order in which they are applied: each writes its own tables and reads those before it."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from vinculum_projection.read_models import access, accounts, contacts, history, links, staff, tenants
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.postgres import Connection


class ReadModel(Protocol):
    @property
    def __name__(self) -> str: ...

    @property
    def EVENTS(self) -> tuple[type[Event], ...]: ...  # noqa: N802  a constant of the module

    async def apply(self, db: Connection, events: Sequence[Recorded[Any]]) -> None: ...


READ_MODELS: Final[tuple[ReadModel, ...]] = (tenants, staff, accounts, contacts, links, access, history)
