"""Tokens for the local stack, signed with its own key: for trying things out, and for tests."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import jwt

from vinculum_devstack.keys import KID, keys
from vinculum_devstack.problems import StackError
from vinculum_devstack.tenants import DEMO_TENANTS

Kind: TypeAlias = Literal["staff", "service", "contact", "platform"]

ISSUER: Final = "vinculum"
AUDIENCE: Final = "vinculum"
EXPIRES_SECONDS: Final = 3_600


def mint(
    data: Path,
    *,
    tenant: str | None = None,
    kind: Kind = "staff",
    roles: Sequence[str] = (),
    scopes: Sequence[str] = (),
    sub: str | None = None,
    email_id: str | None = None,
    expires_seconds: int = EXPIRES_SECONDS,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """A token; `claims` has the last word on every claim, and None there takes one out."""
    now = int(time.time())
    stated = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": sub or _default_sub(kind, tenant),
        "kind": kind,
        "iat": now,
        "exp": now + expires_seconds,
        "tenant": tenant,
        "roles": list(roles) or (["admin"] if kind == "staff" else None),
        "scope": " ".join(scopes) or None,
        "email_id": email_id,
    } | dict(claims or {})
    payload = {name: value for name, value in stated.items() if value is not None}
    return jwt.encode(payload, keys(data)["signing_key"], algorithm="EdDSA", headers={"kid": KID})


def _default_sub(kind: Kind, tenant: str | None) -> str:
    match kind:
        case "platform" | "service":
            return kind
        case "contact":
            raise StackError("Name the contact by its id: --sub ID, and the address with --email-id ID.")
        case "staff":
            for demo in DEMO_TENANTS:
                if demo.tenant == tenant:
                    return demo.admin_id
            raise StackError(
                "Name the tenant: --tenant T."
                if tenant is None
                else f"Only of the demo tenants is the first admin known. Name a staff user of {tenant}: --sub ID."
            )
