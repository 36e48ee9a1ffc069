"""Reading one tenant: in one snapshot, behind the wall."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, LiteralString

from fastapi import Query

from vinculum_shared.contracts.values import TENANT_ID
from vinculum_shared.postgres import Connection, Pool, lent

POSITION_MAX: Final = 2**63 - 1
MinPosition = Annotated[int, Query(ge=0, le=POSITION_MAX, description="Wait until the answer has this position.")]

FOR_TENANT: LiteralString = "SELECT set_config('vinculum.tenant', $1, true)"
BEGIN_FOR_TENANT: Final = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT set_config('vinculum.tenant', '{}', true)"
)
"""In one round trip, and so without parameters."""


@asynccontextmanager
async def of_tenant(pool: Pool, tenant: str) -> AsyncIterator[Connection]:
    """Read one tenant in one snapshot: row level security shows this transaction nothing of any other."""
    if not re.fullmatch(TENANT_ID, tenant):
        raise ValueError(tenant)
    async with lent(pool) as db:
        try:
            await db.execute(BEGIN_FOR_TENANT.format(tenant))
            yield db
        finally:
            if not db.is_closed():
                await db.execute("COMMIT")
