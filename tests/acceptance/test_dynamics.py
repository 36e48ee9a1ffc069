"""Dynamics 365's statements, for a tenant under its profile: one account at most, none needed on either side."""

from uuid import uuid4

import pytest

from support.stack import Stack
from support.tenant import Tenant, link, names, types

pytestmark = [pytest.mark.acceptance]


@pytest.fixture
async def sales(stack: Stack) -> Tenant:
    return await stack.tenant("dynamics")


async def test_dy_2_accounts_keep_what_is_known_of_companies_and_contacts_of_people(sales: Tenant) -> None:
    """Accounts store information about companies, contacts about the people one works with."""
    details = {"phone": "+40 21 000 0000", "employees": 1200}
    contoso = await sales.account("Contoso", kind="company", details=details, external_ids={"erp": "C-1"})
    fields = {"phones": ["+40 72 000 0000"], "locale": "ro-RO", "external_ids": {"erp": "P-1"}}
    ana = await sales.contact("Ana Pop", sales.address("ana"), **fields)
    account, contact = await sales.read(f"/accounts/{contoso}"), await sales.read(f"/contacts/{ana}")
    assert (account["name"], account["details"], account["external_ids"]) == ("Contoso", details, {"erp": "C-1"})
    assert (contact["first_name"], contact["last_name"]) == ("Ana", "Pop")
    assert fields.items() <= contact.items()
    assert await sales.refused("GET", f"/contacts/{contoso}", at="projection") == (404, "contact_not_found")


async def test_dy_9_an_account_has_many_contacts(sales: Tenant) -> None:
    """An account usually has more than one contact."""
    people = [await sales.contact(name) for name in ("Ana A", "Ion B", "Mia C", "Radu D")]
    contoso = await sales.account("Contoso", *people)
    assert await sales.contacts_of(contoso) == people


async def test_dy_13_an_account_is_made_of_what_is_known_without_a_contact(sales: Tenant) -> None:
    """One specifies the details one knows about the company, and saves."""
    answer = await sales.ask("POST", "/accounts", {"name": "Contoso"})
    assert answer.status_code == 201
    contoso = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/accounts/{contoso}"
    assert (await sales.read(f"/accounts/{contoso}"))["details"] is None
    assert await sales.contacts_of(contoso) == []
    await sales.done("PATCH", f"/accounts/{contoso}", {"details": {"city": "Cluj"}})
    account = await sales.read(f"/accounts/{contoso}")
    assert (account["name"], account["details"]) == ("Contoso", {"city": "Cluj"})


async def test_dy_16_a_new_contact_is_made_or_an_existing_one_added(sales: Tenant) -> None:
    """One selects New contact, or Add existing contact."""
    ana, contoso = await sales.contact("Ana Pop"), await sales.account("Contoso")
    await sales.link(contoso, ana)
    new = {"new_contact": {"first_name": "Ion", "last_name": "Radu"}, "role": "buyer"}
    answer = await sales.done("POST", f"/accounts/{contoso}/contacts", {"contacts": [new]})
    assert types(answer) == ["ContactCreated", "ContactLinked"]
    assert names(await sales.items(f"/accounts/{contoso}/contacts")) == ["Ana Pop", "Ion Radu"]


async def test_dy_17_a_contact_is_associated_with_one_account_only(sales: Tenant) -> None:
    """One can associate a contact with only one account; it is moved by a command of its own."""
    ana = await sales.contact("Ana Pop")
    contoso, fabrikam = await sales.account("Contoso", ana), await sales.account("Fabrikam")
    assert await sales.refused("PUT", link(fabrikam, ana)) == (409, "contact_already_linked")
    move = {"from_account_id": contoso, "to_account_id": fabrikam}
    answer = await sales.done("POST", f"/contacts/{ana}/transfer", move)
    assert types(answer) == ["ContactUnlinked", "ContactLinked"]
    assert await sales.accounts_of(ana) == [fabrikam]


async def test_dy_18_a_contact_of_another_account_is_refused_and_stays_where_it_is(sales: Tenant) -> None:
    """If one selects a contact that is already added to an account, one receives an error message."""
    ana, ion = await sales.contact("Ana Pop"), await sales.contact("Ion Radu")
    contoso, fabrikam = await sales.account("Contoso", ana), await sales.account("Fabrikam")
    before = (await sales.log())[-1]["position"]
    two = {"contacts": [{"contact_id": ion}, {"contact_id": ana}]}
    problem = await sales.problem("POST", f"/accounts/{fabrikam}/contacts", two)
    assert (problem["status"], problem["code"]) == (409, "contact_already_linked")
    assert problem["type"] == "urn:vinculum:problem:contact_already_linked"
    assert (problem["account_id"], problem["contact_id"]) == (contoso, ana)
    assert problem["detail"]
    assert await sales.log(after=before) == []
    assert await sales.accounts_of(ana) == [contoso]
    assert await sales.contacts_of(fabrikam) == []


async def test_dy_24_a_contact_is_made_of_what_is_known_without_an_account(sales: Tenant) -> None:
    """One specifies the details one knows about the contact."""
    answer = await sales.ask("POST", "/contacts", {"last_name": "Pop"})
    assert answer.status_code == 201
    ana = answer.json()["id"]
    assert await sales.accounts_of(ana) == []
    contact = await sales.read(f"/contacts/{ana}")
    assert (contact["name"], contact["first_name"], contact["emails"]) == ("Pop", None, [])


async def test_dy_25_a_new_contact_may_name_the_account_that_it_belongs_to(sales: Tenant) -> None:
    """Optionally, one specifies the account the contact belongs to."""
    contoso = await sales.account("Contoso")
    ana = await sales.contact("Ana Pop", link_accounts=[{"account_id": contoso, "job_title": "Director"}])
    (linked,) = await sales.items(f"/accounts/{contoso}/contacts")
    assert (linked["contact_id"], linked["job_title"]) == (ana, "Director")
    strange = {"last_name": "Radu", "link_accounts": [{"account_id": str(uuid4())}]}
    problem = await sales.problem("POST", "/contacts", strange)
    assert (problem["status"], problem["errors"][0]["code"]) == (422, "account_not_found")
    assert problem["errors"][0]["pointer"] == "/link_accounts/0/account_id"


async def test_dy_27_adding_a_contact_to_the_account_comes_to_the_same(sales: Tenant) -> None:
    """Alternatively, one adds contacts to an account."""
    contoso = await sales.account("Contoso")
    ana = await sales.contact("Ana A", link_accounts=[{"account_id": contoso, "role": "buyer"}])
    ion = await sales.contact("Ion B")
    contacts = {"contacts": [{"contact_id": ion, "role": "buyer"}]}
    await sales.done("POST", f"/accounts/{contoso}/contacts", contacts)
    one, other = await sales.items(f"/accounts/{contoso}/contacts")
    own = {"contact_id", "name", "since"}
    assert {name: value for name, value in one.items() if name not in own} == {
        name: value for name, value in other.items() if name not in own
    }
    assert await sales.accounts_of(ana) == await sales.accounts_of(ion) == [contoso]
