"""Links that can't be forged.

A token is an HMAC over a small payload, bound to one purpose: it is stored nowhere, and worthless for any other use.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError


def sign(key: SecretStr, purpose: str, payload: dict[str, Any]) -> str:
    body = _encode(orjson.dumps(payload, default=str))  # the ids that asyncpg gives are a class of their own
    return f"{body}.{_encode(_mac(key, purpose, body))}"


def verify(key: SecretStr, purpose: str, token: str) -> dict[str, Any] | None:
    """Return the payload, if `token` was signed with this key for this purpose."""
    body, _, signature = token.partition(".")
    expected = _encode(_mac(key, purpose, body))
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return None
    payload: dict[str, Any] = orjson.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return payload


def _mac(key: SecretStr, purpose: str, body: str) -> bytes:
    return hmac.digest(key.get_secret_value().encode(), f"{purpose}.{body}".encode(), hashlib.sha256)


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Signed(BaseModel):
    """What a token says. A kind of it has a purpose, and no token is good for another one."""

    model_config = ConfigDict(frozen=True)

    PURPOSE: ClassVar[str]

    def token(self, key: SecretStr) -> str:
        return sign(key, self.PURPOSE, self.model_dump())

    @classmethod
    def opened(cls, key: SecretStr, token: str) -> Self | None:
        """Return what the token says, or None if it says nothing: forged, or of an older form."""
        payload = verify(key, cls.PURPOSE, token)
        try:
            return None if payload is None else cls.model_validate(payload)
        except ValidationError:
            return None


class Invitation(Signed):
    """What an invitation's token says. The notifier makes the token, the command service checks it.

    It names the address that the mail went to by its keyed hash, made of the address itself: a token that was mailed to
    another address than the contact's, because of a forged event, opens nothing.
    """

    PURPOSE: ClassVar[str] = "invitation"

    tenant: str
    account_id: UUID
    contact_id: UUID
    email_id: UUID
    address_hash: str
    invitation_id: UUID
    expires_at: datetime

    @classmethod
    def read(cls, key: SecretStr, token: str, now: datetime) -> Self | None:
        invitation = cls.opened(key, token)
        return invitation if invitation and now < invitation.expires_at else None
