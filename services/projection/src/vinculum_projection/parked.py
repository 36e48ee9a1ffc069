"""Events that could not be applied, and applying them after all."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from vinculum_projection.reading import Observer, Operator
from vinculum_shared.paging import Page, Paged
from vinculum_shared.problems import NotFound

router = APIRouter(prefix="/v1", tags=["operations"])


class ParkedNotFound(NotFound):
    """There is no such parked event."""


class Parked(BaseModel):
    id: UUID
    """The event's."""
    stream: str
    position: int
    type: str
    reason: str
    parked_at: datetime


class Replayed(BaseModel):
    stream: str
    left: int
    """Parked events that the stream still has."""


@router.get("/parked")
async def parked(read: Observer, paging: Paged) -> Page[Parked]:
    """In the log's order. The first of a stream has the reason; those behind it wait.

    All of them, for those whose access is limited too: an operator replays whatever is there.
    """
    rows = await read.db.fetch(LIST, read.tenant, *paging.after(0), paging.limit + 1)
    return await read.page(Parked, [dict(row) for row in rows], paging, ("position",))


@router.post("/parked/{event_id}/replay")
async def replay_parked(event_id: UUID, request: Request, read: Operator) -> Replayed:
    """Apply the parked events of its stream, in order, as far as that goes."""
    stream = await read.db.fetchval(STREAM, read.tenant, event_id)
    if stream is None:
        raise ParkedNotFound
    left = await request.state.subscription.replay(read.tenant, stream)
    return Replayed(stream=stream, left=left)


LIST: LiteralString = """
    SELECT event_id AS id, stream, position, type, reason, parked_at
    FROM parked WHERE tenant = $1 AND position > $2
    ORDER BY position LIMIT $3"""
STREAM: LiteralString = "SELECT stream FROM parked WHERE tenant = $1 AND event_id = $2"
