"""Tokens for the local stack, signed with its own key: for trying things out, and for tests."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import httpx2
import jwt

from vinculum_devstack.folder import read_json
from vinculum_devstack.keys import KID, keys
from vinculum_devstack.problems import StackError
from vinculum_devstack.tenants import DEMO_TENANTS

Kind: TypeAlias = Literal["staff", "service", "contact", "platform"]

ISSUER: Final = "vinculum"
AUDIENCE: Final = "vinculum"
EXPIRES_SECONDS: Final = 3_600
TIMEOUT_SECONDS: Final = 10.0


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
    """Make a token; `claims` has the last word on every claim, and None there takes one out."""
    now = int(time.time())
    stated = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": sub or _default_sub(data, kind, tenant),
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


def _default_sub(data: Path, kind: Kind, tenant: str | None) -> str:
    match kind:
        case "platform" | "service":
            return kind
        case "contact":
            raise StackError("Name the contact by its id: --sub ID, and the address with --email-id ID.")
        case "staff":
            if tenant is None:
                raise StackError("Name the tenant: --tenant T.")
            demo = next((demo for demo in DEMO_TENANTS if demo.tenant == tenant), None)
            return demo.admin_id if demo else _first_admin(data, tenant)


def _first_admin(data: Path, tenant: str) -> str:
    """Read in the tenant's log who it was registered with."""
    running = read_json(data / "stack.json")
    if not running:
        raise StackError(
            f"The first admin of {tenant} is in its log: start the stack first, or name a staff user: --sub ID."
        )
    token = mint(data, tenant=tenant, kind="service", scopes=["log"])
    try:
        answer = httpx2.get(
            f"{running['command']}/v1/log",
            params={"types": "StaffUserAdded", "limit": 1},
            headers={"authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
        ).raise_for_status()
    except httpx2.HTTPError as error:
        raise StackError(
            f"The first admin of {tenant} is in its log, and the command service at {running['command']} does not "
            f"give it ({type(error).__name__}). See `vinculum status`, or name a staff user: --sub ID."
        ) from error
    first = json.loads(answer.text.partition("\n")[0])
    if "data" not in first:
        raise StackError(f"There is no tenant {tenant}.")
    return str(first["data"]["staff_id"])
