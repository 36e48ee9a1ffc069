"""Questions that the heads answer, never late: access, with its reasons, and the policy."""

from typing import Annotated, Any, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Response

from vinculum_command import reading
from vinculum_command.domain.access import Decided, may_enter
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.contacts import Contact
from vinculum_command.domain.heads.links import Link
from vinculum_command.domain.heads.tenants import Rules
from vinculum_command.domain.rejections import AccountNotFound, ContactNotFound, TenantNotFound
from vinculum_command.http.answers import Access, PolicyAnswer
from vinculum_command.http.callers import Read, Reading
from vinculum_shared.contracts.topics import Feature
from vinculum_shared.contracts.values import EmailId
from vinculum_shared.http.openapi import raises

router = APIRouter(prefix="/v1", tags=["access"])


@router.get("/access", responses={200: {"model": Access}}, openapi_extra=raises(AccountNotFound, ContactNotFound))
async def get_access(
    read: Read,
    account_id: UUID,
    contact_id: UUID,
    email_id: Annotated[UUID | None, Query()] = None,
    feature: Annotated[Feature | None, Query()] = None,
) -> Response:
    """Say if the contact may enter the account now, and because of what."""
    account, contact, link = await _three(read, account_id, contact_id)
    if account.profile is None or (read.limited_to and read.limited_to not in account.managers):
        raise AccountNotFound(account_id=account_id)
    if contact.profile is None:
        raise ContactNotFound(contact_id=contact_id)
    decided = may_enter(link, account, contact, email_id=EmailId(email_id) if email_id else None, feature=feature)
    because, position = await reading.marked(read.db, read.tenant, decided.because)
    headers = {"Vinculum-Position": str(position)}
    return Response(orjson.dumps(_told(decided, because), option=orjson.OPT_UTC_Z), 200, headers, "application/json")


async def _three(read: Reading, account_id: UUID, contact_id: UUID) -> tuple[Account, Contact, Link]:
    keys = [
        Account.key(account_id=account_id),
        Contact.key(contact_id=contact_id),
        Link.key(account_id=account_id, contact_id=contact_id),
    ]
    found = await reading.heads(read.db, read.tenant, keys)
    account = cast(Account, found[keys[0]].head)
    contact = cast(Contact, found[keys[1]].head)
    link = cast(Link, found[keys[2]].head)
    return account, contact, link


def _told(decided: Decided, because: list[reading.Found]) -> dict[str, Any]:
    code = {"code": decided.code} if decided.code else {}
    return {
        "allowed": decided.allowed,
        "state": decided.state,
        **code,
        "because": [event._asdict() for event in because],
    }


@router.get("/policy", responses={200: {"model": PolicyAnswer}})
async def get_policy(read: Read) -> Response:
    """Give the tenant's rules as they are in force."""
    stored = (await reading.heads(read.db, read.tenant, [Rules.key()]))[Rules.key()]
    position = await reading.last_position(read.db, read.tenant)
    rules = cast(Rules, stored.head)
    if rules.policy is None:
        raise TenantNotFound(tenant=read.tenant)
    headers = {"Vinculum-Position": str(position), "ETag": f'"{stored.version}"'}
    return Response(
        orjson.dumps({"profile": rules.profile, **rules.policy.model_dump(mode="json")}),
        200,
        headers,
        "application/json",
    )
