"""Tenants see nothing of one another, and nobody gets in with a token that was not made for it."""

import base64
import hmac
import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from support.stack import Stack
from support.tenant import link

pytestmark = [pytest.mark.acceptance]

STAFF_ROUTES: Final = (
    ("command", "GET", "/policy"),
    ("command", "GET", "/log"),
    ("command", "POST", "/accounts"),
    ("projection", "GET", "/accounts"),
    ("projection", "GET", "/contacts"),
    ("projection", "GET", "/freshness"),
    ("notifier", "GET", "/notifications"),
)


async def answers(stack: Stack, token: str | None) -> list[httpx2.Response]:
    """Ask each service's routes for staff."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return [
        await stack.http.request(
            method,
            f"{stack.services[service]}/v1{path}",
            headers=headers,
            json={"name": "Intruder"} if method == "POST" else None,
        )
        for service, method, path in STAFF_ROUTES
    ]


async def test_two_tenants_may_use_the_same_ids_and_see_their_own(stack: Stack) -> None:
    one, other = await stack.tenant("dynamics"), await stack.tenant("dynamics")
    account, contact = str(uuid4()), str(uuid4())
    for tenant, name in ((one, "One"), (other, "Other")):
        await tenant.account(name, id=account)
        await tenant.contact(name, tenant.address("ana"), id=contact)
    await one.link(account, contact)
    for tenant, name, linked in ((one, "One", [contact]), (other, "Other", [])):
        assert (await tenant.read(f"/accounts/{account}"))["name"] == name
        assert (await tenant.read(f"/contacts/{contact}"))["emails"][0]["address"] == tenant.address("ana")
        assert await tenant.contacts_of(account) == linked
    assert {event["tenant"] for event in await one.log()} == {one.id}
    assert not await other.may_enter(account, contact)


async def test_what_another_tenant_has_is_as_unknown_as_what_nobody_has(stack: Stack) -> None:
    one, other = await stack.tenant("perfex"), await stack.tenant("perfex")
    account = await one.account("Canary Ltd")
    contact = await one.contact("Canary Bird", one.address("canary"), link_accounts=[{"account_id": account}])
    await one.enter(account, contact, one.address("canary"))
    invoice = await one.invoice(account)
    await one.done("POST", f"/records/{invoice}/send")
    notification, *_ = await one.notifications(account_id=account)
    email = (await one.read(f"/contacts/{contact}"))["emails"][0]["email_id"]

    def routes(ids: dict[str, str]) -> Iterator[tuple[str, str, str, Any]]:
        account, contact = ids["account"], ids["contact"]
        pair = link(account, contact)
        yield from (("projection", "GET", f"/accounts/{account}{tail}", None) for tail in ("", "/contacts", "/related"))
        yield from (("projection", "GET", f"/accounts/{account}/{tail}", None) for tail in ("access", "history"))
        yield "projection", "GET", f"/accounts/{account}/recipients?topic=invoice", None
        yield from (("projection", "GET", f"/contacts/{contact}{tail}", None) for tail in ("", "/accounts", "/history"))
        yield "notifier", "GET", f"/notifications/{ids['notification']}", None
        yield "command", "GET", f"/access?account_id={account}&contact_id={contact}", None
        yield "command", "PATCH", f"/accounts/{account}", {"name": "Mine"}
        yield "command", "POST", f"/accounts/{account}/archive", None
        yield "command", "PATCH", f"/contacts/{contact}", {"first_name": "Mine"}
        yield "command", "PATCH", f"/contacts/{contact}/emails/{ids['email']}", {"address": "mine@example.com"}
        yield "command", "POST", f"/contacts/{contact}/deactivate", None
        yield "command", "PUT", pair, {}
        yield "command", "DELETE", pair, None
        yield "command", "PUT", f"{pair}/portal-access", {"login": True}
        yield "command", "PUT", f"{pair}/permissions", {"features": []}
        yield "command", "PUT", f"{pair}/notifications", {"topics": {"invoice": False}}
        yield "command", "POST", f"/records/{ids['record']}/send", None
        body = {"first_name": "Mine", "link_accounts": [{"account_id": account}]}
        yield "command", "POST", "/contacts", body

    theirs = {"account": account, "contact": contact, "email": email, "record": invoice}
    theirs["notification"] = notification["id"]
    nobodys = {name: str(uuid4()) for name in theirs}

    async def told(ids: dict[str, str]) -> list[tuple[int, str]]:
        """Return what is answered, with the ids that were asked for blotted out."""
        found = []
        for service, method, path, body in routes(ids):
            answer = await other.ask(method, path, body, at=service)
            text = answer.text
            for name, value in ids.items():
                text = text.replace(value, name)
            found.append((answer.status_code, text))
        return found

    refused = await told(theirs)
    assert {status for status, _ in refused} == {404, 422}
    assert refused == await told(nobodys)
    assert (await other.log())[-1]["position"] == other.position
    assert await other.items("/accounts") == await other.items("/contacts") == []
    assert await other.notifications() == []
    assert (await one.read(f"/accounts/{account}"))["name"] == "Canary Ltd"


async def test_a_service_reads_only_the_tenant_of_its_token(stack: Stack) -> None:
    one, other = await stack.tenant("dynamics"), await stack.tenant("dynamics")
    await one.known()
    await other.known()
    token = stack.token(tenant=one.id, kind="service", scopes=["log", "queries", "commands"])
    for service, path in (("command", "/log"), ("projection", "/accounts"), ("notifier", "/notifications")):
        assert await one.refused("GET", f"{path}?tenant={other.id}", at=service, token=token) == (403, "forbidden")
        assert (await one.ask("GET", path, at=service, token=token)).status_code == 200
    answer = await one.refused("POST", f"/accounts?tenant={other.id}", {"name": "A"}, token=token)
    assert answer == (403, "forbidden")
    everywhere = stack.token(kind="service", scopes=["queries", "all_tenants"])
    assert (await one.ask("GET", f"/accounts?tenant={other.id}", at="projection", token=everywhere)).status_code == 200
    assert await one.refused("GET", "/accounts", at="projection", token=everywhere) == (422, "invalid")


def tampered(token: str, **claims: Any) -> str:
    """Keep the signature of other claims."""
    header, body, signature = token.split(".")
    stated = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{header}.{encoded(stated | claims)}.{signature}"


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'local'})}.{encoded(claims)}."


def with_hmac(claims: dict[str, Any], key: bytes) -> str:
    signed = f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': 'local'})}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.digest(key, signed.encode(), 'sha256'))}"


async def test_a_token_that_was_not_made_for_this_is_refused_by_all_three(stack: Stack) -> None:
    firm = await stack.tenant("dynamics")
    claims = jwt.decode(firm.token, options={"verify_signature": False})
    key = json.loads((stack.data / "jwks.json").read_text())["keys"][0]
    public = jwt.PyJWK(key).key.public_bytes_raw()
    stranger = Ed25519PrivateKey.generate()

    def made(**changed: Any) -> str:
        return stack.token(tenant=firm.id, sub=claims["sub"], claims=changed)

    wrong = {
        "none": None,
        "nonsense": "nonsense",
        "cut off": firm.token.rpartition(".")[0],
        "other claims": tampered(firm.token, tenant="taxdome"),
        "signed by a stranger": jwt.encode(claims, stranger, algorithm="EdDSA", headers={"kid": key["kid"]}),
        "a stranger's key in the header": jwt.encode(
            claims, stranger, "EdDSA", headers={"jwk": jwt.algorithms.OKPAlgorithm.to_jwk(stranger, as_dict=True)}
        ),
        "an unknown key": jwt.encode(claims, stranger, algorithm="EdDSA", headers={"kid": "other"}),
        "alg none": unsigned(claims, "none"),
        "alg None": unsigned(claims, "None"),
        "HMAC with the public key": with_hmac(claims, public),
        "HMAC with the public JWK": with_hmac(claims, key["x"].encode()),
        "expired": made(exp=int(time.time()) - 120),
        "without an end": made(exp=None),
        "not yet valid": made(nbf=int(time.time()) + 600),
        "another audience": made(aud="portal"),
        "no audience": made(aud=None),
        "another issuer": made(iss="somebody"),
        "no subject": made(sub=None),
        "no tenant": made(tenant=None),
        "an unknown kind": made(kind="root"),
    }
    for what, token in wrong.items():
        found = {answer.status_code for answer in await answers(stack, token)}
        assert found == {401}, what
    (challenged, *_) = await answers(stack, None)
    assert challenged.headers["www-authenticate"].startswith("Bearer")
    assert challenged.json()["code"] == "unauthorized"
    await firm.known()
    assert {answer.status_code for answer in await answers(stack, firm.token)} == {200, 201}


async def test_contacts_have_no_business_on_staff_routes(stack: Stack) -> None:
    firm = await stack.tenant("dynamics")
    ana = await firm.contact("Ana Pop", firm.address("ana"))
    await firm.account("Contoso", ana)
    email_id = (await firm.read(f"/contacts/{ana}"))["emails"][0]["email_id"]
    token = stack.token(tenant=firm.id, kind="contact", sub=ana, email_id=email_id)
    as_staff = stack.token(tenant=firm.id, kind="contact", sub=ana, roles=["admin"], scopes=["queries", "log"])
    for each in (token, as_staff):
        assert {answer.status_code for answer in await answers(stack, each)} == {403}


async def test_rights_are_looked_at_before_parameters_on_every_route(stack: Stack) -> None:
    firm = await stack.tenant("dynamics")
    await firm.known()
    tokens = (
        stack.token(tenant=firm.id, kind="contact", sub=str(uuid4())),
        stack.token(tenant=firm.id, kind="service", scopes=["none"]),
        stack.token(kind="service", scopes=["all_tenants"]),
        stack.token(tenant=firm.id, sub=str(uuid4()), roles=["admin"]),
    )
    asked = 0
    for service, url in stack.services.items():
        described = (await stack.http.get(f"{url}/openapi.json")).json()
        for path, method, operation in operations(described):
            own = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
            address = re.sub(r"{\w+}", "nonsense", path)
            for query in (
                {"nonsense": "1"},
                {"nonsense": ["1", "2"]},
                {name: "\0" for name in own if name != "tenant"},
            ):
                for token in tokens:
                    answer = await stack.http.request(
                        method, url + address, params=query, headers={"Authorization": f"Bearer {token}"}
                    )
                    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (service, method, query)
                    asked += 1
    assert asked > 500


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The operations that need a token."""
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if operation.get("security", described.get("security")):
                yield path, method, operation


async def test_staff_can_do_what_both_token_and_record_say(stack: Stack) -> None:
    firm = await stack.tenant("dynamics")
    await firm.known()
    unknown = stack.token(tenant=firm.id, sub=str(uuid4()), roles=["admin"])
    assert {answer.status_code for answer in await answers(stack, unknown)} == {403}
    body = {"name": "Vi Viewer", "email": firm.address("vi"), "roles": ["viewer"]}
    viewer = (await firm.done("POST", "/staff", body))["id"]
    promoted = stack.token(tenant=firm.id, sub=viewer, roles=["admin", "viewer"])
    assert await firm.refused("POST", "/accounts", {"name": "A"}, token=promoted) == (403, "forbidden")
    await firm.known()
    assert (await firm.done("GET", "/accounts", at="projection", token=promoted))["items"] == []
    await firm.done("POST", f"/staff/{viewer}/deactivate")
    await firm.known()
    for service, path in (("projection", "/accounts"), ("notifier", "/notifications")):
        assert await firm.refused("GET", path, at=service, token=promoted) == (403, "forbidden"), service
    assert await firm.refused("GET", "/policy", token=promoted) == (403, "forbidden")


async def test_a_role_is_what_it_may_do_with_the_log(stack: Stack) -> None:
    firm = await stack.tenant("dynamics")
    assert stack.token(tenant=firm.id)  # of the first admin, whose id is in the log
    for role, of_log, of_positions in (
        ("manager", 200, 200),
        ("agent", 200, 200),
        ("viewer", 200, 200),
        ("operator", 403, 200),
    ):
        token = await firm.staff(role)
        assert (await firm.ask("GET", "/log", token=token)).status_code == of_log, role
        assert (await firm.ask("GET", "/log/positions", token=token)).status_code == of_positions, role
    limiting = await stack.tenant("taxdome")
    answer = await limiting.refused("GET", "/log", token=await limiting.staff("agent"))
    assert answer == (403, "forbidden")  # it has all accounts, and they see those that they manage


async def test_without_the_scope_nothing_personal_is_told(stack: Stack) -> None:
    firm = await stack.tenant("taxdome")
    phone, address = "+39 011 555 0199", firm.address("canary")
    ada = await firm.contact("Canarina Volante", address, phones=[phone])
    engines = await firm.account("Canary Works", ada, details={"note": "Canarysecret"})
    await firm.done("PATCH", link(engines, ada), {"job_title": "Canarykeeper", "role": "owner"})
    await firm.enter(engines, ada, address)
    blind = stack.token(tenant=firm.id, kind="service", scopes=["queries", "log"])
    seeing = stack.token(tenant=firm.id, kind="service", scopes=["queries", "log", "personal"])
    routes = [
        ("command", "/log"),
        ("projection", "/accounts"),
        ("projection", f"/accounts/{engines}"),
        ("projection", f"/accounts/{engines}/contacts"),
        ("projection", f"/accounts/{engines}/access"),
        ("projection", f"/accounts/{engines}/history"),
        ("projection", f"/contacts/{ada}"),
        ("projection", f"/contacts/{ada}/accounts"),
        ("projection", f"/contacts/{ada}/history"),
        ("projection", "/contacts"),
        ("notifier", "/notifications"),
    ]
    await firm.items(f"/accounts/{engines}/contacts")
    await firm.notifications()
    for service, path in routes:
        personal = {"canar", phone, firm.address("admin"), "grace"}
        shown = await firm.ask("GET", path, at=service, token=seeing)
        assert shown.status_code == 200, shown.text
        assert any(each in shown.text.lower() for each in personal), path
        hidden = await firm.ask("GET", path, at=service, token=blind)
        assert hidden.status_code == 200, hidden.text
        assert not any(each in hidden.text.lower() for each in personal), path

    (contact,) = (await firm.ask("GET", f"/accounts/{engines}/contacts", at="projection", token=blind)).json()["items"]
    assert (contact["contact_id"], contact["role"]) == (ada, "owner")
    assert (contact["name"], contact["job_title"], contact["emails"][0]["address"]) == (None, None, None)
    events = [json.loads(line) for line in (await firm.ask("GET", "/log", token=blind)).text.splitlines()]
    assert all(event["data"]["personal"] is None for event in events)
    # Who may not see names may not try them out either.
    for path in ("/contacts?query=canar", f"/contacts?email={address}", "/accounts?query=canary"):
        assert await firm.refused("GET", path, at="projection", token=blind) == (403, "forbidden")
