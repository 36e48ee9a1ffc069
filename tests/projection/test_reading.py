"""Who may ask, what they are shown, and at which position."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from support import openapi
from support.databases import as_admin
from support.firms import Firm
from support.projection import Projection
from support.waiting import until
from vinculum_projection.database import READER_CONNECTIONS, SCHEMA
from vinculum_projection.settings import Settings
from vinculum_shared.contracts.links import NotificationPreferences, NotificationPreferencesChanged
from vinculum_shared.contracts.staff import Limits, Role, StaffProfile, StaffUserChanged, StaffUserDeactivated
from vinculum_shared.http.readers import AT_ONCE, QUERIES_OF_PRINCIPAL_MAX

pytestmark = pytest.mark.integration

LISTS = ("/v1/accounts", "/v1/contacts", "/v1/freshness", "/v1/parked")
WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND NOT granted"""


async def code(projection: Projection, path: str, token: str, **query: object) -> tuple[int, str | None]:
    answer = await projection.get(path, token, **query)
    return answer.status_code, answer.json().get("code")


async def test_without_a_valid_token_nothing_is_told(projection: Projection) -> None:
    assert await code(projection, "/v1/accounts", "no token") == (401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("accounts", {"query": "\0"}),
        ("contacts", {"query": "a\0"}),
        ("contacts", {"email": "\0"}),
        ("accounts", {"min_position": 2**63}),
    ],
)
async def test_what_can_not_be_looked_for_is_told(projection: Projection, path: str, query: dict[str, Any]) -> None:
    await projection.deliver(Firm.registered().log)
    assert await code(projection, f"/v1/{path}", projection.service("acme"), **query) == (422, "invalid")


async def test_contacts_and_the_platform_are_shut_out(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    firm.link(account_id, ann)
    await projection.deliver(firm.log)
    contact = projection.issuer.token(
        kind="contact", sub=str(ann), tenant="acme", email_id=str(firm.emails(ann)[0]), roles=["admin"]
    )
    platform = projection.issuer.token(kind="platform", sub="ops", tenant="acme")
    of_account = [
        f"/v1/accounts/{account_id}{rest}"
        for rest in ("", "/contacts", "/related", "/access", "/history", "/recipients?topic=invoice")
    ]
    of_contact = [f"/v1/contacts/{ann}{rest}" for rest in ("", "/accounts", "/history")]

    for path in (*LISTS, *of_account, *of_contact):
        for token in (contact, platform):
            assert await code(projection, path, token) == (403, "forbidden"), path


@pytest.mark.parametrize(
    ("in_token", "in_record", "status"),
    [
        (["viewer"], ("viewer",), 200),
        (["admin", "viewer"], ("viewer",), 200),
        (["viewer"], ("admin",), 403),
        (["operator"], ("operator",), 403),
        ([], ("admin",), 403),
        (["admin"], (), 403),
    ],
)
async def test_a_role_counts_if_token_and_record_both_have_it(
    projection: Projection, in_token: list[str], in_record: tuple[Role, ...], status: int
) -> None:
    firm = Firm.registered()
    staff_id = firm.staff_user(*in_record)
    await projection.deliver(firm.log)

    assert (await projection.get("/v1/accounts", projection.staff("acme", staff_id, *in_token))).status_code == status


async def test_staff_users_that_are_inactive_unknown_or_another_tenants_are_refused(projection: Projection) -> None:
    firm, other = Firm.registered(), Firm.registered("other")
    gone = firm.staff_user("admin")
    firm.log.commit(StaffUserDeactivated(staff_id=gone))
    await projection.deliver(firm.log)
    await projection.deliver(other.log)

    for staff_id in (gone, uuid4(), other.admin_id):
        token = projection.staff("acme", staff_id, "admin")
        assert await code(projection, "/v1/accounts", token) == (403, "forbidden")
    nobody = projection.issuer.token(kind="staff", sub="ada", tenant="acme", roles=["admin"])
    assert await code(projection, "/v1/accounts", nobody) == (403, "forbidden")


async def test_staff_rights_are_looked_at_after_the_wait(projection: Projection) -> None:
    firm = Firm.registered()
    await projection.deliver(firm.log)
    staff_id = firm.staff_user("viewer")
    token = projection.staff("acme", staff_id, "viewer")
    assert (await projection.get("/v1/accounts", token)).status_code == 403

    waiting = asyncio.create_task(projection.get("/v1/accounts", token, min_position=4))
    await projection.deliver(firm.log)

    assert (await waiting).status_code == 200


@pytest.mark.parametrize(
    ("policy", "limited", "roles", "sees"),
    [
        (True, False, ["agent"], False),
        (True, False, ["agent", "operator"], False),
        (True, False, ["agent", "viewer"], True),
        (False, True, ["agent"], True),
        ("per_staff_user", True, ["agent"], False),
        ("per_staff_user", False, ["agent"], True),
        ("per_staff_user", True, ["manager"], True),
    ],
)
async def test_an_agent_whose_access_is_limited_sees_what_he_manages_which_is_nothing_yet(
    projection: Projection, *, policy: object, limited: bool, roles: list[str], sees: bool
) -> None:
    firm = Firm.registered(manager_limits_access=policy)
    staff_id = firm.staff_user("agent", "manager", "operator", "viewer")
    profile = StaffProfile(name="Sam", roles=("agent", "manager", "operator", "viewer"))
    after = profile.model_copy(update={"limits": Limits(accounts=limited)})
    firm.log.commit(StaffUserChanged(staff_id=staff_id, before=profile, after=after))
    account_id = firm.account("Initech")
    await projection.deliver(firm.log)
    token = projection.staff("acme", staff_id, *roles)

    assert len(await projection.items("/v1/accounts", token)) == (1 if sees else 0)
    answer = await projection.get(f"/v1/accounts/{account_id}", token)
    assert answer.status_code == (200 if sees else 404)


async def test_a_service_needs_the_scope_queries(projection: Projection) -> None:
    firm = Firm.registered()
    await projection.deliver(firm.log)

    assert await code(projection, "/v1/accounts", projection.service("acme", "log personal")) == (403, "forbidden")


async def test_without_the_scope_personal_ids_stay_and_everything_personal_is_null(projection: Projection) -> None:
    firm = Firm.registered()
    account_id, other = firm.account("Initech"), firm.account("Initrode")
    ann = firm.contact("Anneliese", "Smithers", "anneliese@example.com")
    for each in (account_id, other):
        firm.link(each, ann, "invoice")
        firm.access(each, ann, "active")
    second = firm.emails(ann)[0]
    preferences = NotificationPreferences(topics=("invoice",), by_email={second: {"ticket": True}})
    firm.log.commit(
        NotificationPreferencesChanged(
            account_id=account_id, contact_id=ann, before=NotificationPreferences(), after=preferences
        )
    )
    await projection.deliver(firm.log)
    token = projection.service("acme", "queries")
    of_account = [
        f"/v1/accounts/{account_id}{rest}"
        for rest in ("", "/contacts", "/related", "/access", "/history", "/recipients")
    ]
    of_contact = [f"/v1/contacts/{ann}{rest}" for rest in ("", "/accounts", "/history")]

    for path in ("/v1/accounts", "/v1/contacts", *of_account, *of_contact):
        query = {"topic": "invoice"} if path.endswith("/recipients") else {}
        answer = await projection.get(path, token, **query)
        assert answer.status_code == 200
        assert str(account_id) in answer.text or str(ann) in answer.text
        for value in ("init", "anneliese", "smithers", "example.com", "cfo"):
            assert value not in answer.text.lower(), path


@pytest.mark.parametrize("query", [{"query": "a"}, {"letter": "A"}, {"email": "a@example.com"}])
async def test_who_may_not_see_names_may_not_try_them_out(projection: Projection, query: dict[str, str]) -> None:
    firm = Firm.registered()
    await projection.deliver(firm.log)

    assert await code(projection, "/v1/contacts", projection.service("acme", "queries"), **query) == (403, "forbidden")


async def test_only_a_service_for_all_tenants_may_name_one(projection: Projection) -> None:
    firm, other = Firm.registered(), Firm.registered("other")
    other.account("Theirs")
    for each in (firm, other):
        await projection.deliver(each.log)
    everywhere = projection.service(None, "queries personal all_tenants")

    assert [item["name"] for item in await projection.items("/v1/accounts", everywhere, tenant="other")] == ["Theirs"]
    assert await projection.items("/v1/accounts", everywhere, tenant="acme") == []
    assert await code(projection, "/v1/accounts", everywhere) == (422, "invalid")
    assert await code(projection, "/v1/accounts", everywhere, tenant="nowhere") == (404, "tenant_not_found")
    unknown = projection.staff("nowhere", firm.admin_id, "admin")
    assert await code(projection, "/v1/accounts", unknown) == (403, "forbidden")
    for token in (projection.service("acme"), projection.staff("acme", firm.admin_id, "admin")):
        assert await code(projection, "/v1/accounts", token, tenant="other") == (403, "forbidden")


@pytest.mark.parametrize("nobody", [str(uuid4()), "nope"], ids=["unknown", "no id"])
async def test_what_is_not_there_is_not_found_and_is_named(projection: Projection, nobody: str) -> None:
    await projection.deliver(Firm.registered().log)
    for path in (path for path, methods in openapi.document("projection")["paths"].items() if "get" in methods):
        for parameter in re.findall(r"{(\w+)}", path):
            query = {"topic": "invoice"} if path.endswith("/recipients") else {}
            answer = await projection.get(path.format(**{parameter: nobody}), projection.service("acme"), **query)
            assert (answer.status_code, answer.json()["code"]) == (404, f"{parameter[:-3]}_not_found"), path
            assert answer.json()[parameter] == nobody, path


async def test_another_tenants_things_are_not_found(projection: Projection) -> None:
    firm, other = Firm.registered(), Firm.registered("other")
    account_id, ann = other.account("Theirs"), other.contact("Ann", "Smith")
    other.link(account_id, ann)
    for each in (firm, other):
        await projection.deliver(each.log)

    for rest in ("", "/contacts", "/related", "/access", "/history"):
        assert (await projection.get(f"/v1/accounts/{account_id}{rest}", projection.service("acme"))).status_code == 404
    for rest in ("", "/accounts", "/history"):
        assert (await projection.get(f"/v1/contacts/{ann}{rest}", projection.service("acme"))).status_code == 404


async def test_one_tenants_ids_may_be_anothers_too(projection: Projection) -> None:
    firm, other = Firm.registered(), Firm.registered("other")
    account_id = firm.account("Ours")
    other.account("Theirs", account_id)
    for each in (firm, other):
        await projection.deliver(each.log)

    for tenant, name in (("acme", "Ours"), ("other", "Theirs")):
        answer = await projection.get(f"/v1/accounts/{account_id}", projection.service(tenant))
        assert answer.json()["name"] == name


async def test_a_query_waits_for_the_position_it_names(projection: Projection) -> None:
    firm = Firm.registered()
    await projection.deliver(firm.log)
    firm.account("Initech")

    waiting = asyncio.create_task(projection.get("/v1/accounts", projection.service("acme"), min_position=4))
    await projection.deliver(firm.log)
    answer = await waiting

    assert answer.json()["position"] == 4
    assert answer.headers["vinculum-position"] == "4"
    assert len(answer.json()["items"]) == 1


async def test_a_query_for_a_position_that_does_not_come_is_told_to_try_again(projection: Projection) -> None:
    firm = Firm.registered()
    await projection.deliver(firm.log)
    firm.account("Initech")

    answer = await projection.get("/v1/accounts", projection.service("acme"), min_position=4)

    assert (answer.status_code, answer.json()["code"]) == (409, "projection_behind")
    assert answer.headers["retry-after"] == "1"
    assert (answer.json()["position"], answer.json()["min_position"]) == (3, 4)


async def test_positions_beyond_the_log_are_refused_and_the_log_is_asked_once_for_all(projection: Projection) -> None:
    firm = Firm.registered()
    await projection.deliver(firm.log)
    projection.log_server.asked_about.clear()
    token = projection.service("acme")

    asked = [projection.get("/v1/accounts", token, min_position=ahead) for ahead in range(4, 28)]
    answers = await asyncio.gather(*asked)

    assert {answer.status_code for answer in answers} == {422}
    assert {answer.json()["errors"][0]["code"] for answer in answers} == {"beyond_log"}
    assert answers[0].json()["errors"][0]["pointer"] == "?min_position"
    assert len(projection.log_server.asked_about) < len(answers)


async def test_where_the_log_ends_is_nothing_for_those_who_may_not_look(projection: Projection) -> None:
    firm = Firm.registered()
    nobody = projection.staff("acme", firm.staff_user("operator"), "operator")
    await projection.deliver(firm.log)

    assert await code(projection, "/v1/accounts", nobody, min_position=1_000) == (403, "forbidden")


async def test_queries_that_wait_hold_no_connection_and_are_limited_by_principal(projection: Projection) -> None:
    firm, other = Firm.registered(), Firm.registered("other")
    for each in (firm, other):
        await projection.deliver(each.log)
    firm.account("Initech")
    token, admin = projection.service("acme"), projection.staff("acme", firm.admin_id, "admin")

    async def connections_are_idle() -> bool:
        return projection.reader.get_idle_size() == projection.reader.get_size()

    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(projection.get("/v1/accounts", token, min_position=4))
            for _ in range(QUERIES_OF_PRINCIPAL_MAX + 1)
        ]
        (first,), waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        refused = first.result()
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
        assert int(refused.headers["retry-after"]) > 0
        assert (await projection.get("/v1/accounts", admin)).status_code == 200
        assert (await projection.get("/v1/accounts", projection.service("other"))).status_code == 200
        await until(connections_are_idle)
        assert not all(each.done() for each in waiting)
    assert {each.result().status_code for each in waiting} <= {409, 503}  # 503 where the machine is busy
    assert (await projection.get("/v1/accounts", token)).status_code == 200


async def test_one_tenant_s_slow_queries_leave_connections_to_others(
    projection: Projection, settings: Settings, postgres: str
) -> None:
    firm, other = Firm.registered(), Firm.registered("other")
    for each in (firm, other):
        await projection.deliver(each.log)
    slow, quick = projection.service("acme"), projection.service("other")
    async with as_admin(postgres, settings.database_url) as admin, asyncio.TaskGroup() as group, admin.transaction():
        await admin.execute(f"LOCK TABLE {SCHEMA}.accounts")
        for _ in range(2 * READER_CONNECTIONS):
            group.create_task(projection.get("/v1/accounts", slow))

        async def some_wait() -> bool:
            return bool(await admin.fetchval(WAITING))

        await until(some_wait)
        assert (await projection.get("/v1/contacts", quick)).status_code == 200
        assert await admin.fetchval(WAITING) <= AT_ONCE


async def test_how_fresh_the_answers_are_is_told_even_while_the_log_cannot_be_asked(projection: Projection) -> None:
    firm = Firm.registered()
    await projection.deliver(firm.log)
    projection.log_server.available = False

    for token in (projection.service("acme"), projection.staff("acme", firm.admin_id, "admin")):
        fresh = (await projection.get("/v1/freshness", token)).json()
        assert (fresh["position"], fresh["lag_events"], fresh["parked_events"]) == (3, None, 0)
        assert fresh["recorded_at"] == "2026-01-01T00:00:01Z"


async def test_how_far_the_answers_are_behind_the_log_is_told_in_events_and_seconds(projection: Projection) -> None:
    firm = Firm.registered()
    await projection.deliver(firm.log)
    token = projection.service("acme")
    fresh = (await projection.get("/v1/freshness", token)).json()
    assert (fresh["lag_events"], fresh["lag_seconds"]) == (0, 0)

    firm.account("Initech")
    firm.contact("Ann", "Smith")

    behind = (await projection.get("/v1/freshness", token)).json()
    assert (behind["position"], behind["lag_events"]) == (3, 2)
    age = datetime.now(UTC) - firm.log.recorded[3].recorded_at
    assert behind["lag_seconds"] == pytest.approx(age.total_seconds(), abs=5)
