"""A recipient's own wish holds, whatever becomes of the link and the address, until the topic is turned on for it."""

from collections.abc import Callable

import pytest

from support.decisions import Case, hashed, new
from vinculum_command.domain.commands import Caller, Command, RecipientUnsubscribed
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.contacts.emails import AddEmail, ChangeEmail, RemoveEmail
from vinculum_command.domain.heads.contacts import Contact
from vinculum_command.domain.links import LinkAccounts, LinkContacts, PutLink, TransferContact, UnlinkContact
from vinculum_command.domain.notifications import SetNotifications
from vinculum_command.domain.unsubscriptions import Unsubscribe
from vinculum_shared.contracts.links import NotificationPreferencesChanged
from vinculum_shared.contracts.topics import TOPICS, Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId
from vinculum_shared.recipients import wants

pytestmark = pytest.mark.unit

ANNA = "anna@example.com"
NOTIFIER = Caller(kind="service", id="vinculum-notifier", scopes=frozenset({"preferences"}))


def mailing(address: str = ANNA) -> tuple[Case, AccountId, ContactId]:
    """A contact who gets mail about everything, as each new link does."""
    case = Case.under(
        "perfex", max_accounts_per_contact=None, contact_requires_account=False, unique_contact_email=False
    )
    return case, *case.linked(address)


def unsubscribe(account: AccountId, contact: ContactId, topic: Topic = "invoice", address: str = ANNA) -> Unsubscribe:
    return Unsubscribe(account_id=account, contact_id=contact, topic=topic, address_hash=hashed(address))


def on(account: AccountId, contact: ContactId, email_id: EmailId | None = None, **topics: bool) -> SetNotifications:
    return SetNotifications.model_validate(
        {"account_id": account, "contact_id": contact, "email_id": email_id, "topics": topics or {"invoice": True}}
    )


def mailed(case: Case, account: AccountId, contact: ContactId) -> dict[str, set[Topic]]:
    """The topics that each address of the contact gets mail about."""
    link, emails = case.link(account, contact), case.head(Contact, contact_id=contact).emails
    return {
        email.address or "": {topic for topic in TOPICS if link.linked and wants(link.preferences, topic, email)}
        for email in emails
    }


def unsubscribed(account: AccountId, contact: ContactId, email_id: EmailId) -> RecipientUnsubscribed:
    return RecipientUnsubscribed(account_id=account, contact_id=contact, email_id=email_id, topic="invoice")


BUT_INVOICES = set(TOPICS) - {"invoice"}


def relinked(account: AccountId, contact: ContactId, _: AccountId) -> list[Command]:
    return [UnlinkContact(account_id=account, contact_id=contact), PutLink(account_id=account, contact_id=contact)]


def linked_among_others(account: AccountId, contact: ContactId, _: AccountId) -> list[Command]:
    contacts = [{"contact_id": contact}, {"new_contact": new("else@example.com")}]
    link = LinkContacts.model_validate({"account_id": account, "contacts": contacts})
    return [UnlinkContact(account_id=account, contact_id=contact), link]


def linked_from_the_other_side(account: AccountId, contact: ContactId, _: AccountId) -> list[Command]:
    link = LinkAccounts.model_validate({"contact_id": contact, "accounts": [{"account_id": account}]})
    return [UnlinkContact(account_id=account, contact_id=contact), link]


def transferred_and_back(account: AccountId, contact: ContactId, other: AccountId) -> list[Command]:
    return [
        TransferContact(contact_id=contact, from_account_id=account, to_account_id=other),
        TransferContact(contact_id=contact, from_account_id=other, to_account_id=account),
    ]


@pytest.mark.parametrize(
    "moves", [relinked, linked_among_others, linked_from_the_other_side, transferred_and_back], ids=lambda f: f.__name__
)
def test_a_wish_outlives_the_link(moves: Callable[[AccountId, ContactId, AccountId], list[Command]]) -> None:
    case, account, contact = mailing()
    other = case.account(new())
    case.given(unsubscribe(account, contact), by=NOTIFIER)
    case.given(*moves(account, contact, other))
    assert mailed(case, account, contact) == {ANNA: BUT_INVOICES}


def test_a_wish_outlives_the_address() -> None:
    case, account, contact = mailing()
    case.given(unsubscribe(account, contact), by=NOTIFIER)
    case.given(RemoveEmail(contact_id=contact, email_id=case.email(contact)))
    case.given(AddEmail(contact_id=contact, address=ANNA.upper()))
    assert mailed(case, account, contact) == {ANNA.upper(): BUT_INVOICES}


def test_a_wish_holds_for_an_address_that_another_one_is_corrected_to() -> None:
    case, account, contact = mailing()
    case.given(unsubscribe(account, contact, address="ann@example.com"), by=NOTIFIER)
    assert mailed(case, account, contact) == {ANNA: set(TOPICS)}
    case.given(ChangeEmail(contact_id=contact, email_id=case.email(contact), address="ann@example.com"))
    assert mailed(case, account, contact) == {"ann@example.com": BUT_INVOICES}


def taken_over(case: Case, contact: ContactId) -> list[Command]:
    return [ChangeEmail(contact_id=contact, email_id=case.email(contact), address=ANNA)]


def added(_: Case, contact: ContactId) -> list[Command]:
    return [AddEmail(contact_id=contact, address=ANNA, primary=True)]


@pytest.mark.parametrize("gives", [taken_over, added], ids=lambda f: f.__name__)
def test_whoever_takes_over_an_address_stays_unsubscribed_which_is_warned_of(
    gives: Callable[[Case, ContactId], list[Command]],
) -> None:
    """Until the topic is turned on for the address: its reader may still be the one who unsubscribed."""
    case, account, anna = mailing()
    case.given(
        LinkContacts.model_validate({"account_id": account, "contacts": [{"new_contact": new("c@example.com")}]})
    )
    elsewhere = case.account(new())
    case.given(unsubscribe(account, anna), by=NOTIFIER)
    case.given(unsubscribe(elsewhere, anna), by=NOTIFIER)
    case.given(ChangeEmail(contact_id=anna, email_id=case.email(anna), address="moved@example.com"))
    case.given(CreateContact.model_validate(bo := new("bo@example.com", link_accounts=[{"account_id": account}])))
    contact = ContactId(bo["id"])
    outcome = case.when(*gives(case, contact))
    email_id = next(each.email_id for each in case.head(Contact, contact_id=contact).emails if each.primary)
    assert outcome.cautions == (unsubscribed(account, contact, email_id),)
    assert mailed(case, account, contact)[ANNA] == BUT_INVOICES
    assert case.when(on(account, contact)).codes == ["unsubscribed"]
    assert mailed(case, account, contact)[ANNA] == set(TOPICS)


def test_linking_whoever_has_the_address_warns_of_the_wish() -> None:
    case, account, anna = mailing()
    case.given(unsubscribe(account, anna), by=NOTIFIER)
    case.given(CreateContact.model_validate(created := new(ANNA)))
    contact = ContactId(created["id"])
    outcome = case.when(PutLink(account_id=account, contact_id=contact))
    assert outcome.cautions == (unsubscribed(account, contact, case.email(contact)),)


def test_a_wish_holds_for_whoever_else_has_the_address() -> None:
    """Linked before or after."""
    case, account, contact = mailing()
    case.given(CreateContact.model_validate(before := new(ANNA, link_accounts=[{"account_id": account}])))
    outcome = case.when(unsubscribe(account, contact), by=NOTIFIER)
    assert outcome.types == ["NotificationPreferencesChanged"] * 2
    case.given(CreateContact.model_validate(after := new(ANNA, link_accounts=[{"account_id": account}])))
    for each in (contact, before["id"], after["id"]):
        assert mailed(case, account, ContactId(each)) == {ANNA: BUT_INVOICES}


def test_a_wish_holds_for_an_address_that_more_contacts_have_than_are_known_by_id() -> None:
    case, account, contact = mailing()
    many = [new(ANNA) for _ in range(25)]
    case.given(LinkContacts.model_validate({"account_id": account, "contacts": [{"new_contact": m} for m in many]}))
    case.given(unsubscribe(account, contact), by=NOTIFIER)
    assert all(mailed(case, account, ContactId(each["id"])) == {ANNA: BUT_INVOICES} for each in many)


def test_a_wish_is_about_one_account() -> None:
    case, account, contact = mailing()
    other = case.account(new(), contact)
    case.given(unsubscribe(account, contact), by=NOTIFIER)
    assert mailed(case, other, contact) == {ANNA: set(TOPICS)}


def test_a_wish_is_recorded_though_the_link_has_ended() -> None:
    case, account, contact = mailing()
    case.given(UnlinkContact(account_id=account, contact_id=contact))
    outcome = case.when(unsubscribe(account, contact), by=NOTIFIER)
    assert outcome.types == ["NotificationPreferencesChanged"]
    case.given(PutLink(account_id=account, contact_id=contact))
    assert mailed(case, account, contact) == {ANNA: BUT_INVOICES}


def test_a_wish_is_recorded_once() -> None:
    case, account, contact = mailing()
    case.given(unsubscribe(account, contact), by=NOTIFIER)
    assert case.when(unsubscribe(account, contact), by=NOTIFIER).events == ()


def test_a_wish_that_leaves_nobody_is_warned_of() -> None:
    case, account, contact = mailing()
    assert case.when(unsubscribe(account, contact), by=NOTIFIER).codes == ["topic_uncovered"]


@pytest.mark.parametrize("by_address", [True, False])
def test_turning_a_topic_on_again_ends_the_wish_and_says_so(by_address: bool) -> None:  # noqa: FBT001
    case, account, contact = mailing()
    email_id = case.email(contact)
    case.given(unsubscribe(account, contact), by=NOTIFIER)
    outcome = case.when(on(account, contact, email_id if by_address else None, invoice=True, task=True))
    assert outcome.cautions == (
        RecipientUnsubscribed(account_id=account, contact_id=contact, email_id=email_id, topic="invoice"),
    )
    assert mailed(case, account, contact) == {ANNA: set(TOPICS)}
    assert case.when(on(account, contact)).codes == []
    case.given(*relinked(account, contact, account))
    assert mailed(case, account, contact) == {ANNA: set(TOPICS)}


def test_a_topic_that_no_link_starts_with_may_be_turned_on_after_a_wish_and_that_is_said_too() -> None:
    case = Case.under("taxdome")
    account, contact = case.linked(ANNA)
    case.given(on(account, contact), unsubscribe(account, contact), *relinked(account, contact, account))
    assert case.when(on(account, contact)).codes == ["unsubscribed"]
    assert mailed(case, account, contact) == {ANNA: {"invoice"}}


def test_turning_another_topic_on_leaves_the_wish() -> None:
    case, account, contact = mailing()
    case.given(unsubscribe(account, contact), by=NOTIFIER)
    assert case.when(on(account, contact, task=True)).codes == []
    case.given(*relinked(account, contact, account))
    assert mailed(case, account, contact) == {ANNA: BUT_INVOICES}


def test_what_is_said_for_the_link_leaves_the_wish_at_another_address() -> None:
    """Mail for the link goes to the primary address; the other one's wish holds when it becomes that."""
    case, account, contact = mailing()
    case.given(AddEmail(contact_id=contact, address="work@example.com"))
    work = case.email(contact, 1)
    case.given(on(account, contact, work, invoice=True))
    case.given(unsubscribe(account, contact, address="work@example.com"), by=NOTIFIER)
    case.given(on(account, contact, invoice=False))
    assert case.when(on(account, contact, invoice=True)).codes == []
    assert mailed(case, account, contact) == {ANNA: set(TOPICS), "work@example.com": set()}
    case.given(ChangeEmail(contact_id=contact, email_id=work, primary=True))
    assert mailed(case, account, contact) == {ANNA: set(), "work@example.com": BUT_INVOICES}


def test_staff_s_own_choice_is_no_wish() -> None:
    case, account, contact = mailing()
    case.given(on(account, contact, invoice=False))
    case.given(*relinked(account, contact, account))
    assert mailed(case, account, contact) == {ANNA: set(TOPICS)}
    assert case.when(on(account, contact)).codes == []


def test_what_a_wish_changes_is_one_event_of_its_link() -> None:
    case, account, contact = mailing()
    (event,) = case.when(unsubscribe(account, contact), by=NOTIFIER).events
    assert isinstance(event, NotificationPreferencesChanged)
    assert event.unsubscribed
    assert (event.unsubscribed.address_hash, event.unsubscribed.before, event.unsubscribed.after) == (
        hashed(ANNA),
        (),
        ("invoice",),
    )
    assert event.after.by_email == {case.email(contact): {"invoice": False}}
