"""Zoho Desk's statements, for a tenant under its profile: a contact has one account at most, an account any number."""

from uuid import uuid4

import pytest

from support.stack import Stack
from support.tenant import Tenant, link, names, types

pytestmark = [pytest.mark.acceptance]


@pytest.fixture
async def desk(stack: Stack) -> Tenant:
    return await stack.tenant("zoho")


async def test_zd_2_an_account_is_a_collection_of_contacts_from_none_to_many(desk: Tenant) -> None:
    """Accounts are collections of contacts or end users."""
    acme = await desk.account("Acme")
    assert await desk.contacts_of(acme) == []
    contacts = [await desk.contact(f"Contact {letter}") for letter in "ABC"]
    await desk.link(acme, *contacts)
    assert await desk.contacts_of(acme) == contacts


async def test_zd_3_a_contact_belongs_to_one_account_only(desk: Tenant) -> None:
    """A contact can belong to only one account."""
    bo = await desk.contact("Bo Diaz")
    acme, globex = await desk.account("Acme", bo), await desk.account("Globex")
    problem = await desk.problem("POST", f"/accounts/{globex}/contacts", {"contacts": [{"contact_id": bo}]})
    assert (problem["status"], problem["code"], problem["account_id"]) == (409, "contact_already_linked", acme)
    assert await desk.refused("PUT", link(globex, bo)) == (409, "contact_already_linked")
    both = {"first_name": "Cy", "link_accounts": [{"account_id": acme}, {"account_id": globex}]}
    assert await desk.refused("POST", "/contacts", both) == (409, "contact_already_linked")
    assert await desk.accounts_of(bo) == [acme]
    assert await desk.contacts_of(globex) == []


async def test_zd_8_agents_associate_contacts_with_accounts(desk: Tenant) -> None:
    """Agents can manually associate contacts with accounts."""
    bo, acme = await desk.contact("Bo Diaz"), await desk.account("Acme")
    agent, viewer = await desk.staff("agent"), await desk.staff("viewer")
    contacts = {"contacts": [{"contact_id": bo}]}
    path = f"/accounts/{acme}/contacts"
    assert await desk.refused("POST", path, contacts, token=viewer) == (403, "forbidden")
    answer = await desk.done("POST", path, contacts, token=agent)
    (event,) = await desk.log(after=answer["position"] - 1)
    assert event["data"]["actor"]["kind"] == "staff"
    assert await desk.contacts_of(acme) == [bo]


async def test_zd_12_accounts_are_listed(desk: Tenant) -> None:
    """One opens the list of accounts."""
    for name in ("Öresund", "acme", "Zenith", "Oregon", "Beta"):
        await desk.account(name)
    assert names(await desk.items("/accounts")) == ["acme", "Beta", "Oregon", "Öresund", "Zenith"]


async def test_zd_13_an_account_is_opened_to_see_its_details(desk: Tenant) -> None:
    """One opens an account to see its details."""
    acme = await desk.account("Acme", kind="company", details={"industry": "Rockets"})
    account = await desk.read(f"/accounts/{acme}")
    assert (account["name"], account["kind"], account["details"]) == ("Acme", "company", {"industry": "Rockets"})
    assert await desk.refused("GET", f"/accounts/{uuid4()}", at="projection") == (404, "account_not_found")


async def test_zd_14_the_contacts_of_an_account_are_listed(desk: Tenant) -> None:
    """The Contacts tab of the account shows its contacts."""
    bo = await desk.contact("Bo Diaz", desk.address("bo"))
    acme = await desk.account("Acme")
    await desk.done("PUT", link(acme, bo), {"role": "buyer", "job_title": "Head of Rockets", "primary": True})
    (contact,) = await desk.items(f"/accounts/{acme}/contacts")
    assert (contact["contact_id"], contact["name"]) == (bo, "Bo Diaz")
    assert (contact["role"], contact["job_title"], contact["primary"]) == ("buyer", "Head of Rockets", True)
    assert [email["address"] for email in contact["emails"]] == [desk.address("bo")]


async def test_zd_16_several_contacts_are_selected(desk: Tenant) -> None:
    """One selects the contacts to associate; if one of them can't be, none is."""
    bo, cy, taken = [await desk.contact(name) for name in ("Bo A", "Cy B", "Di C")]
    await desk.account("Globex", taken)
    acme = await desk.account("Acme")
    three = {"contacts": [{"contact_id": each} for each in (bo, cy, taken)]}
    assert await desk.refused("POST", f"/accounts/{acme}/contacts", three) == (409, "contact_already_linked")
    assert await desk.contacts_of(acme) == []
    await desk.link(acme, bo, cy)
    assert await desk.contacts_of(acme) == [bo, cy]


async def test_zd_17_associating_is_one_command(desk: Tenant) -> None:
    """One clicks Associate Contact."""
    bo, cy, acme = await desk.contact("Bo A"), await desk.contact("Cy B"), await desk.account("Acme")
    answer = await desk.link(acme, bo, cy)
    assert types(answer) == ["ContactLinked", "ContactLinked"]
    events = await desk.log(after=answer["position"] - 2)
    assert [event["subject"] for event in events] == [f"link/{acme}/{bo}", f"link/{acme}/{cy}"]
    assert len({event["commandid"] for event in events}) == 1


async def test_zd_18_the_associated_contacts_belong_to_the_account(desk: Tenant) -> None:
    """The contacts will be associated with the account."""
    bo, cy, acme = await desk.contact("Bo A"), await desk.contact("Cy B"), await desk.account("Acme")
    await desk.link(acme, bo, cy)
    assert await desk.contacts_of(acme) == [bo, cy]
    assert await desk.accounts_of(bo) == await desk.accounts_of(cy) == [acme]


async def test_zd_19_contacts_are_searched_by_text_or_letter(desk: Tenant) -> None:
    """One searches for contacts with the search box, or by the alphabet links."""
    for name in ("Bo Åberg", "Abel Diaz", "Cy Dvořák", "Di 4ever", "Cher"):
        await desk.contact(name)
    assert names(await desk.items("/contacts", query="dvor")) == ["Cy Dvořák"]
    assert names(await desk.items("/contacts", letter="A")) == ["Bo Åberg"]
    assert names(await desk.items("/contacts", letter="d")) == ["Abel Diaz", "Cy Dvořák"]
    assert names(await desk.items("/contacts", letter="#")) == ["Di 4ever", "Cher"]
    assert names(await desk.items("/contacts", letter="D", query="ab")) == ["Abel Diaz"]


async def test_zd_20_the_next_set_of_contacts_follows_the_one_before(desk: Tenant) -> None:
    """The Next icon leads to the next set of contacts."""
    acme = await desk.account("Acme")
    contacts = [{"new_contact": {"first_name": "Bo", "last_name": f"Diaz {number:02}"}} for number in range(23)]
    await desk.done("POST", f"/accounts/{acme}/contacts", {"contacts": contacts})
    for path in (f"/accounts/{acme}/contacts", "/contacts"):
        pages = [await desk.read(path, limit=10)]
        while cursor := pages[-1]["next_cursor"]:
            pages.append(await desk.read(path, limit=10, cursor=cursor))
        assert [len(page["items"]) for page in pages] == [10, 10, 3]
        assert [name for page in pages for name in names(page["items"])] == [f"Bo Diaz {n:02}" for n in range(23)]
        assert await desk.refused("GET", path, at="projection", params={"cursor": "made-up"}) == (422, "invalid")
        assert await desk.refused("GET", path, at="projection", params={"limit": 201}) == (422, "invalid")


async def test_zd_23_a_contact_that_no_longer_belongs_is_disassociated_even_the_last(desk: Tenant) -> None:
    """When a contact no longer belongs to an account, it can be disassociated from it."""
    bo = await desk.contact("Bo Diaz")
    acme, globex = await desk.account("Acme", bo), await desk.account("Globex")
    assert types(await desk.unlink(acme, bo)) == ["ContactUnlinked"]
    assert await desk.contacts_of(acme) == []
    await desk.link(globex, bo)
    assert await desk.accounts_of(bo) == [globex]


async def test_zd_28_contacts_are_people_and_the_account_is_what_several_of_them_represent(desk: Tenant) -> None:
    """Contacts are the individuals served; the account is the organisation that several of them belong to."""
    acme = await desk.account("Acme", kind="company")
    people = [await desk.contact(name, desk.address(name[:2].lower())) for name in ("Bo A", "Cy B")]
    await desk.link(acme, *people)
    contact = await desk.read(f"/contacts/{people[0]}")
    assert (contact["first_name"], contact["last_name"], contact["active"]) == ("Bo", "A", True)
    assert (await desk.read(f"/accounts/{acme}"))["kind"] == "company"
    assert await desk.contacts_of(acme) == people
