"""Lists: how they are cut into pages, and the cursor that says where the next one begins.

A page begins after the last item of the one before it, in an order that ends with an id: no item is shown twice or
left out because others come and go. A cursor holds the sort key, a name among other things, so it is encrypted, not
only signed, and it is good for the same route, filters and tenant alone.
"""

import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Depends, Query, Request
from pydantic import SecretStr

from vinculum_shared.http.documented import Documented
from vinculum_shared.http.principals import Principal, bearer
from vinculum_shared.problems import Invalid

LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50
NONCE_BYTES: Final = 12
CURSOR_LENGTH_MAX: Final = 4_000

NIL: Final = UUID(int=0)
"""Sorts before every id."""

SortKey = tuple[str | int | UUID, ...]

I = TypeVar("I")  # noqa: E741


class Page(Documented, Generic[I]):
    items: list[I]
    next_cursor: str | None
    position: int
    """Of the tenant's log: the answer is as of this event."""
    parked: bool
    """A stream that this list is about has events that could not be applied; it may be out of date."""
    held: bool
    """Nothing more is applied for the tenant until an operator has rebuilt it: what is shown may be wrong."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the page of accounts AccountPage: generators of clients make class names of it."""
        return f"{params[0].__name__}Page"


@dataclass(frozen=True, slots=True)
class Paging:
    limit: int
    cursor: str | None
    cipher: AESGCM
    scope: bytes

    def after(self, *start: str | int | UUID) -> SortKey:
        """Say where the page begins: after the key in the cursor, or after `start`, which sorts before everything."""
        if self.cursor is None:
            return start
        try:
            sealed = urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))
            opened = self.cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self.scope)
        except (ValueError, InvalidTag):
            raise Invalid.at("?cursor", "cursor", "Give the next_cursor of the same list, or none.") from None
        return tuple(type(part)(value) for part, value in zip(start, orjson.loads(opened), strict=True))

    def page(
        self,
        rows: Sequence[Any],
        item: Callable[[Any], I],
        key: Sequence[str],
        *,
        position: int,
        held: bool,
        parked: bool = False,
    ) -> Page[I]:
        """Cut a page. `rows` has one more than the page, if there is one; `key` is what they are sorted by."""
        shown = rows[: self.limit]
        last = len(rows) <= self.limit
        return Page(
            items=[item(row) for row in shown],
            next_cursor=None if last else self.cursor_after(tuple(shown[-1][column] for column in key)),
            position=position,
            parked=parked,
            held=held,
        )

    def cursor_after(self, key: SortKey) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + self.cipher.encrypt(nonce, orjson.dumps(key, default=str), self.scope)
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()


def cursor_cipher(key: SecretStr) -> AESGCM:
    return AESGCM(hashlib.sha256(b"cursor." + key.get_secret_value().encode()).digest())


async def paging(
    request: Request,
    principal: Annotated[Principal, Depends(bearer)],
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=CURSOR_LENGTH_MAX)] = None,
) -> Paging:
    cipher: Any = request.state.cursor_cipher
    filters = sorted(each for each in request.query_params.multi_items() if each[0] not in NO_FILTERS)
    scope = orjson.dumps([request.url.path, filters, principal.tenant])
    return Paging(limit, cursor, cipher, scope)


NO_FILTERS: Final = frozenset({"limit", "cursor", "min_position", "tenant"})
Paged = Annotated[Paging, Depends(paging)]
