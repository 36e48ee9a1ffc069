"""What could not be applied is seen and replayed over HTTP."""

import pytest

from support.billing import Billing
from support.log_server import LogServer
from support.notifier import MOVE, Notifier
from vinculum_notifier.consume import apply
from vinculum_shared.consuming.event_log import Line
from vinculum_shared.consuming.parking import apply_or_park

pytestmark = pytest.mark.integration

LIST = "/v1/parked"


async def two_reminders_parked(notifier: Notifier, log: LogServer) -> Billing:
    """The first came in a version that nobody knows, the second after it."""
    firm = Billing.with_addresses("anna@example.com")
    log.logs["acme"] = firm.log
    await notifier.apply(firm.log)
    firm.remind()
    firm.remind()
    unknown, after_it = firm.log.lines[-2].replace(b'.v1"', b'.v9"'), firm.log.lines[-1]
    async with notifier.pool.acquire() as db, db.transaction():
        await apply_or_park(db, apply, [Line.read(unknown), Line.read(after_it)])
        await db.execute(MOVE, "acme", len(firm.log.lines), firm.log.now)
    notifier.applied["acme"] = len(firm.log.lines)
    return firm


async def test_an_operator_replays_a_stream_and_its_mails_are_due(notifier: Notifier, log: LogServer) -> None:
    firm = await two_reminders_parked(notifier, log)
    operator = notifier.staff("acme", firm.staff_user("operator"), "operator")
    await notifier.apply(firm.log)
    first, second = firm.log.recorded[-3:-1]

    page = (await notifier.get(LIST, operator, limit=1)).json()
    assert [(item["id"], item["stream"]) for item in page["items"]] == [(str(first.id), f"record/{firm.invoice_id}")]
    page = (await notifier.get(LIST, operator, cursor=page["next_cursor"])).json()
    assert [(item["id"], item["position"]) for item in page["items"]] == [(str(second.id), second.position)]
    assert await notifier.outcomes() == []

    answer = await notifier.post(f"{LIST}/{second.id}/replay", operator)

    assert (answer.status_code, answer.json()) == (200, {"stream": f"record/{firm.invoice_id}", "left": 0})
    assert await notifier.outcomes() == [("anna@example.com", "queued", "preference")] * 2
    assert (await notifier.get(LIST, operator)).json()["items"] == []
    for nothing in (str(second.id), "nope"):
        again = await notifier.post(f"{LIST}/{nothing}/replay", operator)
        assert (again.status_code, again.json()["code"]) == (404, "parked_not_found")
        assert again.json()["parked_id"] == nothing


async def test_nobody_else_replays(notifier: Notifier, log: LogServer) -> None:
    firm = await two_reminders_parked(notifier, log)
    other = Billing.with_addresses(tenant="other")
    event_id, manager = firm.log.recorded[-1].id, firm.staff_user("manager", "viewer")
    await notifier.apply(firm.log)
    await notifier.apply(other.log)
    for token, status in (
        (notifier.service("acme", "queries personal log all_tenants"), 403),
        (notifier.staff("acme", manager, "manager", "viewer", "admin"), 403),
        (notifier.staff("other", other.admin_id, "admin"), 404),
    ):
        assert (await notifier.post(f"{LIST}/{event_id}/replay", token)).status_code == status
    assert len((await notifier.get(LIST, notifier.service("acme"))).json()["items"]) == 2
