"""Who gets which mail about an event, and what stops it on its way."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from support.events import Log
from support.firms import Firm
from vinculum_notifier.known import Known
from vinculum_notifier.routing import Notification, obstacle, readdressed, route
from vinculum_shared.contracts.accounts import AccountArchived
from vinculum_shared.contracts.contacts import ContactDeactivated, Email, EmailChanged, EmailRemoved
from vinculum_shared.contracts.events import Actor, Recipient
from vinculum_shared.contracts.links import (
    ContactLinked,
    ContactUnlinked,
    LinkTerms,
    NotificationPreferences,
    NotificationPreferencesChanged,
    PermissionsChanged,
    PortalAccessChanged,
)
from vinculum_shared.contracts.records import RecordReminded, RecordSent
from vinculum_shared.contracts.tenants import TenantChanged, TenantSettings
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, InvitationId, RecordId

pytestmark = pytest.mark.unit

INVOICE = RecordId(UUID(int=7))


def routed(log: Log) -> list[Notification]:
    """What a whole log gives, event after event."""
    known = Known(log.tenant)
    rows = []
    for event in log.recorded:
        known.apply(event)
        rows += route(event, known)
    return rows


def outcomes(log: Log) -> list[tuple[str, str, str]]:
    return [(row.to.address if row.to else "", row.outcome, row.reason) for row in routed(log)]


def reminder(account_id: AccountId) -> RecordReminded:
    return RecordReminded(record_id=INVOICE, account_id=account_id, type="invoice", topic="invoice", kind="overdue")


def sending(firm: Firm, account_id: AccountId, *contacts: ContactId, override: bool = False) -> RecordSent:
    to = tuple(Recipient(contact_id=each, email_id=firm.emails(each)[0]) for each in contacts)
    return RecordSent(
        record_id=INVOICE, account_id=account_id, type="invoice", topic="invoice", recipients=to, override=override
    )


def preferring(account_id: AccountId, contact_id: ContactId, *topics: Topic) -> NotificationPreferencesChanged:
    return NotificationPreferencesChanged(
        account_id=account_id,
        contact_id=contact_id,
        before=NotificationPreferences(),
        after=NotificationPreferences(topics=topics),
    )


def invited(firm: Firm, account_id: AccountId, contact_id: ContactId) -> PortalAccessChanged:
    return PortalAccessChanged(
        account_id=account_id,
        contact_id=contact_id,
        email_id=firm.emails(contact_id)[0],
        from_="off",
        to="invited",
        why="invited",
        invitation_id=InvitationId(uuid4()),
    )


def test_an_invitation_goes_to_the_invited_address() -> None:
    firm = Firm.registered()
    account, contact = firm.account("Rossi"), firm.contact("Anna", "Rossi", "anna@example.com", "other@example.com")
    firm.link(account, contact)
    firm.log.commit(invited(firm, account, contact))
    (row,) = routed(firm.log)
    assert (row.topic, row.outcome, row.reason) == ("invitation", "queued", "invited")
    assert row.to
    assert row.to.address == "anna@example.com"


def test_access_that_is_granted_or_taken_is_not_mailed() -> None:
    firm = Firm.registered()
    account, contact = firm.account("Rossi"), firm.contact("Anna", "Rossi", "anna@example.com")
    firm.link(account, contact)
    firm.access(account, contact, "active")
    firm.access(account, contact, "off", "revoked")
    assert outcomes(firm.log) == []


def test_a_sent_record_goes_to_its_recipients_whatever_they_prefer() -> None:
    """RecordSent's recipients are final."""
    firm = Firm.registered()
    account, anna = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com")
    bruno = firm.contact("Bruno", None, "bruno@example.com")
    firm.link(account, anna)
    firm.link(account, bruno, "invoice")
    firm.log.commit(sending(firm, account, anna, override=True))
    assert outcomes(firm.log) == [("anna@example.com", "queued", "chosen")]


def test_a_record_sent_to_nobody_leaves_a_row() -> None:
    """Zero recipients are visible (PX-8)."""
    firm = Firm.registered()
    account = firm.account("Rossi")
    firm.log.commit(sending(firm, account))
    assert outcomes(firm.log) == [("", "nobody", "no_recipient")]


def test_a_reminder_goes_to_those_with_the_topic_on() -> None:
    """Five contacts, one flag: one mail (PX-10)."""
    firm = Firm.registered()
    account = firm.account("Rossi")
    for number in range(5):
        contact = firm.contact("Contact", str(number), f"contact{number}@example.com")
        firm.link(account, contact, *(["invoice"] if number == 3 else ["task"]))  # type: ignore[arg-type]
    firm.log.commit(reminder(account))
    assert outcomes(firm.log) == [("contact3@example.com", "queued", "preference")]


def test_preferences_count_as_they_were_at_the_event() -> None:
    firm = Firm.registered()
    account, contact = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com")
    firm.link(account, contact)
    firm.log.commit(reminder(account))
    firm.log.commit(preferring(account, contact, "invoice"))
    firm.log.commit(reminder(account))
    firm.log.commit(preferring(account, contact))
    firm.log.commit(reminder(account))
    assert [outcome for _, outcome, _ in outcomes(firm.log)] == ["nobody", "queued", "nobody"]


def test_an_unlinked_contact_is_not_reminded_and_starts_anew_when_linked_again() -> None:
    firm = Firm.registered()
    account, contact = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com")
    firm.link(account, contact, "invoice")
    firm.log.commit(ContactUnlinked(account_id=account, contact_id=contact, before=LinkTerms()))
    firm.log.commit(reminder(account))
    firm.link(account, contact)
    firm.log.commit(reminder(account))
    assert [outcome for _, outcome, _ in outcomes(firm.log)] == ["nobody", "nobody"]


def test_an_address_has_its_own_choice() -> None:
    """Same contact, two addresses, different settings (trap 4)."""
    firm = Firm.registered()
    account, contact = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com", "books@example.com")
    first, second = firm.emails(contact)
    firm.link(account, contact, "invoice")
    own = NotificationPreferences(topics=("invoice",), by_email={first: {"invoice": False}, second: {"invoice": True}})
    firm.log.commit(
        NotificationPreferencesChanged(
            account_id=account, contact_id=contact, before=NotificationPreferences(topics=("invoice",)), after=own
        )
    )
    firm.log.commit(reminder(account))
    assert outcomes(firm.log) == [("books@example.com", "queued", "preference")]


def test_who_may_not_see_it_is_held_where_the_policy_says_so() -> None:
    firm = Firm.registered(mail_without_permission="hold")
    account, anna = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com")
    bruno = firm.contact("Bruno", None, "bruno@example.com")
    firm.link(account, anna, "invoice")
    firm.link(account, bruno, "invoice")
    firm.log.commit(PermissionsChanged(account_id=account, contact_id=anna, before=("invoices",), after=()))
    firm.log.commit(reminder(account))
    firm.log.commit(sending(firm, account, bruno))
    expected = [("anna@example.com", "held", "no_permission"), ("bruno@example.com", "queued", "preference")]
    assert sorted(outcomes(firm.log)) == sorted(expected * 2)


def test_nobody_is_told_what_he_did_himself() -> None:
    firm = Firm.registered()
    account, contact = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com")
    firm.link(account, contact, "invoice")
    firm.log.commit(reminder(account), actor=Actor(kind="contact", id=str(contact)))
    assert outcomes(firm.log) == [("", "nobody", "no_recipient")]


def test_an_erased_address_gets_nothing() -> None:
    firm = Firm.registered()
    account, contact = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com")
    firm.link(account, contact, "invoice")
    email_id = firm.emails(contact)[0]
    erased = Email(email_id=email_id, address=None, address_hash="", primary=True)
    firm.log.commit(EmailChanged(contact_id=contact, email_id=email_id, before=erased, after=erased))
    firm.log.commit(reminder(account))
    assert outcomes(firm.log) == [("", "skipped", "no_address")]


def test_a_row_has_the_same_id_however_often_its_event_is_read() -> None:
    firm = Firm.registered()
    account, contact = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com")
    firm.link(account, contact, "invoice")
    firm.log.commit(reminder(account))
    firm.log.commit(reminder(account))
    first, second = routed(firm.log)
    assert [row.id for row in routed(firm.log)] == [first.id, second.id]
    assert first.id != second.id


class Due:
    """An invitation and a reminder that are queued, and what is known then."""

    def __init__(self, mail_without_permission: str = "send") -> None:
        self.firm = Firm.registered(mail_without_permission=mail_without_permission)
        self.log = self.firm.log
        self.account = self.firm.account("Rossi")
        self.contact = self.firm.contact("Anna", None, "anna@example.com")
        self.email_id: EmailId = self.firm.emails(self.contact)[0]
        self.ids = {"account_id": self.account, "contact_id": self.contact}
        settings = TenantSettings(name="Acme", portal_url="https://portal.example.com")
        self.log.commit(TenantChanged(tenant="acme", before=settings, after=settings))
        self.firm.link(self.account, self.contact, "invoice")
        self.log.commit(invited(self.firm, self.account, self.contact))
        self.log.commit(reminder(self.account))
        self.queued: dict[str, Notification] = {row.topic: row for row in routed(self.log)}

    @property
    def known(self) -> Known:
        known = Known("acme")
        for event in self.log.recorded:
            known.apply(event)
        return known

    def obstacles(self, *, suppressed: bool = False, unsubscribed: bool = False) -> tuple[str | None, str | None]:
        return tuple(self._obstacles(suppressed=suppressed, unsubscribed=unsubscribed))  # type: ignore[return-value]

    def _obstacles(self, *, suppressed: bool, unsubscribed: bool) -> Iterator[str | None]:
        for topic in ("invitation", "invoice"):
            yield obstacle(
                self.queued[topic],
                self.known,
                suppressed=suppressed,
                unsubscribed=unsubscribed and topic == "invoice",
                sent_there=False,
                now=self.log.now,
            )


def test_nothing_stands_in_the_way_of_a_mail_when_nothing_has_changed() -> None:
    assert Due().obstacles() == (None, None)


def test_mail_on_its_way_is_stopped_by_an_unlink() -> None:
    due = Due()
    due.log.commit(ContactUnlinked(account_id=due.account, contact_id=due.contact, before=LinkTerms()))
    assert due.obstacles() == ("unlinked", "unlinked")


def test_mail_on_its_way_is_stopped_by_archiving_the_account() -> None:
    due = Due()
    due.log.commit(AccountArchived(account_id=due.account))
    assert due.obstacles() == ("account_archived", "account_archived")


def test_mail_on_its_way_is_stopped_by_deactivating_the_contact() -> None:
    due = Due()
    due.log.commit(ContactDeactivated(contact_id=due.contact))
    assert due.obstacles() == ("contact_inactive", "contact_inactive")


def test_mail_on_its_way_follows_an_address_that_is_corrected_and_ends_with_it() -> None:
    due = Due()
    before = Email(email_id=due.email_id, address="anna@example.com", address_hash="1", primary=True)
    after = before.model_copy(update={"address": "new@example.com", "address_hash": "2"})
    due.log.commit(EmailChanged(contact_id=due.contact, email_id=due.email_id, before=before, after=after))
    assert due.obstacles() == (None, None)
    to = readdressed(due.queued["invoice"], due.known).addressee
    assert (to.address, to.address_hash) == ("new@example.com", "2")
    due.log.commit(EmailRemoved.of(after, contact_id=due.contact))
    assert due.obstacles() == ("no_address", "no_address")


def test_a_suppressed_address_gets_nothing() -> None:
    assert Due().obstacles(suppressed=True) == ("address_suppressed", "address_suppressed")


def test_unsubscribing_stops_mail_about_the_topic_alone() -> None:
    assert Due().obstacles(unsubscribed=True) == (None, "unsubscribed")


def test_a_preference_switched_off_stops_mail_about_the_topic() -> None:
    due = Due()
    due.log.commit(preferring(due.account, due.contact))
    assert due.obstacles() == (None, "preference_off")


def test_a_permission_taken_away_stops_mail_where_the_policy_holds_it() -> None:
    for policy, expected in (("hold", "permission_removed"), ("send", None)):
        due = Due(policy)
        due.log.commit(
            PermissionsChanged(account_id=due.account, contact_id=due.contact, before=("invoices",), after=())
        )
        assert due.obstacles() == (None, expected)


def test_a_revoked_invitation_is_not_sent() -> None:
    due = Due()
    due.firm.access(due.account, due.contact, "off", "revoked")
    assert due.obstacles() == ("revoked", None)


def test_an_invitation_gives_way_to_a_newer_one() -> None:
    due = Due()
    due.log.commit(invited(due.firm, due.account, due.contact))
    assert due.obstacles() == ("superseded", None)


def test_an_invitation_ends_after_48_hours() -> None:
    due = Due()
    due.log.now = due.queued["invitation"].expires_at
    assert due.obstacles() == ("expired", None)


def test_without_a_portal_there_is_nothing_to_invite_to() -> None:
    due = Due()
    before = TenantSettings(name="Acme", portal_url="https://portal.example.com")
    due.log.commit(TenantChanged(tenant="acme", before=before, after=TenantSettings(name="Acme")))
    assert due.obstacles() == ("no_portal", None)


def test_a_choice_by_hand_beats_preference_and_hold() -> None:
    """PX-13."""
    firm = Firm.registered(mail_without_permission="hold")
    account, contact = firm.account("Rossi"), firm.contact("Anna", None, "anna@example.com")
    firm.log.commit(ContactLinked(account_id=account, contact_id=contact))
    firm.log.commit(sending(firm, account, contact, override=True))
    (mail,) = routed(firm.log)
    known = Known("acme")
    for event in firm.log.recorded:
        known.apply(event)
    assert obstacle(mail, known, suppressed=False, unsubscribed=False, sent_there=False, now=firm.log.now) is None
