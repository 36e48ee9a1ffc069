"""Importing files into a running command service, and what its tenant has afterwards."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from support.service import Service, command_service
from support.tokens import Issuer
from vinculum_devstack.importing import SCOPES, Batch, into
from vinculum_devstack.problems import StackError
from vinculum_devstack.tables import Table

pytestmark = pytest.mark.integration

SAMPLES = Path(__file__).parents[2] / "samples"
COMMITTEES = SAMPLES / "fec" / "cm.txt"


@pytest.fixture(scope="module")
async def service(postgres: str, issuer: Issuer) -> AsyncIterator[Service]:
    async with command_service(postgres, issuer) as service:
        yield service


class Tenant:
    """A tenant that files are imported into, and what its log tells."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder

    async def imports(self, table: Table | str, **options: Any) -> Batch:
        if isinstance(table, str):
            path = self.folder / "file.csv"
            path.write_text(table)
            table = Table(path, **options)
        token = self.service.issuer.token(
            kind="service", sub="import", tenant=self.service.tenant, scope=" ".join(SCOPES)
        )
        headers = {"authorization": f"Bearer {token}"}
        total = Batch()
        async with httpx2.AsyncClient(base_url=self.service.http.base_url, headers=headers, timeout=60) as http:
            async for batch in into(http, self.service.tenant, table):
                total.add(batch)
        return total

    async def position(self) -> int:
        found = await self.service.done("GET", "/log/positions")
        return int(found["positions"][self.service.tenant])

    async def events(self, *types: str) -> list[dict[str, Any]]:
        """Return the data of the events of these types, personal data beside the rest."""
        found: list[dict[str, Any]] = []
        after, reached = -1, 0
        while reached > after:
            after = reached
            answer = await self.service.ask(
                "GET", "/log", params={"after": after, "limit": 1000, "types": ",".join(types)}
            )
            *lines, checkpoint = [orjson.loads(line) for line in answer.content.splitlines()]
            found += [line["data"] | (line["data"]["personal"] or {}) for line in lines]
            reached = checkpoint["checkpoint"]
        return found

    async def links(self) -> set[tuple[str, str]]:
        """Return the pairs of names that are linked."""
        accounts = {each["account_id"]: each["name"] for each in await self.events("AccountCreated")}
        contacts = {each["contact_id"]: each["last_name"] for each in await self.events("ContactCreated")}
        linked = await self.events("ContactLinked")
        return {(accounts[each["account_id"]], contacts[each["contact_id"]]) for each in linked}


async def tenant(service: Service, folder: Path, profile: str) -> Tenant:
    return Tenant(await service.register(profile), folder)


def counts(batch: Batch) -> tuple[int, ...]:
    made = (batch.events[each] for each in ("AccountCreated", "ContactCreated", "ContactLinked"))
    return (*made, batch.unchanged, len(batch.refused))


MAP = {"Account": "account.name", "Contact": "contact.name"}


@pytest.mark.parametrize("profile", ["perfex", "dynamics", "zoho"])
async def test_northwind_is_91_accounts_with_a_contact_each(service: Service, tmp_path: Path, profile: str) -> None:
    firm = await tenant(service, tmp_path, profile)
    table = Table(SAMPLES / "northwind" / "customers.csv")
    assert counts(await firm.imports(table)) == (91, 91, 91, 0, 0)
    assert len(await firm.links()) == 91
    assert len({each["job_title"] for each in await firm.events("ContactLinked")}) == 12
    assert sum("region" in each["details"] for each in await firm.events("AccountCreated")) == 31
    anna = next(each for each in await firm.events("ContactCreated") if each["last_name"] == "Ana Trujillo")
    assert anna["phones"] == ["(5) 555-4729"]

    before = await firm.position()
    assert counts(await firm.imports(table)) == (0, 0, 0, 91, 0)
    assert await firm.position() == before


async def test_the_committees_come_in_whole_and_again_without_a_change(service: Service, tmp_path: Path) -> None:
    """And the accounts that are related through the busiest treasurer are those that the file tells."""
    firm = await tenant(service, tmp_path, "teamleader")
    table = Table(COMMITTEES, delimiter="|", header=SAMPLES / "fec" / "cm_header_file.csv")
    assert counts(await firm.imports(table)) == (15_536, 11_090, 14_717, 0, 0)

    treasurers = {
        id_: treasurer.strip()
        for id_, _, treasurer, *_ in (line.split("|") for line in COMMITTEES.read_text("ascii").splitlines())
        if treasurer.strip()
    }
    (busiest, most), *_ = Counter(treasurers.values()).most_common(1)
    assert (busiest, most) == ("DATWYLER, THOMAS", 206)
    external_ids = {each["account_id"]: each["external_ids"]["import"] for each in await firm.events("AccountCreated")}
    names = {each["contact_id"]: each["last_name"] for each in await firm.events("ContactCreated")}
    linked = {
        external_ids[each["account_id"]]: names[each["contact_id"]] for each in await firm.events("ContactLinked")
    }
    assert linked == treasurers

    before = await firm.position()
    assert counts(await firm.imports(table)) == (0, 0, 0, 15_536, 0)
    assert await firm.position() == before


async def test_committees_without_a_treasurer_are_refused_where_an_account_needs_a_contact(
    service: Service, tmp_path: Path
) -> None:
    firm = await tenant(service, tmp_path, "taxdome")
    lines = COMMITTEES.read_text("ascii").splitlines()
    without = {number for number, line in enumerate(lines, 1) if not line.split("|")[2]}
    assert len(without) == 819
    (tmp_path / "some.txt").write_text("\n".join(line for n, line in enumerate(lines, 1) if n in without or n <= 81))
    table = Table(tmp_path / "some.txt", delimiter="|", header=SAMPLES / "fec" / "cm_header_file.csv")
    done = await firm.imports(table)
    assert len(done.refused) == 819
    assert {refusal.reason.partition(":")[0] for refusal in done.refused} == {"contact_required"}
    assert done.events["AccountCreated"] == done.rows - 819


async def test_an_account_is_known_by_its_external_id_and_without_one_by_its_name(
    service: Service, tmp_path: Path
) -> None:
    firm = await tenant(service, tmp_path, "teamleader")
    await firm.service.account(name="Acme")
    named = "Account,Id\nAcme,\nAcme,\nAcme ,\nacme,\n"
    columns = {"Account": "account.name", "Id": "account.external_id"}
    assert counts(await firm.imports(named, mapping=columns)) == (1, 0, 0, 3, 0)
    assert counts(await firm.imports("Account,Id\nAcme,1\nAcme,2\nOther,2\n", mapping=columns)) == (2, 0, 0, 1, 0)
    done = await firm.imports("Account,Id\nAcme,\nAcme,1\n", mapping=columns)
    assert [(each.line, each.reason) for each in done.refused] == [(2, "ambiguous: 3 accounts have this name")]
    assert done.unchanged == 1


async def test_a_contact_is_known_by_an_address_and_without_one_by_the_exact_name(
    service: Service, tmp_path: Path
) -> None:
    firm = await tenant(service, tmp_path, "teamleader")
    await firm.service.contact("bo@example.com", last_name="Lind")
    rows = "First,Last,Mail\nBo,Lind,\nRobert,Lind,BO@example.com\nBo,Lind,other@example.com\nBo, Lind,\n"
    columns = {"First": "contact.first_name", "Last": "contact.last_name", "Mail": "contact.email"}
    assert counts(await firm.imports(rows, mapping=columns)) == (0, 1, 0, 2, 1)


async def test_a_row_that_several_contacts_match_is_refused_as_ambiguous(service: Service, tmp_path: Path) -> None:
    """Unless one of them is linked to its account already, as by an earlier import of the same file."""
    firm = await tenant(service, tmp_path, "teamleader")
    columns = MAP | {"Mail": "contact.email"}
    rows = "Account,Contact,Mail\nOne,Bo,\nTwo,Bo,bo@example.com\nThree,Bo,\n"
    for expected in ((2, 2, 2, 0, 1), (0, 0, 0, 2, 1)):
        done = await firm.imports(rows, mapping=columns)
        assert counts(done) == expected
        assert [(each.line, each.reason) for each in done.refused] == [(4, "ambiguous: 2 contacts have this name")]


async def test_rows_that_an_address_makes_one_contact_of_are_counted(service: Service, tmp_path: Path) -> None:
    firm = await tenant(service, tmp_path, "teamleader")
    columns = MAP | {"Mail": "contact.email"}
    rows = (
        "Account,Contact,Mail\nOne,Bo,a@example.com\nTwo,Al,A@example.com\nOne,Bo,a@example.com\nTwo,,a@example.com\n"
    )
    done = await firm.imports(rows, mapping=columns)
    assert (counts(done), done.merged) == ((2, 1, 2, 2, 0), 1)
    assert str(done).endswith("0 were refused; 1 had the address of a contact with another name")


def test_blanks_around_a_cell_do_not_count_and_null_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("Account,Contact\n Acme\u00a0,\u00a0Bo \n\u00a0NULL ,\u2003\n")
    found = [dict(row.fields) for row in Table(tmp_path / "file.csv", mapping=MAP).rows()]
    assert found == [{"account.name": ("Acme",), "contact.name": ("Bo",)}, {}]


async def test_a_second_account_is_refused_where_a_contact_may_have_only_one(service: Service, tmp_path: Path) -> None:
    firm = await tenant(service, tmp_path, "perfex")
    done = await firm.imports("Account,Contact\nOne,Ada\nTwo,Bo\nTwo,Ada\nThree,\n", mapping=MAP)
    assert counts(done) == (3, 2, 2, 0, 1)
    assert [refusal.line for refusal in done.refused] == [4]
    assert done.refused[0].reason.startswith("contact_already_linked: The contact belongs to another account")
    assert await firm.links() == {("One", "Ada"), ("Two", "Bo")}


async def test_rows_that_build_upon_a_refused_one_are_carried_out_without_it(service: Service, tmp_path: Path) -> None:
    firm = await tenant(service, tmp_path, "taxdome")
    rows = f"Account,Contact\nOne,\nOne,\nOne,Ada\nOne,Bo\nTwo,{'x' * 501}\nTwo,Bo\n"
    done = await firm.imports(rows, mapping=MAP)
    assert counts(done) == (2, 2, 3, 0, 3)
    assert sorted(refusal.line for refusal in done.refused) == [2, 3, 6]
    assert await firm.links() == {("One", "Ada"), ("One", "Bo"), ("Two", "Bo")}


async def test_lines_are_those_of_the_file_and_what_is_no_row_is_told(service: Service, tmp_path: Path) -> None:
    firm = await tenant(service, tmp_path, "teamleader")
    rows = 'Account,Contact\n"One\nand more",Ada\n\nTwo\n,NULL\n"Three\tand ""more""",Bo\n'
    done = await firm.imports(rows, mapping=MAP)
    assert [(refusal.line, refusal.reason) for refusal in done.refused] == [
        (5, "it has 1 cells, and the header 2"),
        (6, "it names neither an account nor a contact"),
    ]
    assert await firm.links() == {("One and more", "Ada"), ('Three and "more"', "Bo")}


async def test_the_same_file_imported_twice_at_once_is_imported_once(service: Service, tmp_path: Path) -> None:
    firm = await tenant(service, tmp_path, "teamleader")
    rows = "Account,Contact\n" + "".join(f"Account {n},Contact {n % 20}\n" for n in range(200))
    one, other = await asyncio.gather(firm.imports(rows, mapping=MAP), firm.imports(rows, mapping=MAP))
    assert one.refused == other.refused == []
    assert one.unchanged + other.unchanged == 200
    assert (len(await firm.events("AccountCreated")), len(await firm.events("ContactCreated"))) == (200, 20)


async def test_what_was_renamed_since_is_not_made_again(service: Service, tmp_path: Path) -> None:
    firm = await tenant(service, tmp_path, "teamleader")
    rows = "Account,Contact\nOne,Ada\n"
    await firm.imports(rows, mapping=MAP)
    (made,) = await firm.events("ContactLinked")
    await firm.service.done("PATCH", f"/accounts/{made['account_id']}", {"name": "Renamed"})
    await firm.service.done("PATCH", f"/contacts/{made['contact_id']}", {"last_name": "Married"})
    assert counts(await firm.imports(rows, mapping=MAP)) == (0, 0, 0, 1, 0)
    assert counts(await firm.imports("Account,Contact\nRenamed,Married\n", mapping=MAP)) == (0, 0, 0, 1, 0)


async def test_what_was_unlinked_since_is_linked_again(service: Service, tmp_path: Path) -> None:
    firm = await tenant(service, tmp_path, "teamleader")
    rows = "Account,Contact\nOne,Ada\nOne,Bo\n"
    await firm.imports(rows, mapping=MAP)
    for _ in range(2):
        made = (await firm.events("ContactLinked"))[1]
        await firm.service.done("DELETE", f"/accounts/{made['account_id']}/contacts/{made['contact_id']}")
        assert counts(await firm.imports(rows, mapping=MAP)) == (0, 0, 1, 1, 0)


async def test_what_a_row_says_of_a_link_is_taken_over(service: Service, tmp_path: Path) -> None:
    firm = await tenant(service, tmp_path, "teamleader")
    columns = MAP | {
        "Role": "link.role",
        "Title": "link.job_title",
        "First": "link.primary",
        "City": "account.details.city",
    }
    await firm.imports("Account,Contact,Role,Title,First,City\nOne,Ada,owner,CEO,yes,Cluj\n", mapping=columns)
    (linked,) = await firm.events("ContactLinked")
    assert (linked["role"], linked["job_title"], linked["primary"]) == ("owner", "CEO", True)
    assert (await firm.events("AccountCreated"))[0]["details"] == {"city": "Cluj"}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {"mapping": MAP}, "is empty"),
        (b"A,B\n1,2\n", {}, "Which column of .* is which field"),
        (b"A,B\n1,2\n", {"mapping": MAP}, "has no columns 'Account'"),
        (b"A,A\n1,2\n", {"mapping": {"A": "account.name"}}, "has 2 columns 'A'"),
        (b"A,B\n1,2\n", {"mapping": {"A": "account.nom"}}, "There is no field 'account.nom'"),
        (
            b"A,B\n1,2\n",
            {"mapping": {"A": "account.name", "B": "account.name"}},
            "More than one column is account.name",
        ),
        (b"A\nDun\xe3rea\n", {"mapping": {"A": "account.name"}}, "--encoding"),
        (b'A\nOne\n"Two\n', {"mapping": {"A": "account.name"}}, "line 3: unexpected end of data"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, content: bytes, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "file.csv").write_bytes(content)
    with pytest.raises(StackError, match=message):
        list(Table(tmp_path / "file.csv", **options).rows())


async def test_a_tenant_that_is_not_there_is_told(service: Service, tmp_path: Path) -> None:
    firm = Tenant(replace(service, tenant="nowhere"), tmp_path)
    with pytest.raises(StackError, match="There is no tenant nowhere"):
        await firm.imports("Account,Contact\nOne,Ada\n", mapping=MAP)
