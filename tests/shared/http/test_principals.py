"""Who is asking: what a token has to be."""

import json
import os
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from support.http_server import served
from support.strategies import SCALARS
from support.tokens import Issuer
from vinculum_shared.http.principals import REFRESH_SECONDS_MIN, VERIFIED_MAX, Principal, Verifier
from vinculum_shared.problems import Forbidden, Invalid, Unauthorized, Unavailable

pytestmark = pytest.mark.unit

STAFF = {"kind": "staff", "sub": "s1", "tenant": "acme", "roles": ["admin"]}


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.make(tmp_path)


@pytest.fixture
def verifier(issuer: Issuer) -> Verifier:
    return Verifier(str(issuer.jwks), "vinculum")


def forged(issuer: Issuer, **changes: Any) -> str:
    """A token whose signature is good and whose claims are not. A time is from now; None takes a claim away."""
    now = datetime.now(UTC)
    claims = STAFF | {"iss": "vinculum", "aud": "vinculum", "iat": now, "exp": now + timedelta(minutes=1)} | changes
    claims = {name: now + value if isinstance(value, timedelta) else value for name, value in claims.items()}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, issuer.key, "EdDSA", {"kid": "test"})


async def refused(verifier: Verifier, token: str) -> bool:
    try:
        await verifier.verify(token)
    except Unauthorized:
        return True
    return False


async def test_a_token_says_who_asks_about_which_tenant(issuer: Issuer, verifier: Verifier) -> None:
    assert await verifier.verify(issuer.token(**STAFF)) == Principal(
        kind="staff", sub="s1", tenant="acme", roles=frozenset({"admin"})
    )
    service = await verifier.verify(issuer.token(kind="service", sub="reporting", scope="log all_tenants"))
    assert service.scopes == {"log", "all_tenants"}
    contact = await verifier.verify(issuer.token(kind="contact", sub="c1", tenant="acme", email_id=str(UUID(int=7))))
    assert contact.email_id == UUID(int=7)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": timedelta(seconds=-1)},
        {"exp": timedelta()},
        {"nbf": timedelta(hours=1)},
        {"iat": timedelta(hours=1)},
        {"aud": "others"},
        {"iss": "others"},
        {"kind": "root"},
        {"tenant": None},
        {"tenant": "Acme"},
        {"tenant": "a" * 64},
        {"sub": ""},
        {"roles": "admin"},
        {"email_id": "x"},
        *({name: None} for name in ("exp", "aud", "iss", "sub", "kind")),
    ],
    ids=str,
)
async def test_a_claim_that_is_wrong_or_missing_is_refused(
    issuer: Issuer, verifier: Verifier, claims: dict[str, Any]
) -> None:
    assert await refused(verifier, forged(issuer, **claims))


CLAIMS = ("iss", "aud", "sub", "kind", "tenant", "exp", "nbf", "iat", "roles", "scope", "email_id", "jti")


@given(claim=st.sampled_from(CLAIMS), value=SCALARS | st.lists(SCALARS) | st.dictionaries(st.text(), SCALARS))
@example(claim="exp", value=str(2**40))
@example(claim="sub", value="s\x00")
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_claim_of_any_type_is_understood_or_refused(
    issuer: Issuer, verifier: Verifier, claim: str, value: object
) -> None:
    """A claim of the wrong type is a fault of the token (401), never of the service."""
    claims = jwt.decode(issuer.token(**STAFF), options={"verify_signature": False}) | {claim: value}
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), issuer.key, "EdDSA", {"kid": "test"})
    if not await refused(verifier, token):
        assert claim != "exp" or isinstance(value, int | float)
        assert claim != "sub" or (isinstance(value, str) and "\x00" not in value)


async def test_the_issuers_clock_may_be_ahead_by_less_than_a_minute(issuer: Issuer, verifier: Verifier) -> None:
    assert not await refused(verifier, issuer.token(**STAFF, iat=int(time.time()) + 30))
    assert not await refused(verifier, forged(issuer, iat=None))


async def test_a_remembered_token_is_refused_once_it_has_expired(issuer: Issuer, verifier: Verifier) -> None:
    expiring = issuer.token(**STAFF, exp=int(time.time()) + 2)
    await verifier.verify(expiring)
    while time.time() < jwt.decode(expiring, options={"verify_signature": False})["exp"]:
        await verifier.verify(issuer.token(**STAFF))
    assert await refused(verifier, expiring)


async def test_no_more_than_so_many_tokens_are_remembered(issuer: Issuer, verifier: Verifier) -> None:
    await verifier.verify(issuer.token(**STAFF | {"sub": "first"}))
    verifier._verified = {str(n): (0.0, Principal(kind="service", sub="x")) for n in range(VERIFIED_MAX)}
    await verifier.verify(issuer.token(**STAFF))
    assert len(verifier._verified) == VERIFIED_MAX
    assert "0" not in verifier._verified


async def test_another_algorithm_than_the_key_has_is_refused(issuer: Issuer, verifier: Verifier) -> None:
    now = int(time.time())
    claims = STAFF | {"iss": "vinculum", "aud": "vinculum", "iat": now, "exp": now + 60}
    kid = {"kid": "test"}
    public = issuer.key.public_key().public_bytes_raw()
    assert await refused(verifier, jwt.encode(claims, key="", algorithm="none", headers=kid))
    assert await refused(verifier, jwt.encode(claims, public * 2, "HS256", kid))
    assert await refused(verifier, jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256", kid))
    assert await refused(verifier, jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", kid))
    assert await refused(verifier, jwt.encode(claims, ed25519.Ed25519PrivateKey.generate(), "EdDSA", kid))
    assert await refused(verifier, jwt.encode(claims, issuer.key, "EdDSA"))
    assert not await refused(verifier, jwt.encode(claims, issuer.key, "EdDSA", kid))


async def test_es256_is_accepted_and_rsa_is_not(tmp_path: Path) -> None:
    curve, other = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    keys = [
        jwt.algorithms.ECAlgorithm.to_jwk(curve.public_key(), as_dict=True) | {"kid": "curve"},
        jwt.algorithms.RSAAlgorithm.to_jwk(other.public_key(), as_dict=True) | {"kid": "rsa"},
    ]
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys}))
    verifier = Verifier(str(tmp_path / "jwks.json"), "vinculum")
    now = int(time.time())
    claims = STAFF | {"iss": "vinculum", "aud": "vinculum", "iat": now, "exp": now + 60}
    assert not await refused(verifier, jwt.encode(claims, curve, "ES256", {"kid": "curve"}))
    assert await refused(verifier, jwt.encode(claims, other, "RS256", {"kid": "rsa"}))


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_token_that_was_changed_anywhere_is_refused(
    issuer: Issuer, verifier: Verifier, data: st.DataObject
) -> None:
    token = issuer.token(**STAFF)
    at = data.draw(st.integers(0, len(token) - 3))  # the last character carries bits that say nothing
    changed = token[:at] + data.draw(st.characters(codec="utf-8").filter(lambda c: c != token[at])) + token[at + 1 :]
    assert await refused(verifier, changed)


@given(st.text())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_is_no_token_is_refused(verifier: Verifier, token: str) -> None:
    assert await refused(verifier, token)


async def test_keys_are_read_again_when_their_file_changes(issuer: Issuer, verifier: Verifier, tmp_path: Path) -> None:
    old = issuer.token(**STAFF)
    await verifier.verify(old)
    new = Issuer.make(tmp_path)
    os.utime(new.jwks, (0, 0))
    await verifier.verify(new.token(**STAFF))
    assert await refused(verifier, old)


async def test_keys_at_a_url_are_fetched_again_for_a_key_that_is_unknown_but_not_all_the_time(
    issuer: Issuer, tmp_path: Path
) -> None:
    fetched = 0

    async def keys(_: Request) -> Response:
        nonlocal fetched
        fetched += 1
        return Response(issuer.jwks.read_bytes())

    async with served(Starlette(routes=[Route("/jwks", keys)])) as url:
        verifier = Verifier(f"{url}/jwks", "vinculum")
        for sub in ("s1", "s2"):
            await verifier.verify(issuer.token(**STAFF | {"sub": sub}))
        assert fetched == 1
        for _ in range(3):
            assert await refused(verifier, jwt.encode(STAFF, issuer.key, "EdDSA", {"kid": "new"}))
        assert fetched == 1
        verifier._version -= REFRESH_SECONDS_MIN
        assert await refused(verifier, jwt.encode(STAFF, issuer.key, "EdDSA", {"kid": "new"}))
        assert fetched == 2


async def test_keys_at_a_url_that_cannot_be_read_are_an_outage(issuer: Issuer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unavailable):
        await Verifier(f"http://127.0.0.1:{port}/jwks", "vinculum").verify(issuer.token(**STAFF))


def test_only_a_service_of_all_tenants_names_the_tenant() -> None:
    everywhere = Principal(kind="service", sub="reporting", scopes=frozenset({"all_tenants"}))
    assert everywhere.within("bolt").the_tenant == "bolt"
    for other in (
        Principal(kind="service", sub="reporting", tenant="acme"),
        Principal(kind="staff", sub="s1", tenant="acme", scopes=frozenset({"all_tenants"})),
        Principal(kind="platform", sub="p1"),
    ):
        with pytest.raises(Forbidden):
            other.within("bolt")
    with pytest.raises(Invalid):
        everywhere.within("../bolt")


def test_a_principal_without_tenant_cannot_ask_about_one() -> None:
    with pytest.raises(Invalid):
        _ = Principal(kind="service", sub="reporting").the_tenant
    with pytest.raises(Forbidden):
        _ = Principal(kind="platform", sub="p1", tenant="acme").the_tenant


def test_scopes_limit_services_alone() -> None:
    Principal(kind="staff", sub="s1", tenant="acme").require_scope("log")
    Principal(kind="service", sub="reporting", scopes=frozenset({"log"})).require_scope("log")
    with pytest.raises(Forbidden):
        Principal(kind="service", sub="reporting").require_scope("log")
