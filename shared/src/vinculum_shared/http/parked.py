"""Routes for operators: which events could not be applied, and applying them after all."""

from datetime import datetime
from typing import Annotated, Final, LiteralString
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from vinculum_shared import deadlines
from vinculum_shared.http.documented import Documented
from vinculum_shared.http.openapi import raises
from vinculum_shared.http.paging import Page, Paged
from vinculum_shared.http.readers import V, View, Viewing
from vinculum_shared.problems import Conflict, NotFound


class ParkedNotFound(NotFound):
    """There is no such parked event.

    It may have been applied: list what is parked.
    """


class TenantHeld(Conflict):
    """Nothing is applied for this tenant until it is rebuilt from the log.

    Rebuild it (docs/operating.md), and replay then.
    """


class Parked(Documented):
    id: UUID
    """The event's."""
    stream: str
    position: int
    type: str
    reason: str
    parked_at: datetime


class Replayed(Documented):
    stream: str
    left: int
    """Parked events that the stream still has."""


def routes(observing: Viewing[V], operating: Viewing[V]) -> APIRouter:
    """Make the two routes, for dependencies that say who may look and who may replay.

    The service's lifespan state has the `subscription`.
    """
    router = APIRouter(prefix="/v1/parked", tags=["operations"])

    @router.get("")
    async def list_parked(view: Annotated[View, Depends(observing, scope="function")], paging: Paged) -> Page[Parked]:
        """List what is parked, in the log's order. The first of a stream has the reason; those behind it wait.

        It is all shown, also to those whose access is limited: an operator replays whatever is there.
        """
        rows = await view.db.fetch(LIST, view.tenant, *paging.after(0), paging.limit + 1)
        return paging.page(rows, lambda row: Parked(**row), ("position",), position=view.position, held=view.held)

    @router.post("/{parked_id}/replay", openapi_extra=raises(TenantHeld))
    async def replay_parked(
        parked_id: UUID, request: Request, view: Annotated[View, Depends(operating, scope="function")]
    ) -> Replayed:
        """Apply the parked events of its stream, in order, as far as that goes."""
        if view.held:
            raise TenantHeld
        stream = await view.db.fetchval(STREAM, view.tenant, parked_id)
        if stream is None:
            raise ParkedNotFound(parked_id=parked_id)
        deadlines.extend(REPLAY_SECONDS_MAX)
        left = await request.state.subscription.replay(view.tenant, stream)
        return Replayed(stream=stream, left=left)

    return router


REPLAY_SECONDS_MAX: Final = 60.0
LIST: LiteralString = """
    SELECT event_id AS id, stream, position, type, reason, parked_at
    FROM parked WHERE tenant = $1 AND position > $2
    ORDER BY position LIMIT $3"""
STREAM: LiteralString = "SELECT stream FROM parked WHERE tenant = $1 AND event_id = $2"
