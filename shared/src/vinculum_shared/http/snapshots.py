"""Reading one tenant: in one snapshot, behind the wall."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, LiteralString

from fastapi import Query

from vinculum_shared.postgres import Connection, Pool, lent

POSITION_MAX: Final = 2**63 - 1
MinPosition = Annotated[int, Query(ge=0, le=POSITION_MAX, description="Wait until the answer has this position.")]

FOR_TENANT: LiteralString = "SELECT set_config('vinculum.tenant', $1, true)"


@asynccontextmanager
async def of_tenant(pool: Pool, tenant: str) -> AsyncIterator[Connection]:
    """Read one tenant in one snapshot: row level security shows this transaction nothing of any other."""
    async with lent(pool) as db, db.transaction(isolation="repeatable_read", readonly=True):
        await db.execute(FOR_TENANT, tenant)
        yield db
