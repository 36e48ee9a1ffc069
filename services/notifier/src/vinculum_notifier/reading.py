"""Who may query the ledger, by what is known of the tenant and its staff."""

from typing import Annotated, LiteralString
from uuid import UUID

from fastapi import Depends

from vinculum_notifier import known
from vinculum_shared.contracts.events import StaffEvent
from vinculum_shared.http.readers import OPERATORS, READERS, Asked, Standing, View, Viewing
from vinculum_shared.postgres import Connection


async def look(db: Connection, tenant: str, staff_id: UUID | None) -> Asked:
    position, held = await db.fetchrow(APPLIED, tenant) or (None, False)
    found = await known.look(db, tenant, StaffEvent.stream_of(staff_id=staff_id))
    staff = found.staff(staff_id) if staff_id else None
    standing = Standing(staff.active, staff.roles, staff.limits.accounts) if staff else None
    return Asked(position, held, found.tenant.policy, standing)


APPLIED: LiteralString = "SELECT position, held IS NOT NULL FROM subscription WHERE tenant = $1"

observing = Viewing(View, look, READERS | OPERATORS)
operating = Viewing(View, look, OPERATORS, services=False)
Reader = Annotated[View, Depends(Viewing(View, look, READERS), scope="function")]
Operator = Annotated[View, Depends(operating, scope="function")]
