"""Who is asking: a bearer token is a JWT, checked against a JWK set whose keys decide the algorithm."""

import asyncio
import re
import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

import httpx2
import jwt
import orjson
from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from starlette.datastructures import Headers

from vinculum_shared import others, wording
from vinculum_shared.contracts.values import TENANT, TENANT_ID, TenantId
from vinculum_shared.problems import Forbidden, Invalid, Unauthorized, Unavailable

AUDIENCE: Final = "vinculum"
ALGORITHMS: Final = ("EdDSA", "ES256")
REQUIRED_CLAIMS: Final = ("exp", "aud", "iss", "sub", "kind")
AHEAD_SECONDS_MAX: Final = 60  # of the issuer's clock
VERIFIED_MAX: Final = 10_000  # tokens remembered: checking a signature costs 110 µs
REMEMBERED_SECONDS: Final = 60  # a key that is taken out of the set is good for no longer than that
KEYS_SECONDS_MAX: Final = 300.0  # keys at a URL are fetched again after that
REFRESH_SECONDS_MIN: Final = 10.0


class Principal(BaseModel):
    """Who is asking, and about which tenant."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    kind: Literal["staff", "service", "contact", "platform"]
    sub: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    tenant: TenantId | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = Field(default=frozenset(), alias="scope")
    email_id: UUID | None = None

    @field_validator("scopes", mode="before")
    @classmethod
    def words(cls, scope: Any) -> Any:
        return scope.split() if isinstance(scope, str) else scope

    @model_validator(mode="after")
    def belongs_to_a_tenant(self) -> Self:
        if self.kind in ("staff", "contact") and self.tenant is None:
            raise ValueError("staff and contacts belong to a tenant")
        return self

    @property
    def the_tenant(self) -> str:
        """The tenant, for what can only be asked about one."""
        if self.kind == "platform":
            raise Forbidden("A platform token is for no tenant.")
        if self.tenant is not None:
            return self.tenant
        raise Invalid.at("?tenant", "missing", "Name the tenant.")

    def within(self, tenant: str) -> Self:
        """Give the same, asking about the tenant that `?tenant=` names: for services of all tenants."""
        if tenant == self.tenant:
            return self
        if self.kind != "service" or "all_tenants" not in self.scopes:
            raise Forbidden("The token is not for this tenant.")
        if not re.fullmatch(TENANT_ID, tenant):
            raise Invalid.at("?tenant", "string_pattern_mismatch", wording.FORMS[TENANT])
        return self.model_copy(update={"tenant": tenant})

    @property
    def staff_id(self) -> UUID | None:
        """The staff user's record, if that is what `sub` names."""
        try:
            return UUID(self.sub) if self.kind == "staff" else None
        except ValueError:
            return None

    @property
    def sees_personal(self) -> bool:
        return self.kind == "staff" or "personal" in self.scopes

    def require_scope(self, scope: str) -> None:
        """Refuse a service without the scope. Scopes limit services alone; roles are the command's affair."""
        if self.kind == "service" and scope not in self.scopes:
            raise Forbidden(f"The token lacks the scope {scope}.", scope=scope)


OF_WHICH_TENANT: Final = "The tenant that is asked about, for a service of all tenants."


async def bearer(
    request: Request, tenant: Annotated[str | None, Query(description=OF_WHICH_TENANT)] = None
) -> Principal:
    """Say who is asking. The service's lifespan state has the `verifier`."""
    token = token_of(request.headers)
    if not token:
        raise Unauthorized
    principal: Principal = await request.state.verifier.verify(token)
    if tenant is not None:
        principal = principal.within(tenant)
    if principal.tenant is not None:
        others.asks(principal.tenant)
    return principal


def token_of(headers: Headers) -> str:
    """Return the bearer token that is shown, or nothing."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def bearer_of(request: Request) -> Principal:
    """Say who is asking, where it is not a dependency."""
    return await bearer(request, request.query_params.get("tenant"))


REFUSED: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (jwt.ExpiredSignatureError, "expired", "The token has expired. Get a new one."),
    (jwt.ImmatureSignatureError, "not_yet_valid", "The token is not valid yet. Check the clock of its issuer."),
    (jwt.InvalidAudienceError, "wrong_audience", f"The token is for others. Get one with the audience {AUDIENCE}."),
    (jwt.InvalidIssuerError, "wrong_issuer", "The token's issuer is not the one of this service. Get one from that."),
    (jwt.MissingRequiredClaimError, "claim_missing", f"The token needs the claims {', '.join(REQUIRED_CLAIMS)}."),
    (jwt.InvalidSignatureError, "wrong_signature", "The token's signature is wrong. Get a new token."),
    (jwt.InvalidKeyError, "unknown_key", "The token is signed with a key that is not known here. Get a new token."),
    (ValidationError, "invalid_claims", "The token's claims are not those of a Vinculum token. Get a new token."),
    (Exception, "malformed", "The token can't be read. Send a signed JSON Web Token."),
)
"""Why a token is not taken: the code and the words for what is raised when it is checked."""


def refused(error: Exception) -> Unauthorized:
    reason, detail = next((reason, detail) for kind, reason, detail in REFUSED if isinstance(error, kind))
    return Unauthorized(detail, reason=reason)


class Verifier:
    """Checks bearer tokens against a JWK set, which it reads again when the file changes or a key is unknown."""

    def __init__(self, jwks: str, issuer: str) -> None:
        self.jwks = jwks
        self.issuer = issuer
        self._keys: dict[str, jwt.PyJWK] = {}
        self._version: float = 0.0
        self._refresh = asyncio.Lock()
        self._verified: dict[str, tuple[float, Principal]] = {}

    async def verify(self, token: str) -> Principal:
        expires, principal = self._verified.get(token, (0.0, None))
        if principal is not None and time.time() < expires:
            return principal
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid", ""))
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=AUDIENCE,
                issuer=self.issuer,
                leeway=AHEAD_SECONDS_MAX,
                options={"require": list(REQUIRED_CLAIMS)},
            )
            if not isinstance(claims["exp"], int | float) or claims["exp"] <= time.time():
                raise jwt.ExpiredSignatureError
            principal = Principal.model_validate(claims)
        except (jwt.PyJWTError, ValidationError) as error:
            raise refused(error) from None
        if len(self._verified) >= VERIFIED_MAX:
            del self._verified[next(iter(self._verified))]
        until = min(claims["exp"], time.time() + REMEMBERED_SECONDS)
        self._verified[token] = (until, principal)
        return principal

    def tenant_of(self, token: str) -> str | None:
        """Return the tenant of a token that has been verified lately, be it expired by now; None of any other."""
        _, principal = self._verified.get(token, (0.0, None))
        return principal.tenant if principal else None

    async def _key(self, kid: str) -> jwt.PyJWK:
        if self.jwks.startswith(("http://", "https://")):
            if kid not in self._keys or time.monotonic() - self._version > KEYS_SECONDS_MAX:
                await self._fetch(kid)
        else:
            self._read()
        try:
            return self._keys[kid]
        except KeyError:
            raise jwt.InvalidKeyError from None

    async def _fetch(self, kid: str) -> None:
        async with self._refresh:
            age = time.monotonic() - self._version
            if self._version and age < (KEYS_SECONDS_MAX if kid in self._keys else REFRESH_SECONDS_MIN):
                return
            try:
                async with httpx2.AsyncClient(timeout=5.0) as http:
                    answer = (await http.get(self.jwks)).raise_for_status()
            except httpx2.HTTPError as error:
                raise Unavailable("The keys that tokens are checked against can't be read.") from error
            self._load(answer.content, time.monotonic())

    def _read(self) -> None:
        path = Path(self.jwks)
        changed = path.stat().st_mtime
        if changed != self._version:
            self._load(path.read_bytes(), changed)

    def _load(self, document: bytes, version: float) -> None:
        """Take the keys of a set. A key's own type decides the algorithm: no header can choose another one."""
        keys = jwt.PyJWKSet([key | {"alg": None} for key in orjson.loads(document)["keys"]])
        self._keys = {key.key_id: key for key in keys if key.key_id and key.algorithm_name in ALGORITHMS}
        self._version = version
        self._verified.clear()
