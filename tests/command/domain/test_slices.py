"""What concerns more links than one commit changes goes on in commits that follow; access is gone at once."""

from collections import Counter
from typing import Final
from uuid import uuid4

import pytest

from support.decisions import Case
from support.firms import an_email
from vinculum_command.domain.access import SetPortalAccess, SettleAccess
from vinculum_command.domain.accounts import ArchiveAccount, RestoreAccount
from vinculum_command.domain.commands import SYSTEM
from vinculum_command.domain.contacts.activity import DeactivateContact, ReactivateContact
from vinculum_command.domain.contacts.emails import ChangeEmail, RemoveEmail
from vinculum_command.domain.heads.links import Members, Memberships
from vinculum_command.domain.heads.view import LINKS_AT_ONCE_MAX
from vinculum_command.domain.links import UnlinkContact
from vinculum_command.domain.tenants import ChangeTenant
from vinculum_shared.contracts.accounts import AccountCreated
from vinculum_shared.contracts.contacts import ContactCreated
from vinculum_shared.contracts.links import ContactLinked, PortalAccessChanged
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId
from vinculum_shared.problems import Invalid

pytestmark = pytest.mark.unit

MORE: Final = LINKS_AT_ONCE_MAX + 5


def entered(
    account_id: AccountId, contact_id: ContactId, email_id: EmailId
) -> list[ContactLinked | PortalAccessChanged]:
    return [
        ContactLinked(account_id=account_id, contact_id=contact_id),
        PortalAccessChanged(
            account_id=account_id, contact_id=contact_id, email_id=email_id, from_="off", to="active", why="granted"
        ),
    ]


@pytest.fixture(scope="module")
def an_account() -> tuple[Case, AccountId, list[ContactId]]:
    """Entered by more contacts than one commit changes."""
    case = Case.under("dynamics")
    account = case.account()
    contacts = [ContactId(uuid4()) for _ in range(MORE)]
    for contact in contacts:
        email = an_email(f"{contact}@example.com", primary=True)
        case.happened(ContactCreated(contact_id=contact, emails=(email,)), *entered(account, contact, email.email_id))
    return case, account, contacts


@pytest.fixture(scope="module")
def a_contact() -> tuple[Case, ContactId]:
    """Who enters more accounts than one commit changes."""
    case = Case.under("taxdome")
    contact = case.contact("b@example.com")
    email = case.email(contact)
    for _ in range(MORE):
        account = AccountId(uuid4())
        case.happened(AccountCreated(account_id=account), *entered(account, contact, email))
    return case, contact


def states(case: Case) -> Counter[str]:
    """How many accesses are in which state."""
    last = {event.stream: event.to for event in case.events if isinstance(event, PortalAccessChanged)}
    return Counter(last.values())


def test_an_archive_takes_access_at_once_and_its_events_follow_in_slices(
    an_account: tuple[Case, AccountId, list[ContactId]],
) -> None:
    case, account, contacts = an_account
    case = case.copy()
    outcome = case.when(ArchiveAccount(account_id=account))
    assert outcome.types == ["AccountArchived", *["PortalAccessChanged"] * LINKS_AT_ONCE_MAX]
    assert case.loads <= 2
    assert not any(case.entry(account, contact).allowed for contact in contacts)
    assert case.head(Members, account_id=account).pending()
    (following,) = outcome.following
    outcome = case.when(following, by=SYSTEM)
    assert outcome.types == ["PortalAccessChanged"] * (MORE - LINKS_AT_ONCE_MAX)
    assert outcome.following == ()
    assert not case.head(Members, account_id=account).pending()
    case.given(RestoreAccount(account_id=account))
    assert all(case.entry(account, contact).allowed for contact in contacts)


def test_what_a_stopped_process_left_is_settled_from_the_pending_head_alone(
    an_account: tuple[Case, AccountId, list[ContactId]],
) -> None:
    case, account, _ = an_account
    case = case.copy()
    case.when(ArchiveAccount(account_id=account))
    case.given(SettleAccess(account_id=account), by=SYSTEM)
    assert states(case) == {"suspended": MORE}


def test_an_archive_that_is_undone_before_it_is_settled_gives_everything_back(
    an_account: tuple[Case, AccountId, list[ContactId]],
) -> None:
    case, account, contacts = an_account
    case = case.copy()
    (following,) = case.when(ArchiveAccount(account_id=account)).following
    case.given(RestoreAccount(account_id=account))
    case.given(following, by=SYSTEM)
    assert all(case.entry(account, contact).allowed for contact in contacts)
    assert not case.head(Members, account_id=account).pending()


def test_what_is_being_given_back_is_given_back_whatever_becomes_of_the_portal(
    an_account: tuple[Case, AccountId, list[ContactId]],
) -> None:
    case, account, contacts = an_account
    case = case.copy()
    first, *_, last = sorted(contacts)
    for contact in (first, last):
        case.given(SetPortalAccess(account_id=account, contact_id=contact, login=False))
        case.invited(account, contact)
    case.given(ArchiveAccount(account_id=account))
    outcome = case.when(RestoreAccount(account_id=account))
    case.given(ChangeTenant(tenant=case.tenant, portal_url=None))
    case.given(*outcome.following, by=SYSTEM)
    assert states(case) == {"active": MORE - 2, "invited": 2}
    assert not case.head(Members, account_id=account).pending()


def test_links_that_end_in_the_same_group_do_not_hide_those_that_follow(
    an_account: tuple[Case, AccountId, list[ContactId]],
) -> None:
    case, account, contacts = an_account
    case = case.copy()
    first = sorted(contacts)[:5]
    *_, archived = case.together(
        *(UnlinkContact(account_id=account, contact_id=contact) for contact in first),
        ArchiveAccount(account_id=account),
    )
    assert len(archived.following) == 1


def test_a_contact_is_suspended_and_given_back_in_slices_too(a_contact: tuple[Case, ContactId]) -> None:
    case, contact = a_contact[0].copy(), a_contact[1]
    outcome = case.when(DeactivateContact(contact_id=contact))
    assert outcome.types.count("PortalAccessChanged") == LINKS_AT_ONCE_MAX
    case.given(*outcome.following, by=SYSTEM)
    assert states(case) == {"suspended": MORE}
    case.given(ReactivateContact(contact_id=contact))
    assert states(case) == {"active": MORE}
    assert not case.head(Memberships, contact_id=contact).pending()


def test_an_address_that_is_removed_opens_nothing_and_its_logins_end_in_slices(
    a_contact: tuple[Case, ContactId],
) -> None:
    case, contact = a_contact[0].copy(), a_contact[1]
    email = case.email(contact)
    outcome = case.when(RemoveEmail(contact_id=contact, email_id=email))
    accounts = [event.account_id for event in case.events if isinstance(event, ContactLinked)]
    assert not any(case.entry(account, contact, email).allowed for account in accounts)
    case.given(*outcome.following, by=SYSTEM)
    assert states(case) == {"off": MORE}


def test_an_address_that_opens_more_than_one_commit_can_change_is_not_changed(
    a_contact: tuple[Case, ContactId],
) -> None:
    """Between two commits it would open what nobody at the new address was invited to."""
    case, contact = a_contact[0].copy(), a_contact[1]
    change = ChangeEmail(contact_id=contact, email_id=case.email(contact), address="new@example.com")
    assert case.refused(change, Invalid).facts["errors"][0]["code"] == "too_many_links"
