"""Perfex's statements, for a tenant under its profile: a contact lives inside one account, and chooses its mail."""

from datetime import UTC, datetime, timedelta

import pytest

from support.stack import Stack
from support.tenant import Tenant, link, names, types

pytestmark = [pytest.mark.acceptance]


@pytest.fixture
async def crm(stack: Stack) -> Tenant:
    return await stack.tenant("perfex")


async def member(crm: Tenant, account_id: str, name: str) -> str:
    address = crm.address(name.split(maxsplit=1)[0].lower())
    return await crm.contact(name, address, link_accounts=[{"account_id": account_id}])


async def test_px_1_a_contact_is_made_inside_exactly_one_account(crm: Tenant) -> None:
    """A new contact is created in the profile of the customer that it belongs to."""
    assert await crm.refused("POST", "/contacts", {"first_name": "Jo"}) == (409, "account_required")
    pixel, other = await crm.account("Pixel"), await crm.account("Other")
    both = {"first_name": "Jo", "link_accounts": [{"account_id": pixel}, {"account_id": other}]}
    assert await crm.refused("POST", "/contacts", both) == (409, "contact_already_linked")
    jo = await member(crm, pixel, "Jo Weber")
    assert await crm.accounts_of(jo) == [pixel]
    assert await crm.refused("PUT", link(other, jo)) == (409, "contact_already_linked")
    assert await crm.refused("POST", f"{link(pixel, jo)}/unlink") == (409, "account_required")
    assert await crm.accounts_of(jo) == [pixel]


async def test_px_2_a_new_contact_is_made_for_an_account(crm: Tenant) -> None:
    """One clicks New Contact to create a new contact for this customer; the first one is the primary one."""
    pixel = await crm.account("Pixel")
    new = {"new_contact": {"first_name": "Jo", "last_name": "Weber"}, "job_title": "Owner"}
    answer = await crm.done("POST", f"/accounts/{pixel}/contacts", {"contacts": [new]})
    assert types(answer) == ["ContactCreated", "ContactLinked"]
    await member(crm, pixel, "Kim Zahn")
    linked = await crm.items(f"/accounts/{pixel}/contacts")
    assert [(each["name"], each["primary"]) for each in linked] == [("Jo Weber", True), ("Kim Zahn", False)]


async def test_px_5_permissions_are_changed_at_any_time(crm: Tenant) -> None:
    """One is welcome to adapt the permissions to one's requirements."""
    pixel = await crm.account("Pixel")
    jo = await member(crm, pixel, "Jo Weber")

    async def features() -> set[str]:
        (linked,) = await crm.items(f"/accounts/{pixel}/contacts")
        return set(linked["features"])

    everything = {"invoices", "estimates", "contracts", "proposals", "support", "projects"}
    assert await features() == everything
    await crm.enter(pixel, jo, crm.address("jo"))
    assert await crm.may_enter(pixel, jo, feature="invoices")

    path = f"{link(pixel, jo)}/permissions"
    answer = await crm.done("PUT", path, {"features": ["projects", "support"]})
    assert types(answer) == ["PermissionsChanged"]
    assert await features() == {"projects", "support"}
    denied = await crm.access(pixel, jo, feature="invoices")
    assert (denied["allowed"], denied["state"]) == (False, "active")
    assert await crm.may_enter(pixel, jo)
    assert await crm.may_enter(pixel, jo, feature="projects")

    assert types(await crm.done("PUT", path, {"features": ["support", "projects"]})) == []
    await crm.done("PUT", path, {"features": sorted(everything)})
    assert await crm.may_enter(pixel, jo, feature="invoices")


async def test_px_7_mail_is_turned_off_by_topic_and_overdue_notices_are_about_invoices(crm: Tenant) -> None:
    """A contact that is not to receive overdue notices has the mail for invoices turned off; permission stays."""
    pixel = await crm.account("Pixel")
    jo, kim = await member(crm, pixel, "Jo Weber"), await member(crm, pixel, "Kim Zahn")
    answer = await crm.notify(pixel, jo, invoice=False)
    assert (types(answer), answer["warnings"]) == (["NotificationPreferencesChanged"], [])
    linked = {each["contact_id"]: each for each in await crm.items(f"/accounts/{pixel}/contacts")}
    assert linked[jo]["topics"] == {**linked[kim]["topics"], "invoice": False}
    assert linked[kim]["topics"]["invoice"]
    assert "invoices" in linked[jo]["features"]

    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    invoice = await crm.invoice(pixel, due=yesterday)
    reminded = await crm.done("POST", f"/records/{invoice}/remind", {"kind": "overdue"})
    (row,) = await crm.notifications(account_id=pixel)
    assert row["event_id"] == reminded["events"][0]["id"]
    assert (row["topic"], row["outcome"], row["recipient"]["contact_id"]) == ("invoice", "sent", kim)
    (mail,) = await crm.mails(crm.address("kim"))
    assert mail["X-Vinculum-Topic"] == "invoice"
    assert crm.stack.mailbox.to(crm.address("jo")) == []


async def test_px_8_when_the_only_contact_wants_no_mail_none_is_sent_and_that_is_seen(crm: Tenant) -> None:
    """If the only contact has its notifications turned off, no e-mails are sent for that feature."""
    pixel = await crm.account("Pixel")
    jo = await member(crm, pixel, "Jo Weber")
    uncovered = [{"code": "topic_uncovered", "account_id": pixel, "topic": "invoice"}]
    assert (await crm.notify(pixel, jo, invoice=False))["warnings"] == uncovered
    assert (await crm.read(f"/accounts/{pixel}/recipients", topic="invoice"))["uncovered"] is True
    assert (await crm.read(f"/accounts/{pixel}/recipients", topic="task"))["uncovered"] is False

    invoice = await crm.invoice(pixel)
    sent = await crm.done("POST", f"/records/{invoice}/send")
    assert (types(sent), sent["warnings"]) == (["RecordSent"], uncovered)
    (row,) = await crm.notifications(account_id=pixel)
    assert (row["event_id"], row["topic"]) == (sent["events"][0]["id"], "invoice")
    assert (row["recipient"], row["outcome"]) == (None, "nobody")
    assert crm.stack.mailbox.to(crm.address("jo")) == []


async def test_px_11_those_with_mail_for_the_topic_are_preselected(crm: Tenant) -> None:
    """The notification flags preselect the contacts that an invoice is sent to."""
    pixel = await crm.account("Pixel")
    jo, kim, lee = [await member(crm, pixel, name) for name in ("Jo Arndt", "Kim Berg", "Lee Corn")]
    await crm.notify(pixel, kim, invoice=False)
    preselected = await crm.read(f"/accounts/{pixel}/recipients", topic="invoice")
    assert [(each["contact_id"], each["address"]) for each in preselected["items"]] == [
        (jo, crm.address("jo")),
        (lee, crm.address("lee")),
    ]
    assert preselected["uncovered"] is False
    assert names(await crm.items(f"/accounts/{pixel}/recipients", topic="estimate")) == [
        "Jo Arndt",
        "Kim Berg",
        "Lee Corn",
    ]


async def test_px_12_an_invoice_goes_to_the_preselected_contacts(crm: Tenant) -> None:
    """When an invoice is sent, the contacts with mail for invoices are selected automatically."""
    pixel = await crm.account("Pixel")
    jo, kim, lee = [await member(crm, pixel, name) for name in ("Jo Arndt", "Kim Berg", "Lee Corn")]
    await crm.notify(pixel, kim, invoice=False)
    preselected = await crm.items(f"/accounts/{pixel}/recipients", topic="invoice")
    invoice = await crm.invoice(pixel, number="R-17", amount="119.00")
    answer = await crm.done("POST", f"/records/{invoice}/send")
    assert answer["warnings"] == []
    (event,) = await crm.log(after=answer["position"] - 1)
    assert event["data"]["override"] is False
    assert [(each["contact_id"], each["email_id"]) for each in event["data"]["recipients"]] == [
        (each["contact_id"], each["email_id"]) for each in preselected
    ]
    rows = await crm.notifications(topic="invoice")
    assert {(row["recipient"]["contact_id"], row["outcome"]) for row in rows} == {(jo, "sent"), (lee, "sent")}
    (mail,) = await crm.mails(crm.address("jo"))
    assert "R-17" in mail["Subject"]
    assert mail["X-Vinculum-Event"] == event["id"]


async def test_px_13_a_contact_selected_by_hand_is_mailed_past_its_flag(crm: Tenant) -> None:
    """If a contact without mail for invoices is selected by hand, the mail is sent to all that are selected."""
    pixel = await crm.account("Pixel")
    jo, kim, lee = [await member(crm, pixel, name) for name in ("Jo Arndt", "Kim Berg", "Lee Corn")]
    await crm.notify(pixel, kim, invoice=False)
    await crm.done("PUT", f"{link(pixel, kim)}/permissions", {"features": []})
    invoice = await crm.invoice(pixel)
    answer = await crm.done("POST", f"/records/{invoice}/send", {"contact_ids": [jo, kim]})
    (event,) = await crm.log(after=answer["position"] - 1)
    assert event["data"]["override"] is True
    assert {each["contact_id"] for each in event["data"]["recipients"]} == {jo, kim}
    rows = await crm.notifications(topic="invoice")
    assert {(row["recipient"]["contact_id"], row["outcome"]) for row in rows} == {(jo, "sent"), (kim, "sent")}
    await crm.mails(crm.address("kim"))
    assert await crm.refused("POST", f"/records/{invoice}/send", {"contact_ids": []}) == (422, "invalid")
    assert lee not in {row["recipient"]["contact_id"] for row in rows}
