"""Heads: what stays known of many things, and what is exact all the same."""

from uuid import uuid4

import pytest

from support.decisions import Case, hashed, new
from vinculum_command.domain.contacts.emails import ChangeEmail, RemoveEmail
from vinculum_command.domain.heads.contacts import HOLDERS_KNOWN_MAX, Login
from vinculum_command.domain.heads.links import ACCOUNTS_KNOWN_MAX, REACHED_KNOWN_MAX, Coverage, Link, Memberships
from vinculum_command.domain.links import PutLink, UnlinkContact
from vinculum_shared.contracts.values import AccountId, ContactId

pytestmark = pytest.mark.unit


def test_a_shared_address_is_counted_past_the_holders_that_are_known() -> None:
    case = Case.under("zoho")
    contacts = [case.contact("office@example.com") for _ in range(HOLDERS_KNOWN_MAX + 5)]
    known, unknown = contacts[0], contacts[-1]
    case.given(ChangeEmail(contact_id=unknown, email_id=case.email(unknown), address="x@example.com"))
    case.given(RemoveEmail(contact_id=contacts[-2], email_id=case.email(contacts[-2])))
    case.given(ChangeEmail(contact_id=known, email_id=case.email(known), address="y@example.com"))
    login = case.head(Login, address_hash=hashed("office@example.com"))
    assert login.count == HOLDERS_KNOWN_MAX + 2
    assert set(login.holders) == set(contacts[1:HOLDERS_KNOWN_MAX])


def test_a_contact_s_accounts_are_counted_past_those_that_are_known() -> None:
    case = Case.under("teamleader")
    contact = case.contact()
    accounts = [case.account(contact) for _ in range(ACCOUNTS_KNOWN_MAX + 2)]
    case.given(UnlinkContact(account_id=accounts[0], contact_id=contact))
    case.given(UnlinkContact(account_id=accounts[-1], contact_id=contact))
    memberships = case.head(Memberships, contact_id=contact)
    assert (memberships.count, memberships.accounts) == (ACCOUNTS_KNOWN_MAX, tuple(accounts[1:ACCOUNTS_KNOWN_MAX]))


def test_a_topic_s_contacts_are_counted_past_those_that_are_known() -> None:
    case = Case.under("perfex")
    account = case.account(*(new() for _ in range(REACHED_KNOWN_MAX + 3)))
    reached = case.head(Coverage, account_id=account).topics["invoice"]
    assert (reached.count, len(reached.contacts)) == (REACHED_KNOWN_MAX + 3, REACHED_KNOWN_MAX)


def test_a_link_s_versions_go_on_over_unlink_and_link() -> None:
    case = Case.under("zoho")
    account, contact = case.linked()
    for command in (
        UnlinkContact(account_id=account, contact_id=contact),
        PutLink(account_id=account, contact_id=contact),
    ):
        case.given(command)
    assert case.heads[Link.key(account_id=account, contact_id=contact)].version == 3


def test_a_link_that_is_not_there_belongs_to_nobody() -> None:
    link = Case.under("zoho").link(AccountId(uuid4()), ContactId(uuid4()))
    assert (link.linked, link.pair(), link.entry()) == (False, None, None)
