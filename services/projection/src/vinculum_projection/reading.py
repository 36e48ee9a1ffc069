"""A query's view of the read models, and what it shows of them to whom."""

from collections.abc import Sequence
from typing import Annotated, Any, LiteralString, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel

from vinculum_shared.contracts.tenants import Policy
from vinculum_shared.contracts.values import NO_NUL, PERSONAL, AccountId, ContactId
from vinculum_shared.http.paging import Page, Paging, SortKey
from vinculum_shared.http.readers import OPERATORS, READERS, Asked, Standing, View, Viewing
from vinculum_shared.postgres import Connection
from vinculum_shared.problems import AccountNotFound, ContactNotFound, Forbidden

M = TypeVar("M", bound=BaseModel)
Row = dict[str, Any]


class Read(View):
    """A view of the read models."""

    async def rows(self, statement: LiteralString, *arguments: Any) -> list[Row]:
        """Run a statement. Its first argument is the tenant: none is run without it."""
        if self.limited:
            return []
        return [dict(row) for row in await self.db.fetch(statement, self.tenant, *arguments)]

    async def row(self, statement: LiteralString, *arguments: Any) -> Row | None:
        """Give the one row that the statement has at most."""
        rows = await self.rows(statement, *arguments)
        return rows[0] if rows else None

    async def account(self, account_id: AccountId) -> None:
        if await self.row(ACCOUNT, account_id) is None:
            raise AccountNotFound(account_id=account_id)

    async def contact(self, contact_id: ContactId) -> None:
        if await self.row(CONTACT, contact_id) is None:
            raise ContactNotFound(contact_id=contact_id)

    def one(self, model: type[M], row: Row) -> M:
        """Answer about one thing that has a version."""
        self.response.headers["ETag"] = f'"{row["version"]}"'
        return self.shown(model, row)

    async def page(
        self, model: type[M], rows: Sequence[Row], paging: Paging, key: Sequence[str], about: UUID | None = None
    ) -> Page[M]:
        """Cut a page. `about`: the account or contact whose list it is; an event parked there may be missing."""
        parked = any(row.get("parked") for row in rows[: paging.limit])
        parked = parked or (about is not None and await self.is_parked(about))
        return paging.page(
            rows, lambda row: self.shown(model, row), key, position=self.position, held=self.held, parked=parked
        )

    async def is_parked(self, about: UUID) -> bool:
        return bool(await self.db.fetchval(PARKED, self.tenant, str(about)))

    def shown(self, model: type[M], row: Row) -> M:
        answer = model.model_validate(row | {"held": True} if self.held else row)
        return answer if self.personal else without_personal(answer)

    def may_search_personal(self, *filters: object) -> None:
        """Refuse filters by names to those who may not see names: they could try them out."""
        if not self.personal and any(each is not None for each in filters):
            raise Forbidden("The token lacks the scope personal, and this filter looks at personal data.")


def sort_key(row: Row, key: Sequence[str]) -> SortKey:
    return tuple(row[column] for column in key)


def without_personal(answer: M) -> M:
    """Give the same, with null for each field that is marked as personal."""
    return answer.model_copy(
        update={
            name: None if PERSONAL in field.metadata else _without_personal(getattr(answer, name))
            for name, field in type(answer).model_fields.items()
        }
    )


def _without_personal(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return without_personal(value)
    return [_without_personal(each) for each in value] if isinstance(value, list) else value


async def look(db: Connection, tenant: str, staff_id: UUID | None) -> Asked:
    asked = await db.fetchrow(ASKED, tenant, staff_id)
    assert asked is not None
    position, held, policy, active, roles, limited_accounts = asked
    staff = None if active is None else Standing(active, roles, limited_accounts)
    return Asked(position, held, policy and Policy.model_validate(policy), staff)


ASKED: LiteralString = """
    SELECT subscription.position, subscription.held IS NOT NULL AS held, tenants.policy, staff.active, staff.roles,
        staff.limited_accounts
    FROM (VALUES ($1::text)) AS asked (tenant)
    LEFT JOIN subscription USING (tenant)
    LEFT JOIN tenants USING (tenant)
    LEFT JOIN staff ON staff.tenant = asked.tenant AND staff.staff_id = $2"""
ACCOUNT: LiteralString = "SELECT FROM accounts WHERE tenant = $1 AND account_id = $2"
CONTACT: LiteralString = "SELECT FROM contacts WHERE tenant = $1 AND contact_id = $2"
PARKED: LiteralString = "SELECT EXISTS (SELECT FROM parked WHERE tenant = $1 AND strpos(stream, $2) > 0)"

Search = Annotated[
    str | None, Query(max_length=500, pattern=NO_NUL, description="Start of the name, or of a word in it.")
]
Reader = Annotated[Read, Depends(Viewing(Read, look, READERS), scope="function")]
observing = Viewing(Read, look, READERS | OPERATORS)
operating = Viewing(Read, look, OPERATORS, services=False)
Observer = Annotated[Read, Depends(observing, scope="function")]
