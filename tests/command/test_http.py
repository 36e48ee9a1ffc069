"""The HTTP contract of commands: answers, problems, keys, versions, dry runs, batches."""

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from support.commands import event_store
from support.service import Service
from support.waiting import until
from vinculum_command.http.commands import BATCH_PATH, BATCHES_MAX, LARGE_BYTES, bunches, dry_answers
from vinculum_command.http.log_feed import SSE
from vinculum_command.http.routes import ROUTES
from vinculum_shared.http.principals import Principal

pytestmark = pytest.mark.integration


async def test_a_command_answers_with_what_it_made_happen(service: Service) -> None:
    firm = await service.register("dynamics")
    answer = await firm.ask("POST", "/accounts", {"name": "Alfa"})
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["location"] == f"/v1/accounts/{body['id']}"
    assert answer.headers["vinculum-position"] == "4"
    assert [(event["type"], event["position"]) for event in body["events"]] == [("AccountCreated", 4)]
    assert (body["version"], body["position"], body["warnings"]) == (1, 4, [])


async def test_nothing_to_change_is_200_without_events(service: Service) -> None:
    firm = await service.register("dynamics")
    account = await firm.account(name="Alfa")
    answer = await firm.done("PATCH", f"/accounts/{account}", {"name": "Alfa"})
    assert answer["events"] == []
    assert answer["position"] == 4


async def test_put_of_a_link_is_201_and_then_200(service: Service) -> None:
    firm = await service.register("taxdome")
    contact = await firm.contact()
    account = await firm.account(new_contacts=[{"first_name": "A"}])
    path = f"/accounts/{account}/contacts/{contact}"
    assert (await firm.ask("PUT", path, {"role": "owner"})).status_code == 201
    assert (await firm.ask("PUT", path, {"job_title": "CEO"})).status_code == 200
    assert (await firm.done("PUT", path, {"job_title": "CEO"}))["events"] == []
    await firm.done("DELETE", path)
    assert await firm.refused("PATCH", path, {"role": "x"}) == (404, "contact_not_linked")
    answer = await firm.ask("PUT", path)
    assert (answer.status_code, answer.json()["version"]) == (201, 4)


NOBODY = UUID("01990000-0000-7000-8000-0000000000ff")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/accounts", {"name": "A", "nmae": "B"}, 422, "unknown_field"),
        ("POST", "/accounts", {}, 422, "invalid"),
        ("POST", "/accounts", {"name": "x" * 501}, 422, "invalid"),
        ("POST", "/accounts", {"name": "a\x00b"}, 422, "invalid"),
        ("POST", "/accounts", {"name": "A", "link_contacts": [{"contact_id": NOBODY}]}, 422, "invalid"),
        ("PATCH", f"/accounts/{NOBODY}", {"name": "A"}, 404, "account_not_found"),
        ("PATCH", "/accounts/nope", {"name": "A"}, 404, "account_not_found"),
        ("PATCH", f"/accounts/{NOBODY}", {"name": "A", "account_id": str(NOBODY)}, 422, "unknown_field"),
        ("PUT", f"/accounts/{NOBODY}/contacts/nope", {}, 404, "contact_not_found"),
        ("PUT", "/policy", {"profile": "taxdome", "overrides": {"no_such": 1}}, 422, "unknown_field"),
        ("POST", f"/contacts/{NOBODY}/emails", {"address": "a@example.com"}, 404, "contact_not_found"),
        (
            "POST",
            "/staff",
            {"name": "A", "email": "a@example.com", "roles": ["agent"], "limits": {"acounts": True}},
            422,
            "unknown_field",
        ),
        ("POST", "/contacts", {"emails": [{"address": "no address"}]}, 422, "invalid"),
        ("POST", "/records", {"type": "invoice"}, 422, "invalid"),
        ("GET", "/nowhere", None, 404, "not_found"),
        ("PUT", "/accounts", {}, 405, "method_not_allowed"),
    ],
)
async def test_bad_input_is_a_problem(
    service: Service, method: str, path: str, body: object, status: int, code: str
) -> None:
    firm = await service.register("dynamics")
    assert await firm.refused(method, path, body) == (status, code)


@pytest.mark.parametrize("nobody", [str(NOBODY), "nope"])
@pytest.mark.parametrize(
    ("method", "path", "fact"),
    [
        ("PATCH", "/accounts/{}", "account_id"),
        ("POST", "/contacts/{}/deactivate", "contact_id"),
        ("PATCH", "/staff/{}", "staff_id"),
        ("POST", "/records/{}/send", "record_id"),
    ],
)
async def test_an_unknown_id_in_the_path_is_a_fact_of_the_problem(
    service: Service, method: str, path: str, fact: str, nobody: str
) -> None:
    firm = await service.register("dynamics")
    answer = await firm.ask(method, path.format(nobody), {})
    assert (answer.status_code, answer.json()[fact]) == (404, nobody)


async def test_an_unknown_id_in_the_body_is_pointed_at(service: Service) -> None:
    firm = await service.register("dynamics")
    account, nobody = await firm.account(), uuid4()
    answer = await firm.ask("POST", f"/accounts/{account}/contacts", {"contacts": [{"contact_id": nobody}]})
    assert answer.status_code == 422
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [
        ("/contacts/0/contact_id", "contact_not_found")
    ]


async def test_an_unknown_id_in_the_path_is_404_though_the_body_has_the_same_value(service: Service) -> None:
    firm = await service.register("dynamics")
    nobody, account = uuid4(), await firm.account()
    accounts = {"accounts": [{"account_id": nobody}]}
    assert await firm.refused("POST", f"/contacts/{nobody}/accounts", accounts) == (404, "contact_not_found")
    move = {"from_account_id": account, "to_account_id": nobody}
    assert await firm.refused("POST", f"/contacts/{nobody}/transfer", move) == (404, "contact_not_found")
    answer = await firm.ask("POST", f"/contacts/{await firm.contact()}/transfer", move)
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("/from_account_id", "contact_not_linked")]


async def test_an_address_that_the_contact_has_already_stays_as_it_is(service: Service) -> None:
    firm = await service.register("perfex", overrides={"contact_requires_account": False})
    contact = await firm.contact()
    added = await firm.ask("POST", f"/contacts/{contact}/emails", {"address": "a@example.com"})
    again = await firm.ask("POST", f"/contacts/{contact}/emails", {"address": "A@example.com", "label": "Work"})
    assert (added.status_code, again.status_code) == (201, 200)
    assert (again.json()["id"], again.json()["events"]) == (added.json()["id"], [])


WRONG: dict[str, Any] = {"nonsense": True}


@pytest.mark.parametrize(("method", "path"), [route.split(" ") for route in ROUTES if "invitations" not in route])
async def test_rights_are_looked_at_before_fields(service: Service, method: str, path: str) -> None:
    """By the token, and by the record of the staff user."""
    firm = await service.register("dynamics")
    viewer = uuid4()
    await firm.done("POST", "/staff", {"id": viewer, "name": "V", "email": "v@example.com", "roles": ["viewer"]})
    route = f"{method} {path}"
    command = ROUTES[route].__name__
    path = path.format_map(defaultdict(lambda: NOBODY, tenant=firm.tenant))
    for token in (
        firm.service("log queries", firm.tenant),
        firm.staff(firm.tenant, viewer, "viewer"),
        firm.staff(firm.tenant, viewer, "admin"),
        firm.staff(firm.tenant, uuid4(), "admin"),
    ):
        for options in ({}, {"params": {"dry_run": "perhaps"}}, {"headers": {"Idempotency-Key": ""}}):
            assert await firm.refused(method, path, WRONG, token=token, **options) == (403, "forbidden")
        answers = await replace(firm, token=token).batch({"command": command, **WRONG})
        assert [(answer["status"], answer["code"]) for answer in answers] == [(403, "forbidden")]
    match ROUTES[route].ROLE:
        case "platform":
            token = firm.issuer.token(kind="platform", sub="p")
        case "service":
            token = firm.service("preferences", firm.tenant)
        case _:
            token = firm.token
    status, _ = await firm.refused(method, path, WRONG, token=token)
    assert status == 422


async def test_a_body_that_is_not_json_is_400_and_a_large_one_413(service: Service) -> None:
    firm = await service.register("dynamics")
    headers = {"Authorization": f"Bearer {firm.token}"}
    assert (await firm.http.post("/v1/accounts", content=b"{", headers=headers)).status_code == 400
    assert (await firm.http.post("/v1/accounts", content=b"[]", headers=headers)).status_code == 400
    assert (await firm.http.post("/v1/accounts", content=b" " * 1_100_000, headers=headers)).status_code == 413


async def test_the_same_key_gives_the_same_answer(service: Service) -> None:
    firm = await service.register("dynamics")
    key: dict[str, Any] = {"headers": {"Idempotency-Key": "k1"}}
    first, second = (
        await firm.ask("POST", "/accounts", {"name": "A"}, **key),
        await firm.ask("POST", "/accounts", {"name": "A"}, **key),
    )
    assert second.headers["idempotency-replayed"] == "true"
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert first.headers["location"] == second.headers["location"]
    assert await firm.refused("POST", "/accounts", {"name": "B"}, **key) == (422, "idempotency_key_reused")
    other = await service.register("dynamics")
    assert (await other.done("POST", "/accounts", {"name": "B"}, **key))["id"] != first.json()["id"]


async def test_an_answer_is_not_repeated_to_staff_who_may_not_give_the_command_any_more(service: Service) -> None:
    firm = await service.register("dynamics")
    key: dict[str, Any] = {"headers": {"Idempotency-Key": "k1"}}
    for end in ("PATCH", "POST"):
        staff = uuid4()
        await firm.done("POST", "/staff", {"id": staff, "name": "A", "email": "a@example.com", "roles": ["agent"]})
        token = firm.staff(firm.tenant, staff, "agent")
        first = await firm.done("POST", "/accounts", {"name": "A"}, token=token, **key)
        assert await firm.done("POST", "/accounts", {"name": "A"}, token=token, **key) == first
        if end == "PATCH":
            await firm.done("PATCH", f"/staff/{staff}", {"roles": ["viewer"]})
        else:
            await firm.done("POST", f"/staff/{staff}/deactivate")
        assert await firm.refused("POST", "/accounts", {"name": "A"}, token=token, **key) == (403, "forbidden")


async def test_if_match_is_checked(service: Service) -> None:
    firm = await service.register("dynamics")
    account = await firm.account()
    await firm.done("PATCH", f"/accounts/{account}", {"name": "B"}, headers={"If-Match": '"1"'})
    stale: dict[str, Any] = {"headers": {"If-Match": '"1"'}}
    assert await firm.refused("PATCH", f"/accounts/{account}", {"name": "C"}, **stale) == (412, "version_mismatch")


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"headers": {"If-Match": "W/1"}}, 412, "precondition_failed"),
        ({"headers": {"If-Match": "1" * 5_000}}, 412, "precondition_failed"),
        ({"headers": {"Idempotency-Key": "k" * 256}}, 422, "invalid"),
        ({"headers": {"Idempotency-Key": ""}}, 422, "invalid"),
        ({"params": {"dry_run": "perhaps"}}, 422, "invalid"),
    ],
)
async def test_an_option_that_is_none_is_a_problem(
    service: Service, options: dict[str, Any], status: int, code: str
) -> None:
    firm = await service.register("dynamics")
    account = await firm.account()
    assert await firm.refused("PATCH", f"/accounts/{account}", {"name": "C"}, **options) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "options", "source", "pointer"),
    [
        ("POST", "/accounts", {"headers": {"Idempotency-Key": "k" * 256}}, "header", "Idempotency-Key"),
        ("GET", "/log", {"headers": {"Accept": SSE, "Last-Event-ID": "x"}}, "header", "Last-Event-ID"),
        ("POST", "/accounts", {"params": {"dry_run": "perhaps"}}, "query", "?dry_run"),
        ("POST", "/accounts", {"params": {"dryrun": "true"}}, "query", "?dryrun"),
        ("POST", "/commands/batch", {"params": {"dryrun": "true"}}, "query", "?dryrun"),
        ("POST", "/accounts", {"params": {"dry_run": ["true", "false"]}}, "query", "?dry_run"),
        ("POST", "/commands/batch", {"params": {"dry_run": ["true", "true"]}}, "query", "?dry_run"),
        ("GET", "/policy", {"params": {"min_position": 1}}, "query", "?min_position"),
        ("POST", "/accounts", {}, "body", "/name"),
    ],
)
async def test_a_fault_is_pointed_to_in_the_part_of_the_request_that_has_it(
    service: Service, method: str, path: str, options: dict[str, Any], source: str, pointer: str
) -> None:
    firm = await service.register("dynamics")
    answer = await firm.ask(method, path, {} if method == "POST" else None, **options)
    assert answer.status_code == 422
    assert [(error["source"], error["pointer"]) for error in answer.json()["errors"]] == [(source, pointer)]


@pytest.mark.parametrize("path", ["/accounts", "/commands/batch"])
async def test_a_body_of_another_media_type_is_415(service: Service, path: str) -> None:
    firm = await service.register("dynamics")
    xml = {"headers": {"Content-Type": "text/xml"}}
    assert await firm.refused("POST", path, {"name": "A"}, **xml) == (415, "unsupported_media_type")


async def test_a_dry_run_tells_and_writes_nothing(service: Service) -> None:
    firm = await service.register("taxdome")
    refused = await firm.refused("POST", "/accounts", {"name": "A"}, params={"dry_run": "true"})
    assert refused == (409, "contact_required")
    body = {"name": "A", "new_contacts": [{"first_name": "B"}]}
    answer = await firm.done("POST", "/accounts", body, params={"dry_run": "true"})
    assert [event["type"] for event in answer["events"]] == ["AccountCreated", "ContactCreated", "ContactLinked"]
    assert {event["position"] for event in answer["events"]} == {None}
    assert (await firm.done("GET", "/log/positions"))["positions"] == {firm.tenant: 3}


async def test_a_batch_answers_each_line_in_order(service: Service) -> None:
    firm = await service.register("taxdome")
    account, first, second = uuid4(), uuid4(), uuid4()
    lines = [
        {"command": "CreateContact", "id": first},
        {"command": "CreateAccount", "id": account, "name": "A", "link_contacts": [{"contact_id": first}]},
        {"command": "LinkContacts", "account_id": account, "contacts": [{"contact_id": second}]},
        {"command": "CreateContact", "id": second, "idempotency_key": "once"},
        {"command": "LinkContacts", "account_id": account, "contacts": [{"contact_id": second}]},
        {"command": "UnlinkContact", "account_id": account, "contact_id": first},
        {"command": "UnlinkContact", "account_id": account, "contact_id": second},
        {"command": "Nothing"},
        {"command": "ChangeAccount", "account_id": uuid4(), "name": "B"},
    ]
    answers = await firm.batch(*lines, b"not json")
    assert [a["status"] for a in answers] == [201, 201, 422, 201, 200, 200, 409, 422, 404, 400]
    assert answers[6]["code"] == "last_contact"
    assert answers[8]["code"] == "account_not_found"


async def test_a_dry_batch_decides_each_line_upon_those_before_it(service: Service) -> None:
    firm = await service.register("dynamics")
    account = uuid4()
    lines = [
        {"command": "CreateAccount", "id": account, "name": "A"},
        {"command": "ArchiveAccount", "account_id": account},
        {"command": "ChangeAccount", "account_id": account, "name": "B"},
    ]
    answers = await firm.batch(*lines, dry_run="true")
    assert [(a["status"], a.get("code")) for a in answers] == [(200, None), (200, None), (409, "account_archived")]
    assert (await firm.done("GET", "/log/positions"))["positions"] == {firm.tenant: 3}


async def test_a_dry_batch_whose_caller_has_gone_is_not_decided(postgres: str) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    principal = Principal(kind="service", sub="crm", tenant="acme")
    async with event_store(postgres) as store:
        with pytest.raises(ClientDisconnect):
            await dry_answers(Request({"type": "http"}, receive), [b"{}"], principal, store.executor)


def test_lines_are_decided_in_bunches_that_are_not_large() -> None:
    large, small = b"x" * LARGE_BYTES, b"x" * (LARGE_BYTES // 2)
    assert list(bunches([small, small, small, large, large])) == [[small, small], [small], [large], [large]]
    assert not list(bunches([]))


async def test_of_a_line_every_id_is_a_field(service: Service) -> None:
    firm = await service.register("dynamics")
    for line, code in (
        ({"command": "ArchiveAccount"}, "missing"),
        ({"command": "ArchiveAccount", "account_id": "nope"}, "uuid_parsing"),
    ):
        (answer,) = await firm.batch(line)
        assert (answer["status"], answer["code"]) == (422, "invalid")
        assert [(error["pointer"], error["code"]) for error in answer["errors"]] == [("/account_id", code)]


async def test_a_batch_of_nonsense_lets_others_have_their_turn(service: Service) -> None:
    firm = await service.register("dynamics")
    nonsense = asyncio.create_task(firm.batch(*[b"{}"] * 10_000))
    for _ in range(3):
        assert (await firm.ask("GET", "/policy")).status_code == 200
    assert not nonsense.done()
    assert {answer["status"] for answer in await nonsense} == {422}


async def test_a_batch_with_a_line_too_many_is_refused_whole(service: Service) -> None:
    firm = await service.register("dynamics")
    line = {"command": "CreateAccount", "name": "A"}
    for count, options in ((10_001, {}), (1_001, {"dry_run": "true"})):
        (refused,) = await firm.batch(line, *[b"{}"] * (count - 1), **options)
        assert (refused["status"], refused["code"], refused["lines_max"]) == (413, "too_large", count - 1)
    assert (await firm.done("GET", "/log/positions"))["positions"] == {firm.tenant: 3}


async def test_a_batch_is_of_one_tenant(service: Service) -> None:
    firm = await service.register("dynamics")
    platform = replace(firm, token=firm.issuer.token(kind="platform", sub="p"))
    (refused,) = await platform.batch()
    assert (refused["status"], refused["code"]) == (403, "forbidden")
    everywhere = replace(firm, token=firm.service("commands all_tenants"))
    (refused,) = await everywhere.batch()
    assert (refused["status"], refused["errors"][0]["pointer"]) == (422, "?tenant")
    (answer,) = await everywhere.batch({"command": "CreateAccount", "name": "A"}, tenant=firm.tenant)
    assert answer["status"] == 201


async def test_a_batch_without_rights_is_refused_before_its_lines_are_read(service: Service) -> None:
    firm = await service.register("dynamics")
    reader, writer = await asyncio.open_connection("127.0.0.1", firm.settings.port)
    token = firm.service("log queries", firm.tenant)
    head = (
        f"POST {BATCH_PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n"
    )
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 403")
    writer.close()


async def test_a_tenant_has_so_many_batches_under_way_at_most(service: Service) -> None:
    firm, other = await service.register("dynamics"), await service.register("dynamics")
    head = (
        f"POST {BATCH_PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {firm.token}\r\n"
        "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    )

    async def begin(stack: AsyncExitStack) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", firm.settings.port)
        stack.callback(writer.close)
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")

    async def has_room() -> bool:
        return await firm.batch() == []

    async with AsyncExitStack() as stack:
        for _ in range(BATCHES_MAX):
            await begin(stack)
        (refused,) = await firm.batch()
        assert (refused["status"], refused["code"]) == (429, "too_many")
        assert await other.batch() == []
    await until(has_room)


async def test_of_many_errors_an_answer_lists_the_first(service: Service) -> None:
    firm = await service.register("dynamics")
    answer = await firm.ask("POST", "/accounts", {"name": "A", "new_contacts": [0] * 5_000})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 100
    assert answer.json()["detail"] == "5,000 values can't be accepted; these are the first."


async def test_a_command_has_so_many_values_and_addresses_at_most(service: Service) -> None:
    firm = await service.register("dynamics")
    assert await firm.refused("POST", "/accounts", {"name": "A", "details": {"a": [0] * 10_000}}) == (413, "too_large")
    (line,) = await firm.batch({"command": "CreateAccount", "name": "A", "details": {"a": [0] * 10_000}})
    assert (line["status"], line["values_max"]) == (413, 10_000)
    emails = [{"address": f"{number}@example.com"} for number in range(20)]
    new = [{"emails": emails}] * 51
    international = [{"emails": [{"address": f"jürgen{number}@example.com"} for number in range(10)]}] * 11
    account = await firm.account()
    for path, body, at, code in (
        ("/accounts", {"name": "A", "new_contacts": new}, "/new_contacts", "too_many"),
        ("/accounts", {"name": "A", "new_contacts": international}, "/new_contacts", "too_many"),
        (
            f"/accounts/{account}/contacts",
            {"contacts": [{"new_contact": each} for each in new]},
            "/contacts",
            "too_many",
        ),
        ("/contacts", {"first_name": "A", "emails": [{"address": "none"}] * 3_000}, "/emails", "too_long"),
        ("/contacts", {"first_name": "A", "emails": [{"address": "ä" * 300}]}, "/emails/0/address", "not_an_address"),
    ):
        (error,) = (await firm.ask("POST", path, body)).json()["errors"]
        assert (error["pointer"], error["code"]) == (at, code)


async def test_a_large_batch_keeps_its_order(service: Service) -> None:
    firm = await service.register("dynamics")
    account, contact = await firm.account(), await firm.contact()
    link = {"account_id": account, "contact_id": contact}
    lines = [{"command": "PutLink" if n % 2 == 0 else "UnlinkContact", **link} for n in range(600)]
    assert [answer["status"] for answer in await firm.batch(*lines)] == [201, 200] * 300


async def test_one_key_sent_three_times_at_once_has_one_effect(service: Service) -> None:
    firm = await service.register("dynamics")
    key: dict[str, Any] = {"headers": {"Idempotency-Key": "k"}}
    answers = await asyncio.gather(*(firm.ask("POST", "/accounts", {"name": "A"}, **key) for _ in range(3)))
    assert len({answer.text for answer in answers}) == 1
    assert (await firm.done("GET", "/log/positions"))["positions"] == {firm.tenant: 4}


async def test_tenant_and_policy_are_changed_by_an_admin_only(service: Service) -> None:
    firm = await service.register("dynamics")
    agent = uuid4()
    await firm.done("POST", "/staff", {"id": agent, "name": "A", "email": "a@example.com", "roles": ["agent"]})
    token = firm.staff(firm.tenant, agent, "agent", "admin")
    assert await firm.refused("PUT", "/policy", {"profile": "zoho"}, token=token) == (403, "forbidden")
    assert await firm.refused("PATCH", f"/tenants/{firm.tenant}", {"name": "X"}, token=token) == (403, "forbidden")
    assert await firm.refused("PATCH", "/tenants/other", {"name": "X"}) == (404, "tenant_not_found")
    await firm.done("POST", "/accounts", {"name": "A"}, token=token)
    await firm.done("POST", f"/staff/{agent}/deactivate")
    assert await firm.refused("POST", "/accounts", {"name": "A"}, token=token) == (403, "forbidden")
    policy = await firm.done("GET", "/policy")
    assert (policy["max_accounts_per_contact"], policy["managers"]["account"]) == (1, {"min": 0, "max": 1})


async def test_a_stricter_policy_counts_what_it_would_not_allow(service: Service) -> None:
    firm = await service.register("taxdome")
    contact = await firm.contact()
    for _ in range(2):
        await firm.account(link_contacts=[{"contact_id": contact}])
    answer = await firm.done("PUT", "/policy", {"profile": "zoho"})
    assert answer["warnings"] == [{"code": "policy_violations", "policy": "max_accounts_per_contact", "count": 1}]
    await firm.done("PUT", "/policy", {"profile": "dynamics", "overrides": {"min_contacts_per_account": 0}})
    await firm.account()
    answer = await firm.done("PUT", "/policy", {"profile": "taxdome"})
    assert answer["warnings"] == [{"code": "policy_violations", "policy": "min_contacts_per_account", "count": 1}]
    for _ in range(2):
        await firm.contact(emails=[{"address": "shared@example.com"}])
    answer = await firm.done("PUT", "/policy", {"profile": "perfex"})
    assert {each["policy"]: each["count"] for each in answer["warnings"]} == {
        "max_accounts_per_contact": 1,
        "contact_requires_account": 2,
        "unique_contact_email": 1,
    }


async def test_contacts_and_strangers_are_shut_out(service: Service) -> None:
    firm = await service.register("dynamics")
    contact = firm.issuer.token(kind="contact", sub=str(uuid4()), tenant=firm.tenant)
    for method, path in (("POST", "/accounts"), ("GET", "/policy"), ("GET", "/log"), ("POST", "/commands/batch")):
        body = {"name": "A"} if method == "POST" else None
        assert await firm.refused(method, path, body, token=contact) == (403, "forbidden")
    assert await firm.refused("POST", "/accounts", {"name": "A"}, token="nonsense") == (401, "unauthorized")
    platform = firm.issuer.token(kind="platform", sub="vinculum")
    assert await firm.refused("POST", "/accounts", {"name": "A"}, token=platform) == (403, "forbidden")
    other = await service.register("dynamics")
    account = await firm.account()
    assert await other.refused("PATCH", f"/accounts/{account}", {"name": "B"}) == (404, "account_not_found")


async def test_a_service_for_all_tenants_names_one(service: Service) -> None:
    firm = await service.register("dynamics")
    crm = service.service("commands all_tenants")
    assert await firm.refused("POST", "/accounts", {"name": "A"}, token=crm) == (422, "invalid")
    await firm.done("POST", "/accounts", {"name": "A"}, token=crm, params={"tenant": firm.tenant})
    own = service.service("commands", firm.tenant)
    assert await firm.refused("POST", "/accounts", {"name": "A"}, token=own, params={"tenant": "other"}) == (
        403,
        "forbidden",
    )
    reader = service.service("queries", firm.tenant)
    assert await firm.refused("POST", "/accounts", {"name": "A"}, token=reader) == (403, "forbidden")


async def test_a_service_needs_the_scope_for_what_it_does(service: Service) -> None:
    firm = await service.register("perfex")
    crm, hr, notifier = (service.service(scope, firm.tenant) for scope in ("commands", "admin", "preferences"))
    staff = {"name": "A", "email": "a@example.com", "roles": ["admin"]}
    administration = (
        ("POST", "/staff", staff),
        ("PUT", "/policy", {"profile": "perfex", "overrides": {"min_contacts_per_account": 1}}),
        ("PATCH", f"/tenants/{firm.tenant}", {"name": "B"}),
    )
    for method, path, body in administration:
        for token in (crm, notifier):
            assert await firm.refused(method, path, body, token=token) == (403, "forbidden"), path
        await firm.done(method, path, body, token=hr)
    assert await firm.refused("POST", "/accounts", {"name": "A"}, token=hr) == (403, "forbidden")
    account = await firm.account(new_contacts=[{"first_name": "B"}])
    contact = await firm.contact(link_accounts=[{"account_id": account}])
    path = f"/accounts/{account}/contacts/{contact}/notifications"
    await firm.done("PUT", path, {"topics": {"invoice": False}}, token=notifier)
    assert await firm.refused("PUT", path, {"topics": {"invoice": True}}, token=notifier) == (403, "forbidden")
    await firm.done("PUT", path, {"topics": {"invoice": True}}, token=crm)
