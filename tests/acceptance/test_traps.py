"""Where systems like this one go wrong: a test for each known trap, under the profile that it can be fallen into."""

import asyncio

import pytest

from support.stack import Stack
from support.tenant import invitation_token, link, types

pytestmark = [pytest.mark.acceptance]


async def test_trap_1_the_last_contact_stays_however_it_is_to_be_taken_away(stack: Stack) -> None:
    """Unlink the last contact of an account; unlink the last two at the same time (TD-2, TD-20)."""
    firm = await stack.tenant("taxdome")
    ada, charles = await firm.contact("Ada Lovelace"), await firm.contact("Charles Babbage")
    engines, looms = await firm.account("Engines", ada, charles), await firm.account("Looms", charles)
    answers = await asyncio.gather(*(firm.ask("DELETE", link(engines, each)) for each in (ada, charles)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (left,) = [each for each, answer in zip((ada, charles), answers, strict=True) if answer.status_code == 409]
    assert await firm.contacts_of(engines) == [left]
    assert await firm.refused("DELETE", link(engines, left)) == (409, "last_contact")
    move = {"from_account_id": engines, "to_account_id": looms}
    assert await firm.refused("POST", f"/contacts/{left}/transfer", move) == (409, "last_contact")
    line = {"command": "UnlinkContact", "account_id": engines, "contact_id": left}
    batch = await stack.http.post(
        f"{stack.command}/v1/commands/batch", json=line, headers={"Authorization": f"Bearer {firm.token}"}
    )
    assert (batch.json()["status"], batch.json()["code"]) == (409, "last_contact")
    assert await firm.contacts_of(engines) == [left]


async def test_trap_2_unlinking_leaves_other_accounts_alone_and_relinking_brings_no_login_back(stack: Stack) -> None:
    """Unlink from A keeps access to B (TD-21); re-link does not bring the old login back by itself."""
    firm = await stack.tenant("taxdome")
    address = firm.address("ada")
    ada, charles = await firm.contact("Ada Lovelace", address), await firm.contact("Charles Babbage")
    engines, looms = await firm.account("Engines", ada, charles), await firm.account("Looms", ada, charles)
    await firm.enter(engines, ada, address)
    assert types(await firm.login(looms, ada)) == ["PortalAccessChanged"]
    await firm.notify(engines, ada, invoice=True)

    await firm.unlink(engines, ada)
    assert not await firm.may_enter(engines, ada)
    assert await firm.may_enter(looms, ada)

    assert types(await firm.link(engines, ada)) == ["ContactLinked"]
    relinked = await firm.access(engines, ada)
    assert (relinked["allowed"], relinked["state"]) == (False, "off")
    assert await firm.may_enter(looms, ada)
    (contact,) = [each for each in await firm.items(f"/accounts/{engines}/contacts") if each["contact_id"] == ada]
    assert [email["access"] for email in contact["emails"]] == ["off"]
    assert not any(contact["topics"].values())
    assert await firm.items(f"/accounts/{engines}/access") == []


async def test_trap_3_a_changed_address_kills_the_invitation_and_the_new_one_is_invited(stack: Stack) -> None:
    """Change the e-mail while an invitation is pending: old link dead, new one sent."""
    firm = await stack.tenant("taxdome")
    old, new = firm.address("ada"), firm.address("ada.new")
    ada = await firm.contact("Ada Lovelace", old)
    engines = await firm.account("Engines", ada)
    await firm.login(engines, ada)
    token = invitation_token((await firm.mails(old, "invitation"))[0])

    email_id = (await firm.read(f"/contacts/{ada}"))["emails"][0]["email_id"]
    answer = await firm.done("PATCH", f"/contacts/{ada}/emails/{email_id}", {"address": new})
    assert types(answer) == ["EmailChanged", "PortalAccessChanged"]
    assert await firm.refused("POST", "/invitations/accept", {"token": token}) == (410, "invitation_invalid")
    assert not await firm.may_enter(engines, ada)

    fresh = invitation_token((await firm.mails(new, "invitation"))[0])
    assert fresh != token
    await firm.done("POST", "/invitations/accept", {"token": fresh})
    assert await firm.may_enter(engines, ada)
    assert len(stack.mailbox.to(old)) == 1


async def test_trap_5_a_second_account_is_an_error_and_of_two_at_once_one_wins(stack: Stack) -> None:
    """Second account in the one-account profile: error, original link untouched (DY-18); two at once: one wins."""
    sales = await stack.tenant("dynamics")
    ana, ion = await sales.contact("Ana Pop"), await sales.contact("Ion Radu")
    contoso, fabrikam = await sales.account("Contoso"), await sales.account("Fabrikam")
    made = await sales.ask("PUT", link(contoso, ana), {"role": "buyer"})
    assert await sales.refused("PUT", link(fabrikam, ana)) == (409, "contact_already_linked")
    again = await sales.ask("PUT", link(contoso, ana), {})
    assert (again.json()["events"], again.headers["etag"]) == ([], made.headers["etag"])
    (linked,) = await sales.items(f"/contacts/{ana}/accounts")
    assert (linked["account_id"], linked["role"]) == (contoso, "buyer")

    answers = await asyncio.gather(*(sales.ask("PUT", link(account, ion)) for account in (contoso, fabrikam)))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    winner, loser = sorted(zip(answers, (contoso, fabrikam), strict=True), key=lambda each: each[0].status_code)
    assert (loser[0].json()["code"], loser[0].json()["account_id"]) == ("contact_already_linked", winner[1])
    assert await sales.accounts_of(ion) == [winner[1]]


async def test_trap_8_who_is_mailed_is_what_the_flags_say_and_nobody_is_seen(stack: Stack) -> None:
    """Flag off: no mail, and it is seen (PX-8). Five contacts, one flag: one mail. Picked by hand: mailed (PX-13)."""
    crm = await stack.tenant("perfex")
    pixel = await crm.account("Pixel")
    people = []
    for name in ("Jo A", "Kim B", "Lee C", "Max D", "Noa E"):
        address = crm.address(name[:3].strip().lower())
        people.append(await crm.contact(name, address, link_accounts=[{"account_id": pixel}]))
    warnings = [(await crm.notify(pixel, each, invoice=False))["warnings"] for each in people]
    uncovered = [{"code": "topic_uncovered", "account_id": pixel, "topic": "invoice"}]
    assert warnings == [[], [], [], [], uncovered]

    invoice = await crm.invoice(pixel)
    assert (await crm.done("POST", f"/records/{invoice}/send"))["warnings"] == uncovered
    (row,) = await crm.notifications(account_id=pixel)
    assert row["outcome"] == "nobody"

    await crm.notify(pixel, people[2], invoice=True)
    assert (await crm.done("POST", f"/records/{invoice}/send"))["warnings"] == []
    newest, _ = await crm.notifications(account_id=pixel)
    assert (newest["outcome"], newest["recipient"]["contact_id"]) == ("sent", people[2])

    await crm.done("POST", f"/records/{invoice}/send", {"contact_ids": [people[4]]})
    newest, *_ = await crm.notifications(account_id=pixel)
    assert (newest["outcome"], newest["reason"], newest["recipient"]["contact_id"]) == ("sent", "chosen", people[4])
    await crm.mails(crm.address("noa"))
    assert [len(stack.mailbox.to(crm.address(name))) for name in ("jo", "kim", "lee", "max", "noa")] == [0, 0, 1, 0, 1]
