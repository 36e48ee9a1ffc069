"""Who may ask what: the bearer as the domain's caller, and the readers of this service."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from vinculum_command import reading
from vinculum_command.domain.commands import Caller, acting
from vinculum_command.domain.heads.staff import StaffUser
from vinculum_command.domain.heads.tenants import Rules
from vinculum_shared.contracts.values import StaffId
from vinculum_shared.http.principals import Principal, bearer
from vinculum_shared.http.readers import READERS, Queries, Standing, is_limited, require_reader
from vinculum_shared.http.snapshots import of_tenant
from vinculum_shared.postgres import Connection
from vinculum_shared.problems import Forbidden

Bearer = Annotated[Principal, Depends(bearer)]


def as_caller(principal: Principal) -> Caller:
    """Give the caller. A staff user is known by the id of a record; a contact gives no commands."""
    if principal.kind == "contact" or (principal.kind == "staff" and principal.staff_id is None):
        raise Forbidden
    return Caller(kind=principal.kind, id=principal.sub, roles=principal.roles, scopes=principal.scopes)


async def standing(request: Request, principal: Principal) -> Principal:
    """Return the principal with the roles that token and record both give. Refuse staff who are not active."""
    caller = as_caller(principal)
    if caller.kind != "staff":
        return principal
    key = StaffUser.key(staff_id=principal.staff_id)
    async with of_tenant(request.state.reader, principal.the_tenant) as db:
        found = await reading.heads(db, principal.the_tenant, [key])
    staff = cast(StaffUser, found[key].head)
    return principal.model_copy(update={"roles": acting(caller, staff).roles})


@dataclass(frozen=True, slots=True)
class Reading:
    """One tenant in one snapshot, for somebody who may read it."""

    db: Connection
    tenant: str
    limited_to: StaffId | None
    """The staff user who sees only what they manage, if that is who asks."""


async def reading_heads(request: Request, principal: Bearer) -> AsyncIterator[Reading]:
    """Open the heads for who may query. A dependency without parameters: what it refuses is refused first."""
    require_reader(principal, "queries")
    tenant, queries = principal.the_tenant, cast(Queries, request.state.queries)
    with queries.quota.admit(principal):
        async with queries.turns.of(tenant), of_tenant(queries.pool, tenant) as db:
            yield Reading(db, tenant, await may_read(db, principal, scope="queries"))


Read = Annotated[Reading, Depends(reading_heads, scope="function")]


async def may_read(
    db: Connection, principal: Principal, *, scope: str, roles: frozenset[str] = READERS
) -> StaffId | None:
    """Let services with the scope read, and staff with one of the roles.

    Gives the staff user who sees only what they manage, if the caller is one.
    """
    require_reader(principal, scope)
    if principal.kind == "service":
        return None
    keys = [StaffUser.key(staff_id=principal.staff_id), Rules.key()]
    found = await reading.heads(db, principal.the_tenant, keys)
    staff, rules = cast(StaffUser, found[keys[0]].head), cast(Rules, found[keys[1]].head)
    profile = staff.profile
    standing = Standing(staff.active, profile.roles, profile.limits.accounts) if profile else None
    limited = is_limited(principal, roles, standing, rules.policy)
    return StaffId(principal.staff_id) if limited and principal.staff_id else None
