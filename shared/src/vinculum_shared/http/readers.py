"""Who may look at a tenant, and in what view: one snapshot, at one position of the log."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar, cast
from uuid import UUID

from fastapi import Depends, Request, Response

from vinculum_shared.consuming.arrivals import Arrivals, ProjectionBehind
from vinculum_shared.contracts.tenants import Policy
from vinculum_shared.http.fairness import Quota, Turns
from vinculum_shared.http.principals import Principal, bearer, bearer_of
from vinculum_shared.http.requests import Guard
from vinculum_shared.http.snapshots import MinPosition, of_tenant
from vinculum_shared.postgres import Connection, Pool
from vinculum_shared.problems import Forbidden, Invalid, TenantNotFound

READERS: Final = frozenset({"viewer", "agent", "manager", "admin"})
"""Roles that may look at what a tenant has."""
OPERATORS: Final = frozenset({"operator", "admin"})
"""Roles that see to the running of it."""

QUERIES_OF_TENANT_MAX: Final = 256
QUERIES_OF_PRINCIPAL_MAX: Final = 128
AT_ONCE: Final = 2
"""Queries of a tenant on a connection: Postgres looks for one's rows while the other's become an answer.

More would be no faster, and whoever else asks would wait behind each of them, in Postgres and in the event loop.
"""


class Queries:
    """The connections that queries are answered with: tenants share them, and none can have them all."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.quota = Quota(of_tenant=QUERIES_OF_TENANT_MAX, of_principal=QUERIES_OF_PRINCIPAL_MAX)
        self.turns = Turns(AT_ONCE, resting=True)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is recorded of a staff user."""

    active: bool
    roles: Collection[str]
    limited_accounts: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What a service knows of the tenant that is asked about, and of the staff user who asks."""

    position: int | None
    """None where it has heard nothing of the tenant."""
    held: bool
    """Nothing more is applied for the tenant until it is rebuilt."""
    policy: Policy | None
    staff: Standing | None


@dataclass(frozen=True, slots=True)
class View:
    db: Connection
    tenant: str
    position: int
    personal: bool
    limited: bool
    """Shows only what the reader manages (TL-10), which is nothing: there are no managers yet."""
    policy: Policy | None
    held: bool
    response: Response


V = TypeVar("V", bound=View)


class Viewing(Guard, Generic[V]):
    """A dependency: the view of staff with one of these roles, or of a service that may query.

    The service's lifespan state has the `queries` and the `arrivals`.
    """

    def __init__(
        self,
        kind: type[V],
        look: Callable[[Connection, str, UUID | None], Awaitable[Asked]],
        roles: frozenset[str],
        *,
        services: bool = True,
    ) -> None:
        self.kind = kind
        self.look = look
        self.roles = roles
        self.services = services

    async def __call__(
        self,
        request: Request,
        response: Response,
        principal: Annotated[Principal, Depends(bearer)],
        min_position: MinPosition = 0,
    ) -> AsyncIterator[V]:
        require_reader(principal, "queries", services=self.services)
        tenant, queries = principal.the_tenant, cast(Queries, request.state.queries)
        with queries.quota.admit(principal):
            waited = False
            while True:
                async with queries.turns.of(tenant), of_tenant(queries.pool, tenant) as db:
                    asked = await self.look(db, tenant, principal.staff_id)
                    if waited or (asked.position or 0) >= min_position:
                        position, limited = seen(asked, principal, self.roles)
                        response.headers["Vinculum-Position"] = str(position)
                        yield self.kind(
                            db, tenant, position, principal.sees_personal, limited, asked.policy, asked.held, response
                        )
                        return
                try:
                    await cast(Arrivals, request.state.arrivals).reach(tenant, min_position, asked.position or 0)
                except (Invalid, ProjectionBehind):
                    seen(asked, principal, self.roles)  # where the log ends is nothing for those who may not look
                    raise
                waited = True

    async def admit(self, request: Request) -> None:
        async with asynccontextmanager(self)(request, Response(), await bearer_of(request)):
            pass


def seen(asked: Asked, principal: Principal, roles: frozenset[str]) -> tuple[int, bool]:
    """Return the position, and if the reader sees only what they manage. Refuse who may see nothing."""
    limited = is_limited(principal, roles, asked.staff, asked.policy)
    if asked.position is None:
        raise TenantNotFound(tenant=principal.the_tenant)
    return asked.position, limited


def require_reader(principal: Principal, scope: str, *, services: bool = True) -> None:
    """Refuse who is neither staff nor, where services may ask, a service with the scope."""
    if principal.kind not in ("staff", "service") or (principal.kind == "service" and not services):
        raise Forbidden
    principal.require_scope(scope)


def is_limited(principal: Principal, roles: frozenset[str], staff: Standing | None, policy: Policy | None) -> bool:
    """Tell if the reader sees only what they manage. Refuses staff who have none of the roles, by token and record."""
    if principal.kind != "staff":
        return False
    if staff is None or not staff.active:
        raise Forbidden("The token's subject is no active staff user of this tenant.")
    effective = principal.roles.intersection(staff.roles)
    if not effective & roles:
        raise Forbidden(f"This needs one of the roles {', '.join(sorted(roles))}.")
    return policy is None or policy.limits_access(effective, limited_accounts=staff.limited_accounts)
