"""What became of the mails, over HTTP: who may look, and what they see."""

from uuid import uuid4

import asyncpg
import pytest

from support.billing import Billing
from support.firms import POLICY
from support.notifier import Notifier
from vinculum_notifier.database import http_pool
from vinculum_shared.contracts.staff import Limits, StaffProfile, StaffUserChanged, StaffUserDeactivated
from vinculum_shared.contracts.tenants import PolicyChanged
from vinculum_shared.contracts.values import StaffId
from vinculum_shared.http.snapshots import FOR_TENANT

pytestmark = pytest.mark.integration

LIST = "/v1/notifications"


async def reminded(notifier: Notifier, times: int = 1) -> Billing:
    firm = Billing.with_addresses("anna@example.com")
    for _ in range(times):
        firm.remind()
    await notifier.apply(firm.log)
    return firm


async def test_a_notification_says_who_was_told_and_why(notifier: Notifier) -> None:
    firm = await reminded(notifier)
    answer = await notifier.get(LIST, notifier.service("acme"))
    assert answer.headers["Vinculum-Position"] == str(len(firm.log.recorded))
    page = answer.json()
    (item,) = page["items"]
    assert (page["next_cursor"], page["position"]) == (None, len(firm.log.recorded))
    assert item["event_id"] == str(firm.log.recorded[-1].id)
    assert item["recipient"] == {
        "contact_id": str(firm.contact_id),
        "email_id": str(firm.emails(firm.contact_id)[0]),
        "address": "anna@example.com",
    }
    assert (item["topic"], item["outcome"], item["reason"]) == ("invoice", "queued", "preference")
    assert (await notifier.get(f"{LIST}/{item['id']}", notifier.service("acme"))).json() == item
    for nobody in (str(uuid4()), "nope"):
        missing = await notifier.get(f"{LIST}/{nobody}", notifier.service("acme"))
        assert (missing.status_code, missing.json()["code"]) == (404, "notification_not_found")
        assert missing.json()["notification_id"] == nobody


async def test_that_nobody_was_told_is_a_notification_without_recipient(notifier: Notifier) -> None:
    """PX-8."""
    firm = Billing.with_addresses()
    firm.remind()
    await notifier.apply(firm.log)
    (item,) = (await notifier.get(LIST, notifier.service("acme"))).json()["items"]
    assert (item["recipient"], item["outcome"]) == (None, "nobody")


async def test_lists_are_read_page_by_page_newest_first(notifier: Notifier) -> None:
    firm = await reminded(notifier, times=7)
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await notifier.get(LIST, notifier.service("acme"), limit=3, **cursor)).json()
        found += [item["event_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == [str(event.id) for event in reversed(firm.log.recorded[-7:])]
    for wrong in ({"cursor": cursor["cursor"] + "x"}, {"topic": "invoice", **cursor}, {"limit": 201}):
        refused = await notifier.get(LIST, notifier.service("acme"), **wrong)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


async def test_lists_are_filtered(notifier: Notifier) -> None:
    firm = await reminded(notifier)
    firm.invite()
    await notifier.apply(firm.log)
    for query, count in (
        ({"account_id": firm.account_id}, 2),
        ({"account_id": uuid4()}, 0),
        ({"contact_id": firm.contact_id}, 2),
        ({"staff_id": firm.admin_id}, 0),
        ({"topic": "invitation"}, 1),
        ({"topic": "invoice", "contact_id": firm.contact_id}, 1),
    ):
        items = (await notifier.get(LIST, notifier.service("acme"), **query)).json()["items"]
        assert len(items) == count, query


async def test_active_staff_with_a_role_may_look(notifier: Notifier) -> None:
    firm = await reminded(notifier)
    viewer, operator, gone = firm.staff_user("viewer"), firm.staff_user("operator"), firm.staff_user("viewer")
    firm.log.commit(StaffUserDeactivated(staff_id=gone))
    await notifier.apply(firm.log)
    for staff_id, role, status in (
        (firm.admin_id, "admin", 200),
        (viewer, "viewer", 200),
        (viewer, "admin", 403),
        (operator, "operator", 403),
        (gone, "viewer", 403),
        (StaffId(uuid4()), "viewer", 403),
    ):
        answer = await notifier.get(LIST, notifier.staff("acme", staff_id, role))
        assert answer.status_code == status
    assert answer.json()["code"] == "forbidden"


async def test_who_sees_only_what_he_manages_sees_nothing(notifier: Notifier) -> None:
    """TL-10."""
    firm = await reminded(notifier)
    (item,) = (await notifier.get(LIST, notifier.service("acme"))).json()["items"]
    agent, limited, both = firm.staff_user("agent"), firm.staff_user("agent"), firm.staff_user("agent", "viewer")
    before, after = StaffProfile(roles=("agent",)), StaffProfile(roles=("agent",), limits=Limits(accounts=True))
    firm.log.commit(StaffUserChanged(staff_id=limited, before=before, after=after))

    async def sees(staff_id: StaffId, *roles: str) -> bool:
        token = notifier.staff("acme", staff_id, *roles)
        listed = (await notifier.get(LIST, token)).json()["items"]
        one = await notifier.get(f"{LIST}/{item['id']}", token)
        assert (one.status_code, listed) in ((200, [item]), (404, []))
        return bool(listed)

    policy = POLICY
    for limits, agent_sees, limited_sees in (
        (False, True, True),
        ("per_staff_user", True, False),
        (True, False, False),
    ):
        before_it, policy = policy, policy.model_copy(update={"manager_limits_access": limits})
        firm.log.commit(PolicyChanged(tenant="acme", profile="taxdome", before=before_it, after=policy))
        await notifier.apply(firm.log)
        assert await sees(agent, "agent") is agent_sees
        assert await sees(limited, "agent", "viewer") is limited_sees
        assert await sees(both, "agent", "viewer")
        assert await sees(both, "agent") is agent_sees
        assert await sees(firm.admin_id, "admin", "agent")


async def test_contacts_and_platform_may_not_look(notifier: Notifier) -> None:
    firm = await reminded(notifier)
    contact = notifier.issuer.token(kind="contact", sub=str(firm.contact_id), tenant="acme")
    platform = notifier.issuer.token(kind="platform", sub="platform")
    for token in (contact, platform, notifier.service("acme", "log")):
        assert (await notifier.get(LIST, token)).status_code == 403
    assert (await notifier.http.get(LIST)).status_code == 401


async def test_addresses_are_for_those_with_the_scope(notifier: Notifier) -> None:
    await reminded(notifier)
    (item,) = (await notifier.get(LIST, notifier.service("acme", "queries"))).json()["items"]
    assert item["recipient"]["address"] is None


async def test_another_tenants_notifications_are_not_there(notifier: Notifier) -> None:
    await reminded(notifier)
    (item,) = (await notifier.get(LIST, notifier.service("acme"))).json()["items"]
    other = Billing.with_addresses("berta@example.com", tenant="beta")
    await notifier.apply(other.log)
    assert (await notifier.get(LIST, notifier.service("beta"))).json()["items"] == []
    assert (await notifier.get(f"{LIST}/{item['id']}", notifier.service("beta"))).status_code == 404
    assert (await notifier.get(LIST, notifier.service("acme"), tenant="beta")).status_code == 403


async def test_a_service_is_told_that_a_tenant_is_unknown(notifier: Notifier) -> None:
    firm = await reminded(notifier)
    for token, refusal in (
        (notifier.service("nowhere"), (404, "tenant_not_found")),
        (notifier.staff("nowhere", firm.admin_id, "admin"), (403, "forbidden")),
    ):
        answer = await notifier.get(LIST, token)
        assert (answer.status_code, answer.json()["code"]) == refusal


async def test_a_query_waits_for_the_position_it_names(notifier: Notifier) -> None:
    firm = await reminded(notifier)
    end = len(firm.log.recorded)
    assert (await notifier.get(LIST, notifier.service("acme"), min_position=end)).status_code == 200
    firm.contact("Late", "Comer")
    behind = await notifier.get(LIST, notifier.service("acme"), min_position=end + 1)
    assert (behind.status_code, behind.json()["code"]) == (409, "projection_behind")
    assert "Retry-After" in behind.headers


async def test_the_database_itself_shows_no_other_tenants_rows(notifier: Notifier) -> None:
    """Whatever a statement of the HTTP side forgets."""
    await reminded(notifier)
    pool = await http_pool(notifier.settings)
    for tenant, count in (("acme", 1), ("beta", 0), ("", 0)):
        async with pool.acquire() as db, db.transaction():
            await db.execute(FOR_TENANT, tenant)
            assert await db.fetchval("SELECT count(*) FROM notification") == count
    async with pool.acquire() as db:
        assert await db.fetchval("SELECT count(*) FROM known") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute("UPDATE notification SET outcome = 'sent'")
    await pool.close()


async def test_it_is_ready_once_its_first_start_is_on_record(notifier: Notifier) -> None:
    assert (await notifier.http.get("/health/live")).status_code == 200
    assert (await notifier.http.get("/health/ready")).status_code == 503
    await notifier.pool.execute("INSERT INTO first_start DEFAULT VALUES")
    assert (await notifier.http.get("/health/ready")).status_code == 200
