"""Tokens for the local stack, and the keys that they are signed with."""

from pathlib import Path

import pytest

from vinculum_devstack.folder import write_json
from vinculum_devstack.keys import jwks, keys, make_keys
from vinculum_devstack.problems import StackError
from vinculum_devstack.tokens import mint
from vinculum_shared.http.principals import Verifier
from vinculum_shared.problems import Unauthorized

pytestmark = pytest.mark.unit


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_keys(tmp_path)
    return tmp_path


@pytest.fixture
def verifier(data: Path) -> Verifier:
    return Verifier(str(jwks(data)), issuer="vinculum")


async def test_without_sub_it_is_the_demo_tenants_admin(data: Path, verifier: Verifier) -> None:
    principal = await verifier.verify(mint(data, tenant="perfex"))
    assert principal.kind == "staff"
    assert principal.tenant == "perfex"
    assert principal.sub == "01990000-0000-7000-8000-000000000003"
    assert principal.roles == {"admin"}


async def test_a_platform_token_needs_no_tenant(data: Path, verifier: Verifier) -> None:
    principal = await verifier.verify(mint(data, kind="platform"))
    assert (principal.kind, principal.tenant) == ("platform", None)


async def test_a_service_has_its_scopes(data: Path, verifier: Verifier) -> None:
    principal = await verifier.verify(mint(data, kind="service", tenant="zoho", scopes=["log", "personal"]))
    assert principal.scopes == {"log", "personal"}


async def test_claims_replace_any_claim_and_null_takes_one_out(data: Path, verifier: Verifier) -> None:
    changed = await verifier.verify(mint(data, tenant="zoho", claims={"tenant": "acme", "roles": ["viewer"]}))
    assert changed.tenant == "acme"
    assert changed.roles == {"viewer"}
    with pytest.raises(Unauthorized):
        await verifier.verify(mint(data, tenant="zoho", claims={"aud": None}))


async def test_an_expired_one_is_for_the_asking(data: Path, verifier: Verifier) -> None:
    with pytest.raises(Unauthorized):
        await verifier.verify(mint(data, tenant="zoho", expires_seconds=-3_600))


def test_of_another_tenant_a_staff_user_has_to_be_named(data: Path) -> None:
    with pytest.raises(StackError, match="--sub"):
        mint(data, tenant="acme")


def test_keys_are_made_once_and_nobody_else_reads_them(data: Path) -> None:
    first = keys(data)
    make_keys(data)
    assert keys(data) == first
    assert (data / "keys.json").stat().st_mode & 0o777 == 0o600


def test_an_older_stack_gets_the_secrets_that_came_later(data: Path) -> None:
    older = keys(data)
    address_key = older["secrets"]["notifier"].pop("ADDRESS_KEY")
    write_json(data / "keys.json", older)
    make_keys(data)
    assert keys(data)["secrets"]["notifier"]["ADDRESS_KEY"] == address_key
    del older["secrets"]["notifier"]["UNSUBSCRIBE_KEY"]
    write_json(data / "keys.json", older)
    make_keys(data)
    now = keys(data)
    assert len(now["secrets"]["notifier"].pop("UNSUBSCRIBE_KEY")) > 32
    assert now["secrets"]["notifier"].pop("ADDRESS_KEY") == now["secrets"]["command"]["ADDRESS_KEY"]
    assert now == older
