"""Who may ask what: the bearer as the domain's caller, and the readers of this service."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends

from vinculum_command import reading
from vinculum_command.domain.commands import Caller
from vinculum_command.domain.heads.staff import StaffUser
from vinculum_shared.postgres import Connection
from vinculum_shared.problems import Forbidden
from vinculum_shared.tokens import Principal, bearer

Bearer = Annotated[Principal, Depends(bearer)]

READERS: Final = frozenset({"admin", "manager", "agent", "viewer", "operator"})
OPERATORS: Final = frozenset({"admin", "operator"})


def as_caller(principal: Principal) -> Caller:
    """Give the caller. A staff user is known by the id of a record; a contact gives no commands."""
    if principal.kind == "contact":
        raise Forbidden
    if principal.kind == "staff":
        staff_id(principal)
    return Caller(kind=principal.kind, id=principal.sub, roles=principal.roles, scopes=principal.scopes)


def staff_id(principal: Principal) -> UUID:
    try:
        return UUID(principal.sub)
    except ValueError:
        raise Forbidden("A staff user's sub is the id of his record.") from None


async def may_read(db: Connection, principal: Principal, *, scope: str, roles: frozenset[str] = READERS) -> None:
    """Let services with the scope read, and active staff with one of the roles, in token and record both."""
    match principal.kind:
        case "service":
            principal.require_scope(scope)
        case "staff":
            key = StaffUser.key(staff_id=staff_id(principal))
            staff = (await reading.heads(db, principal.the_tenant, [key]))[key].head
            assert isinstance(staff, StaffUser)
            if not staff.active or staff.profile is None or not roles & principal.roles & set(staff.profile.roles):
                raise Forbidden
        case _:
            raise Forbidden


def sees_personal(principal: Principal) -> bool:
    return principal.kind == "staff" or "personal" in principal.scopes
