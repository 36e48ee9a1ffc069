"""TaxDome's statements, for a tenant under its profile: contacts have many accounts, accounts at least one contact."""

from uuid import uuid4

import pytest

from support.stack import Stack
from support.tenant import Tenant, link, names, types

pytestmark = [pytest.mark.acceptance]


@pytest.fixture
async def firm(stack: Stack) -> Tenant:
    return await stack.tenant("taxdome")


async def test_td_2_an_account_has_at_least_one_contact(firm: Tenant) -> None:
    """Every account must have at least one contact linked to it."""
    assert await firm.refused("POST", "/accounts", {"name": "Empty"}) == (409, "contact_required")
    ada = await firm.contact("Ada Lovelace")
    engines = await firm.account("Engines", ada)
    assert await firm.refused("POST", f"{link(engines, ada)}/unlink") == (409, "last_contact")
    assert await firm.refused("DELETE", link(engines, ada)) == (409, "last_contact")
    assert await firm.contacts_of(engines) == [ada]


async def test_td_3_only_a_linked_contact_with_an_address_gets_into_the_portal(firm: Tenant) -> None:
    """A contact with an e-mail address must be linked to the account so that the portal can be entered."""
    without, linked, stranger = (
        await firm.contact("No Address"),
        await firm.contact("Ada Lovelace", firm.address("ada")),
        await firm.contact("Not Linked", firm.address("stranger")),
    )
    engines = await firm.account("Engines", without, linked)
    on = {"login": True}
    assert await firm.refused("PUT", f"{link(engines, without)}/portal-access", on) == (409, "email_required")
    assert await firm.refused("PUT", f"{link(engines, stranger)}/portal-access", on) == (404, "contact_not_linked")
    denied = await firm.access(engines, stranger)
    assert (denied["allowed"], denied["code"]) == (False, "contact_not_linked")
    await firm.enter(engines, linked, firm.address("ada"))
    assert await firm.may_enter(engines, linked)


async def test_td_6_a_new_account_is_made_in_one_step_with_its_contacts(firm: Tenant) -> None:
    """When an account is created, an existing contact is linked to it or a new one is added."""
    ada = await firm.contact("Ada Lovelace")
    before = firm.position
    charles = {"id": str(uuid4()), "first_name": "Charles", "last_name": "Babbage", "role": "owner"}
    body = {"name": "Engines", "link_contacts": [{"contact_id": ada}], "new_contacts": [charles]}
    answer = await firm.done("POST", "/accounts", body)
    assert types(answer) == ["AccountCreated", "ContactLinked", "ContactCreated", "ContactLinked"]
    assert [(event["commitindex"], event["commitsize"]) for event in await firm.log(after=before)] == [
        (number, 4) for number in (1, 2, 3, 4)
    ]
    assert await firm.contacts_of(answer["id"]) == [charles["id"], ada]

    half = {"name": "Half", "link_contacts": [{"contact_id": ada}, {"contact_id": str(uuid4())}]}
    assert await firm.refused("POST", "/accounts", half) == (422, "invalid")
    assert await firm.log(after=firm.position) == []
    assert names(await firm.items("/accounts")) == ["Engines"]


async def test_td_7_contacts_are_found_by_the_start_of_their_name(firm: Tenant) -> None:
    """To link an existing contact, one starts typing the contact's name."""
    for name in ("Ada Lovelace", "Adam Lövgren", "Charles Babbage", "Álvaro Madariaga"):
        await firm.contact(name)

    async def found(query: str) -> list[str]:
        return sorted(names(await firm.items("/contacts", query=query)))

    assert await found("ada") == ["Ada Lovelace", "Adam Lövgren"]
    assert await found("lov") == ["Ada Lovelace", "Adam Lövgren"]
    assert await found("alvaro mada") == ["Álvaro Madariaga"]
    assert await found("age") == []


async def test_td_8_several_contacts_are_linked_at_once_all_or_none(firm: Tenant) -> None:
    """All the contacts that are needed are added, then linked together."""
    ada, charles, mary = [await firm.contact(name) for name in ("Ada A", "Charles B", "Mary C")]
    engines = await firm.account("Engines", ada)
    strange = {"contacts": [{"contact_id": charles}, {"contact_id": str(uuid4())}]}
    assert await firm.refused("POST", f"/accounts/{engines}/contacts", strange) == (422, "invalid")
    assert await firm.contacts_of(engines) == [ada]
    assert types(await firm.link(engines, charles, mary)) == ["ContactLinked", "ContactLinked"]
    assert await firm.contacts_of(engines) == [ada, charles, mary]


async def test_td_9_accounts_with_shared_contacts_are_related(firm: Tenant) -> None:
    """All accounts with shared contacts are listed as related accounts of each other."""
    ada, charles = await firm.contact("Ada Lovelace"), await firm.contact("Charles Babbage")
    engines, looms, mills = [await firm.account(name, charles) for name in ("Engines", "Looms", "Mills")]
    own = await firm.account("Own", ada)
    assert await firm.items(f"/accounts/{own}/related") == []

    await firm.link(own, charles)
    await firm.link(engines, ada)
    related = await firm.items(f"/accounts/{own}/related")
    assert [each["account"] for each in related] == [
        {"id": engines, "name": "Engines"},
        {"id": looms, "name": "Looms"},
        {"id": mills, "name": "Mills"},
    ]
    assert [names(each["via"]) for each in related] == [
        ["Charles Babbage", "Ada Lovelace"],
        ["Charles Babbage"],
        ["Charles Babbage"],
    ]

    await firm.unlink(own, charles)
    assert [(each["account"]["id"], names(each["via"])) for each in await firm.items(f"/accounts/{own}/related")] == [
        (engines, ["Ada Lovelace"])
    ]
    await firm.unlink(engines, ada)
    assert await firm.items(f"/accounts/{own}/related") == []


async def test_td_12_a_contact_is_linked_with_the_new_account_or_at_any_later_moment(firm: Tenant) -> None:
    """A contact is linked while the account is created, or later."""
    ada, charles = await firm.contact("Ada Lovelace"), await firm.contact("Charles Babbage")
    engines = await firm.account("Engines", ada)
    await firm.done("PATCH", f"/accounts/{engines}", {"name": "Analytical Engines"})
    answer = await firm.ask("PUT", link(engines, charles), {"role": "inventor"})
    assert answer.status_code == 201
    linked = await firm.items(f"/accounts/{engines}/contacts")
    assert [(each["contact_id"], each["role"]) for each in linked] == [(charles, "inventor"), (ada, None)]


async def test_td_13_an_accounts_details_stand_with_its_contacts(firm: Tenant) -> None:
    """The account's profile shows its information, and its contacts."""
    ada = await firm.contact("Ada Lovelace")
    body = {"kind": "company", "details": {"city": "Torino"}, "external_ids": {"crm": "A-17"}}
    engines = await firm.account("Engines", ada, **body)
    account = await firm.read(f"/accounts/{engines}")
    assert (account["id"], account["name"], account["archived"]) == (engines, "Engines", False)
    assert body.items() <= account.items()
    assert names(await firm.items(f"/accounts/{engines}/contacts")) == ["Ada Lovelace"]


async def test_td_14_contacts_are_added_to_an_account_by_what_was_found(firm: Tenant) -> None:
    """One starts typing the contact's name, and adds what is found to the account."""
    ada = await firm.contact("Ada Lovelace")
    await firm.contact("Charles Babbage")
    engines = await firm.account("Engines", ada)
    (found,) = await firm.items("/contacts", query="bab")
    await firm.link(engines, found["id"])
    assert names(await firm.items(f"/accounts/{engines}/contacts")) == ["Charles Babbage", "Ada Lovelace"]


async def test_td_15_known_and_new_contacts_are_added_in_one_go(firm: Tenant) -> None:
    """All the contacts that are needed are added."""
    ada, charles = await firm.contact("Ada Lovelace"), await firm.contact("Charles Babbage")
    engines = await firm.account("Engines", ada)
    mary = {"id": str(uuid4()), "first_name": "Mary", "last_name": "Somerville"}
    contacts = [{"contact_id": charles, "job_title": "Inventor"}, {"new_contact": mary, "role": "tutor"}]
    answer = await firm.done("POST", f"/accounts/{engines}/contacts", {"contacts": contacts})
    assert types(answer) == ["ContactLinked", "ContactCreated", "ContactLinked"]
    linked = await firm.items(f"/accounts/{engines}/contacts")
    assert [(each["contact_id"], each["role"], each["job_title"]) for each in linked] == [
        (charles, None, "Inventor"),
        (ada, None, None),
        (mary["id"], "tutor", None),
    ]


async def test_td_16_linking_is_a_command_and_linking_again_changes_nothing(firm: Tenant) -> None:
    """One clicks Link."""
    ada, charles = await firm.contact("Ada Lovelace"), await firm.contact("Charles Babbage")
    engines = await firm.account("Engines", ada)
    answer = await firm.link(engines, ada, charles)
    assert types(answer) == ["ContactLinked"]
    again = await firm.ask("POST", f"/accounts/{engines}/contacts", {"contacts": [{"contact_id": charles}]})
    assert (again.status_code, again.json()["events"]) == (200, [])
    (event,) = await firm.log(types="ContactLinked", contact_id=charles)
    assert event["type"] == "vinculum.contact_linked.v1"
    assert event["subject"] == f"link/{engines}/{charles}"
    assert (event["data"]["account_id"], event["data"]["contact_id"]) == (engines, charles)


async def test_td_17_an_account_shows_its_contacts_with_all_their_addresses(firm: Tenant) -> None:
    """All the contacts together with their emails are shown in the account's profile."""
    work, home = firm.address("ada"), firm.address("ada.home")
    ada, charles = await firm.contact("Ada Lovelace", work, home), await firm.contact("Charles Babbage")
    engines = await firm.account("Engines", ada, charles)
    linked = await firm.items(f"/accounts/{engines}/contacts")
    assert [(each["name"], [email["address"] for email in each["emails"]]) for each in linked] == [
        ("Charles Babbage", []),
        ("Ada Lovelace", [work, home]),
    ]
    assert [email["primary"] for email in linked[1]["emails"]] == [True, False]


async def test_td_18_the_login_of_each_address_is_off_until_it_is_turned_on_and_invites(firm: Tenant) -> None:
    """Once linked, a contact is invited to the portal by the LOGIN toggle beside the email address."""
    work, home = firm.address("ada"), firm.address("ada.home")
    ada = await firm.contact("Ada Lovelace", work, home)
    engines = await firm.account("Engines", ada)

    async def logins() -> dict[str, str]:
        (contact,) = await firm.items(f"/accounts/{engines}/contacts")
        return {email["address"]: email["access"] for email in contact["emails"]}

    assert await logins() == {work: "off", home: "off"}
    assert not await firm.may_enter(engines, ada)
    which = await firm.problem("PUT", f"{link(engines, ada)}/portal-access", {"login": True})
    assert (which["status"], which["errors"][0]["pointer"]) == (422, "/email_id")

    emails = {email["address"]: email["email_id"] for email in (await firm.read(f"/contacts/{ada}"))["emails"]}
    answer = await firm.login(engines, ada, email_id=emails[home])
    assert types(answer) == ["PortalAccessChanged"]
    assert await logins() == {work: "off", home: "invited"}
    await firm.enter(engines, ada, home, email_id=emails[home])
    assert await logins() == {work: "off", home: "active"}
    assert await firm.may_enter(engines, ada, email_id=emails[home])
    assert not await firm.may_enter(engines, ada, email_id=emails[work])
    assert firm.stack.mailbox.to(work) == []


async def test_td_19_the_accounts_of_a_contact_are_listed(firm: Tenant) -> None:
    """Which accounts are linked to a contact is shown on the contact's page."""
    ada, charles = await firm.contact("Ada Lovelace"), await firm.contact("Charles Babbage")
    mills, engines = await firm.account("Mills", ada), await firm.account("Engines", ada, charles)
    await firm.account("Looms", charles)
    accounts = await firm.items(f"/contacts/{ada}/accounts")
    assert [(each["account_id"], each["name"]) for each in accounts] == [(engines, "Engines"), (mills, "Mills")]
    assert (await firm.read(f"/contacts/{ada}"))["name"] == "Ada Lovelace"


async def test_td_20_a_contact_is_unlinked_from_an_account(firm: Tenant) -> None:
    """A contact is unlinked from an account; both go on without each other."""
    ada, charles = await firm.contact("Ada Lovelace"), await firm.contact("Charles Babbage")
    engines = await firm.account("Engines", ada, charles)
    body = {"reason": "left", "comment": "Has moved to London"}
    answer = await firm.done("POST", f"{link(engines, ada)}/unlink", body)
    assert types(answer) == ["ContactUnlinked"]
    assert await firm.contacts_of(engines) == [charles]
    assert await firm.accounts_of(ada) == []
    assert (await firm.read(f"/contacts/{ada}"))["name"] == "Ada Lovelace"
    (event,) = await firm.log(after=answer["position"] - 1)
    assert (event["data"]["reason"], event["data"]["personal"]["comment"]) == ("left", "Has moved to London")
    assert await firm.refused("POST", f"{link(engines, ada)}/unlink") == (404, "contact_not_linked")


async def test_td_21_an_unlinked_contact_can_not_enter_the_account_any_more(firm: Tenant) -> None:
    """Once a contact with an enabled login is unlinked, that person is not able to access the account."""
    ada, charles = await firm.contact("Ada Lovelace", firm.address("ada")), await firm.contact("Charles Babbage")
    engines, looms = await firm.account("Engines", ada, charles), await firm.account("Looms", ada)
    await firm.enter(engines, ada, firm.address("ada"))
    granted = await firm.login(looms, ada)
    assert await firm.may_enter(engines, ada)
    assert await firm.may_enter(looms, ada)

    answer = await firm.unlink(engines, ada)
    denied = await firm.access(engines, ada)
    assert (denied["allowed"], denied["state"], denied["code"]) == (False, "off", "contact_not_linked")
    assert await firm.may_enter(looms, ada)

    assert types(answer) == ["ContactUnlinked", "PortalAccessChanged"]
    unlinked, closed = await firm.log(after=answer["position"] - 2)
    assert unlinked["commandid"] == closed["commandid"]
    assert [closed["data"][name] for name in ("from", "to", "why")] == ["active", "off", "unlinked"]
    assert denied["because"][-1]["event_id"] in {unlinked["id"], closed["id"]}
    assert await firm.items(f"/accounts/{engines}/access") == []
    (entry,) = await firm.items(f"/accounts/{looms}/access")
    assert (entry["contact_id"], entry["address"]) == (ada, firm.address("ada"))
    assert granted["events"][0]["id"] in {event["event_id"] for event in entry["because"]}


async def test_td_27_a_new_contact_brings_its_accounts_or_gets_them_later(firm: Tenant) -> None:
    """Accounts are linked while a contact is created, or at any later moment."""
    charles = await firm.contact("Charles Babbage")
    engines, looms = await firm.account("Engines", charles), await firm.account("Looms", charles)
    accounts = [{"account_id": engines, "role": "author"}]
    answer = await firm.done("POST", "/contacts", {"first_name": "Ada", "link_accounts": accounts})
    assert types(answer) == ["ContactCreated", "ContactLinked"]
    ada = answer["id"]
    await firm.done("POST", f"/contacts/{ada}/accounts", {"accounts": [{"account_id": looms}]})
    linked = await firm.items(f"/contacts/{ada}/accounts")
    assert [(each["account_id"], each["role"]) for each in linked] == [(engines, "author"), (looms, None)]


async def test_td_28_one_contact_is_linked_to_several_accounts_at_once(firm: Tenant) -> None:
    """One selects one or more existing accounts and links them to the contact: a contact may have many accounts."""
    charles, ada = await firm.contact("Charles Babbage"), await firm.contact("Ada Lovelace")
    accounts = [await firm.account(name, charles) for name in ("Engines", "Looms", "Mills")]
    strange = {"accounts": [{"account_id": accounts[0]}, {"account_id": str(uuid4())}]}
    assert await firm.refused("POST", f"/contacts/{ada}/accounts", strange) == (422, "invalid")
    body = {"accounts": [{"account_id": account_id} for account_id in accounts]}
    assert types(await firm.done("POST", f"/contacts/{ada}/accounts", body)) == ["ContactLinked"] * 3
    assert await firm.accounts_of(ada) == accounts


async def test_td_29_a_link_is_the_same_from_whichever_side_it_was_made(firm: Tenant) -> None:
    """The accounts are then linked to the contact."""
    ada, charles = await firm.contact("Ada Lovelace"), await firm.contact("Charles Babbage")
    engines, looms = await firm.account("Engines", charles), await firm.account("Looms", charles)
    await firm.link(engines, ada)
    await firm.done("POST", f"/contacts/{ada}/accounts", {"accounts": [{"account_id": looms}]})
    linked = {each["account_id"]: each for each in await firm.items(f"/contacts/{ada}/accounts")}
    for account_id in (engines, looms):
        (mirrored,) = [each for each in await firm.items(f"/accounts/{account_id}/contacts") if each["name"][0] == "A"]
        own = linked[account_id]
        assert {name: own[name] for name in ("role", "job_title", "primary", "since", "version", "emails")} == {
            name: mirrored[name] for name in ("role", "job_title", "primary", "since", "version", "emails")
        }
    assert types(await firm.done("POST", f"/contacts/{ada}/accounts", {"accounts": [{"account_id": engines}]})) == []
    assert types(await firm.link(looms, ada)) == []
