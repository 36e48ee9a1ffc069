"""A query's view: who asks, what he may see, and one snapshot of his tenant, at one position of the log."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Final, LiteralString

from fastapi import Depends, Request, Response

from vinculum_notifier.known import Staff, look
from vinculum_shared.postgres import Connection
from vinculum_shared.problems import Forbidden, TenantNotFound
from vinculum_shared.snapshots import MinPosition, of_tenant, reach
from vinculum_shared.tokens import OPERATORS, READERS, Principal, bearer

NO_STAFF_USER: Final = Staff(active=False)


@dataclass(frozen=True, slots=True)
class Read:
    db: Connection
    tenant: str
    position: int
    personal: bool
    limited: bool
    """Sees only what he manages (TL-10), which is nothing: there are no managers yet."""


def reading(roles: frozenset[str], *, services: bool = True) -> Callable[..., AsyncIterator[Read]]:
    """A dependency: the view of one who has one of these roles, or of a service that may query."""

    async def view(
        request: Request,
        response: Response,
        principal: Annotated[Principal, Depends(bearer)],
        min_position: MinPosition = 0,
    ) -> AsyncIterator[Read]:
        if principal.kind not in ("staff", "service") or (principal.kind == "service" and not services):
            raise Forbidden
        principal.require_scope("queries")
        tenant, pool = principal.the_tenant, request.state.pool
        await reach(pool, tenant, min_position)
        async with of_tenant(pool, tenant) as db:
            position = await db.fetchval(POSITION, tenant)
            if position is None:
                raise TenantNotFound
            limited = principal.kind == "staff" and await is_limited(db, principal, tenant, roles)
            response.headers["Vinculum-Position"] = str(position)
            yield Read(db, tenant, position, principal.sees_personal, limited)

    return view


async def is_limited(db: Connection, principal: Principal, tenant: str, roles: frozenset[str]) -> bool:
    """Tell if a staff user sees only what he manages. Refuses those who have none of the roles."""
    staff_id = principal.staff_id
    known = await look(db, tenant, f"staff/{staff_id}")
    staff = (known.staff(staff_id) if staff_id else None) or NO_STAFF_USER
    principal.require_role(roles, active=staff.active, recorded=staff.roles)
    policy, effective = known.tenant.policy, principal.effective_roles(staff.roles)
    return policy is None or policy.limits_access(effective, limited_accounts=staff.limits.accounts)


POSITION: LiteralString = "SELECT position FROM subscription WHERE tenant = $1"

observing = reading(READERS | OPERATORS)
operating = reading(OPERATORS, services=False)
Reader = Annotated[Read, Depends(reading(READERS), scope="function")]
Operator = Annotated[Read, Depends(operating, scope="function")]
