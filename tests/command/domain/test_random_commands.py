"""Whatever commands come, in whatever order, under every profile, these things stay true."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Final, get_args
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.commands import SERVICE
from support.decisions import Case, Outcome, hashed
from vinculum_command.domain.access import AcceptInvitation, SetPortalAccess
from vinculum_command.domain.accounts import ArchiveAccount, ChangeAccount, CreateAccount, RestoreAccount
from vinculum_command.domain.commands import Caller, Command, TopicUncovered
from vinculum_command.domain.contacts.activity import DeactivateContact, ReactivateContact
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.contacts.emails import AddEmail, ChangeEmail, RemoveEmail
from vinculum_command.domain.contacts.profiles import ChangeContact
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.contacts import Contact, Login
from vinculum_command.domain.heads.links import Coverage, Link, Members, Memberships
from vinculum_command.domain.links import LinkAccounts, LinkContacts, PutLink, TransferContact, UnlinkContact
from vinculum_command.domain.notifications import SetNotifications, SetPermissions
from vinculum_command.domain.policies import PROFILES
from vinculum_command.domain.unsubscriptions import Unsubscribe
from vinculum_shared.contracts.accounts import AccountChanged
from vinculum_shared.contracts.contacts import ContactChanged, EmailChanged
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.links import (
    ContactUnlinked,
    LinkChanged,
    NotificationPreferencesChanged,
    PermissionsChanged,
    PortalAccessChanged,
)
from vinculum_shared.contracts.tenants import Policy, Profile
from vinculum_shared.contracts.topics import FEATURES, TOPICS, Topic
from vinculum_shared.contracts.values import AccountId, ContactId, InvitationId
from vinculum_shared.recipients import Member, recipients, wants_anywhere

pytestmark = pytest.mark.unit

CONTACT: Final = Caller(kind="contact", id="somebody")

Step = Callable[[Case], Command]


def an_id(*of: object) -> UUID:
    return uuid5(NAMESPACE_OID, "/".join(map(str, of)))


ACCOUNTS: Final = [an_id("account", number) for number in range(4)]
CONTACTS: Final = [an_id("contact", number) for number in range(5)]
ADDRESSES: Final = ["a@example.com", "A@example.com", "b@example.com", "c@example.com"]

accounts, contacts = st.sampled_from(ACCOUNTS[:3]), st.sampled_from(CONTACTS[:4])
new_accounts, new_contacts = st.sampled_from(ACCOUNTS[2:]), st.sampled_from(CONTACTS[3:])
numbers, flags, rarely = st.sampled_from([0, 0, 1]), st.booleans(), st.sampled_from([False, False, False, True])
indexes = st.integers(0, 11)
addresses = st.sampled_from(ADDRESSES)
topics = st.dictionaries(st.sampled_from(TOPICS[:3]), flags, min_size=1)
features = st.sets(st.sampled_from(FEATURES[:3]))


def email_id(contact_id: UUID, number: int) -> UUID:
    return an_id("email", contact_id, number)


def new_contact(contact_id: UUID, address: str | None, **fields: Any) -> dict[str, Any]:
    emails = [{"id": email_id(contact_id, 0), "address": address}] if address else []
    return {"id": contact_id, "emails": emails, **fields}


def command(kind: type[Command], **fields: Any) -> Step:
    return lambda _: kind.model_validate(fields)


def of_address(kind: type[Command], contact_id: UUID, number: int, **fields: Any) -> Step:
    return command(kind, contact_id=contact_id, email_id=email_id(contact_id, number), **fields)


def of_link(kind: type[Command], which: int, **fields: Any) -> Step:
    """Return a command about one of the links that are there."""

    def step(case: Case) -> Command:
        pairs = sorted(link.ids for link in linked(case)) or [(AccountId(ACCOUNTS[0]), ContactId(CONTACTS[0]))]
        account_id, contact_id = pairs[which % len(pairs)]
        return kind.model_validate({"account_id": account_id, "contact_id": contact_id, **fields})

    return step


def of_linked_address(kind: type[Command], which: int, number: int, **fields: Any) -> Step:
    def step(case: Case) -> Command:
        about = of_link(kind, which, **fields)(case)
        contact_id = about.model_dump()["contact_id"]
        return about.model_copy(update={"email_id": email_id(contact_id, number)})

    return step


def accept(which: int, *, old: bool) -> Step:
    """Use one of the invitations that there are, or one that was replaced."""

    def step(case: Case) -> Command:
        invited = [(*link.ids, *each) for link in linked(case) for each in link.access.items()]
        if old or not invited:
            nowhere = {"email_id": an_id("none"), "invitation_id": an_id("none"), "address_hash": ""}
            return of_link(AcceptInvitation, which, **nowhere)(case)
        account_id, contact_id, address, access = invited[which % len(invited)]
        email = case.head(Contact, contact_id=contact_id).email(address)
        assert email
        return AcceptInvitation(
            account_id=account_id,
            contact_id=contact_id,
            email_id=address,
            address_hash=hashed(email.address or ""),
            invitation_id=access.invitation_id or InvitationId(an_id("none")),
        )

    return step


def create_account(account_id: UUID, linked: list[UUID], contact_id: UUID, address: str) -> Step:
    return command(
        CreateAccount,
        id=account_id,
        name="A",
        link_contacts=[{"contact_id": each} for each in linked],
        new_contacts=[new_contact(contact_id, address)],
    )


def create_contact(contact_id: UUID, address: str | None, linked: list[UUID]) -> Step:
    links = [{"account_id": each} for each in linked]
    return command(CreateContact, **new_contact(contact_id, address, link_accounts=links))


def link_contacts(account_id: UUID, contact_ids: list[UUID], *, primary: bool) -> Step:
    links = [{"contact_id": each, "primary": primary and each == contact_ids[0]} for each in contact_ids]
    return command(LinkContacts, account_id=account_id, contacts=links)


def link_accounts(contact_id: UUID, account_ids: list[UUID], *, primary: bool) -> Step:
    links = [{"account_id": each, "primary": primary} for each in account_ids]
    return command(LinkAccounts, contact_id=contact_id, accounts=links)


def add_email(contact_id: UUID, number: int, address: str, *, primary: bool) -> Step:
    fields = {"id": email_id(contact_id, number), "address": address, "primary": primary}
    return command(AddEmail, contact_id=contact_id, **fields)


def unsubscribe(which: int, topic: Topic, address: str) -> Step:
    return of_link(Unsubscribe, which, topic=topic, address_hash=hashed(address))


pairs = {"account_id": accounts, "contact_id": contacts}


def founded(profile: Profile, **overrides: Any) -> Case:
    """Three accounts with four contacts, of whom one has no address; one of each is yet to be."""
    case = Case.under(profile, **overrides)
    members = [new_contact(each, address) for each, address in zip(CONTACTS, [*ADDRESSES[1:], None], strict=False)]
    for account_id, ours in zip(ACCOUNTS, (members[:2], members[2:3], members[3:]), strict=False):
        case.given(CreateAccount.model_validate({"id": account_id, "name": "A", "new_contacts": ours}))
    return case


without_invitations: st.SearchStrategy[Step] = st.one_of(
    st.builds(partial(of_link, SetPortalAccess), indexes, login=rarely.map(lambda off: not off)),
    st.builds(partial(of_linked_address, SetPortalAccess), indexes, numbers, login=rarely.map(lambda off: not off)),
    st.builds(partial(command, ChangeAccount), account_id=accounts, name=st.sampled_from("AB")),
    st.builds(partial(command, ChangeContact), contact_id=contacts, first_name=st.sampled_from("AB")),
    st.builds(link_contacts, accounts, st.lists(contacts, min_size=1, max_size=3, unique=True), primary=flags),
    st.builds(link_accounts, contacts, st.lists(accounts, min_size=1, max_size=3, unique=True), primary=flags),
    st.builds(partial(command, PutLink), **pairs, primary=flags),
    st.builds(partial(of_link, UnlinkContact), indexes),
    st.builds(partial(command, TransferContact), contact_id=contacts, from_account_id=accounts, to_account_id=accounts),
    st.builds(command, st.sampled_from([ArchiveAccount, RestoreAccount, RestoreAccount]), account_id=accounts),
    st.builds(command, st.sampled_from([DeactivateContact, ReactivateContact, ReactivateContact]), contact_id=contacts),
    st.builds(add_email, contacts, numbers, addresses, primary=flags),
    st.builds(partial(of_address, ChangeEmail), contacts, numbers, address=addresses),
    st.builds(partial(of_address, ChangeEmail), contacts, numbers, primary=st.just(value=True)),
    st.builds(partial(of_address, RemoveEmail), contacts, numbers),
    st.builds(partial(of_link, SetPermissions), indexes, features=features),
    st.builds(partial(of_link, SetNotifications), indexes, topics=topics),
    st.builds(partial(of_linked_address, SetNotifications), indexes, numbers, topics=topics),
    st.builds(unsubscribe, indexes, st.sampled_from(TOPICS[:3]), addresses),
    st.builds(create_account, new_accounts, st.lists(contacts, max_size=2, unique=True), new_contacts, addresses),
    st.builds(create_contact, new_contacts, st.none() | addresses, st.lists(accounts, max_size=2, unique=True)),
)
steps = without_invitations | st.builds(accept, indexes, old=rarely)
profiles = st.sampled_from(get_args(Profile))
OPEN: Final = {
    "features_fixed": False,
    "access_unit": "email",
    "default_topics": "all",
    "mail_without_permission": "hold",
}
MANY: Final = {"max_accounts_per_contact": None, "contact_requires_account": False}
overridden = st.sampled_from([{}, OPEN, MANY, OPEN | MANY])


@settings(max_examples=100)
@given(profiles, overridden, st.lists(steps, min_size=20, max_size=60))
def test_the_rules_hold_whatever_comes(profile: Profile, overrides: dict[str, Any], some: list[Step]) -> None:
    case = founded(profile, **overrides)
    policy = PROFILES[profile].model_copy(update=overrides)
    for step in some:
        case.at += timedelta(hours=1)
        given_command = step(case)
        before, reached = dict(case.heads), covered(case, policy)
        outcome = case.when(given_command, by=CONTACT if given_command.ROLE == "contact" else SERVICE)
        check_befores(before, case, outcome)
        check_warnings(given_command, outcome, reached - covered(case, policy))
        check_accounts(case, policy)
        check_contacts(case, policy)
        check_access(case)
        check_unsubscribed(case)
        assert case.heads == case.refolded
        assert case.loads <= 4


@settings(max_examples=50)
@given(profiles, st.lists(without_invitations, min_size=10, max_size=30), st.integers(2, 5))
def test_commands_decided_together_come_out_as_if_decided_one_by_one(
    profile: Profile, some: list[Step], size: int
) -> None:
    alone = founded(profile)
    grouped = alone.copy()
    for first in range(0, len(some), size):
        commands = [step(grouped) for step in some[first : first + size]]
        for outcome, given_command in zip(grouped.together(*commands), commands, strict=True):
            expected = alone.when(given_command)
            assert outcome.types == expected.types
            assert type(outcome.refusal) is type(expected.refusal)
    assert [without_ids(event) for event in grouped.events] == [without_ids(event) for event in alone.events]


def without_ids(event: Event) -> Event:
    """Invitations have ids of their own each time."""
    return event.model_copy(update={"invitation_id": None}) if isinstance(event, PortalAccessChanged) else event


def check_befores(heads: dict[str, Any], case: Case, outcome: Outcome) -> None:
    """What an event says was before is what was before."""
    now = Case(heads=heads, refolded=dict(heads))
    for event in outcome.events:
        match event:
            case LinkChanged():
                assert event.before == now.link(event.account_id, event.contact_id).terms
            case PermissionsChanged():
                assert event.before == now.link(event.account_id, event.contact_id).features
            case NotificationPreferencesChanged():
                assert event.before == now.link(event.account_id, event.contact_id).preferences
            case ContactUnlinked():
                link = now.link(event.account_id, event.contact_id)
                assert (event.before, event.features, event.preferences) == (
                    link.terms,
                    link.features,
                    link.preferences,
                )
            case PortalAccessChanged():
                access = now.link(event.account_id, event.contact_id).access.get(event.email_id)
                assert event.from_ == (access.state if access else "off")
            case AccountChanged():
                assert event.before == now.head(Account, account_id=event.account_id).profile
            case ContactChanged():
                assert event.before == now.head(Contact, contact_id=event.contact_id).profile
            case EmailChanged():
                assert event.before == now.head(Contact, contact_id=event.contact_id).email(event.email_id)
            case _:
                pass
        now.happened(event)


def linked(case: Case) -> Iterator[Link]:
    return (stored.head for stored in case.heads.values() if isinstance(stored.head, Link) and stored.head.linked)


def check_accounts(case: Case, policy: Policy) -> None:
    for account_id in map(AccountId, ACCOUNTS):
        links = [link for link in linked(case) if link.account_id == account_id]
        members = case.head(Members, account_id=account_id)
        assert members.count == len(links)
        primary = [link.contact_id for link in links if link.terms.primary]
        assert [members.primary] == primary if primary else members.primary is None
        if case.head(Account, account_id=account_id).profile:
            assert len(links) >= policy.min_contacts_per_account
        if policy.primary_contact == "first_forced" and links:
            assert primary
        wanted = Counter(topic for link in links for topic in TOPICS if wants_anywhere(link.preferences, topic))
        coverage = case.head(Coverage, account_id=account_id).topics
        assert {topic: reached.count for topic, reached in coverage.items()} == dict(wanted)


def check_contacts(case: Case, policy: Policy) -> None:
    holders: Counter[str] = Counter()
    for contact_id in map(ContactId, CONTACTS):
        links = [link for link in linked(case) if link.contact_id == contact_id]
        memberships = case.head(Memberships, contact_id=contact_id)
        assert memberships.count == len(links)
        assert set(memberships.accounts) == {link.account_id for link in links}
        assert policy.max_accounts_per_contact is None or len(links) <= policy.max_accounts_per_contact
        contact = case.head(Contact, contact_id=contact_id)
        if contact.profile and policy.contact_requires_account:
            assert links
        assert sum(email.primary for email in contact.emails) == bool(contact.emails)
        hashes = {email.address_hash for email in contact.emails}
        assert len(hashes) == len(contact.emails)
        holders.update(hashes)
    for address in ADDRESSES:
        assert case.head(Login, address_hash=hashed(address)).count == holders[hashed(address)]
    assert not policy.unique_contact_email or set(holders.values()) <= {1}


def check_access(case: Case) -> None:
    """Access needs the link and the address; it is suspended just while the account or the contact sleeps."""
    active: Counter[UUID] = Counter()
    for stored in case.heads.values():
        link = stored.head
        if not isinstance(link, Link) or not link.access:
            continue
        assert link.account_id
        assert link.contact_id
        assert link.linked
        contact = case.head(Contact, contact_id=link.contact_id)
        asleep = bool(case.head(Account, account_id=link.account_id).archived or contact.inactive)
        assert {access.state == "suspended" for access in link.access.values()} == {asleep}
        assert link.access.keys() <= {email.email_id for email in contact.emails}
        assert case.entry(link.account_id, link.contact_id).allowed == (
            not asleep and any(access.state == "active" for access in link.access.values())
        )
        active.update(each for each, access in link.access.items() if access.state == "active")
    counted: Counter[UUID] = Counter()
    for stored in case.heads.values():
        if isinstance(stored.head, Memberships):
            counted.update(stored.head.active)
    assert counted == active


def check_unsubscribed(case: Case) -> None:
    """Wherever an address is linked, what its recipient has unsubscribed from is off for it, primary or not."""
    for link in linked(case):
        account_id, contact_id = link.ids
        for email in case.head(Contact, contact_id=contact_id).emails:
            for topic in case.head(Login, address_hash=email.address_hash).unsubscribed.get(account_id, ()):
                own = link.preferences.by_email.get(email.email_id, {}).get(topic)
                assert own is False or (own is None and topic not in link.preferences.topics)


def covered(case: Case, policy: Policy) -> set[tuple[AccountId, Topic]]:
    """Which topics reach somebody of which account."""
    hold = policy.mail_without_permission
    return {
        (link.account_id, topic)
        for link in linked(case)
        for topic in TOPICS
        if link.account_id and recipients(topic, [as_member(case, link)], mail_without_permission=hold)
    }


def as_member(case: Case, link: Link) -> Member:
    assert link.contact_id
    contact = case.head(Contact, contact_id=link.contact_id)
    return Member(link.contact_id, not contact.inactive, contact.emails, link.preferences, frozenset(link.features))


def check_warnings(given_command: Command, outcome: Outcome, lost: set[tuple[AccountId, Topic]]) -> None:
    """Whoever takes the last recipient of a topic is told, and nobody else."""
    told = {(each.account_id, each.topic) for each in outcome.cautions if isinstance(each, TopicUncovered)}
    assert told == lost
