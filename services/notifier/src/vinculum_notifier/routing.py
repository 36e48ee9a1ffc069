"""Who gets which mail about an event, and who no longer does when it is about to be sent. Pure.

Routing is a table: the type of the event gives the function that finds those concerned; a record's type gives the
topic's mails. `route` decides on what is known as of the event. `obstacle` looks again at what is known now, and can
only take away; `readdressed` follows a recipient whose address was corrected.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid5

from vinculum_notifier.known import Access, Contact, Known, Link, Tenant
from vinculum_notifier.outcomes import Obstacle, Outcome, Reason
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event, Recipient
from vinculum_shared.contracts.links import INVITATION_VALID, PortalAccessChanged
from vinculum_shared.contracts.records import RecordReminded, RecordSent, RecordType, ReminderKind
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.recipients import Held, candidates, is_held, wants

MailTopic = Topic | Literal["invitation"]


@dataclass(frozen=True, slots=True)
class RecordMails:
    """The mails about records of a type: the names of their templates."""

    sent: str
    reminders: dict[ReminderKind, str]


RECORD_MAILS: Final[dict[RecordType, RecordMails]] = {
    "invoice": RecordMails(sent="invoice_sent", reminders={"overdue": "invoice_overdue"}),
}


@dataclass(frozen=True, slots=True)
class Addressee:
    """An address of a contact, as it was at the event; empty if it was gone by then, or is erased."""

    contact_id: UUID
    email_id: UUID
    address: str
    address_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A row of the ledger: one mail to one address, or why there is none."""

    tenant: str
    event_id: UUID
    position: int
    recorded_at: datetime
    topic: MailTopic
    template: str
    outcome: Outcome
    reason: Reason
    account_id: UUID | None
    record_id: UUID | None = None
    invitation_id: UUID | None = None
    traceparent: str | None = None
    to: Addressee | None = None

    @property
    def id(self) -> UUID:
        """The same for the same (event, recipient, topic), however often the event is read."""
        return uuid5(self.event_id, f"{self.to.email_id if self.to else 'nobody'}/{self.topic}")

    @property
    def addressee(self) -> Addressee:
        """The addressee of a mail that is queued: there always is one."""
        assert self.to is not None
        return self.to

    @property
    def expires_at(self) -> datetime:
        """When an invitation ends, sent or not."""
        return self.recorded_at + INVITATION_VALID


def route(event: Recorded[Event], known: Known) -> list[Notification]:
    """Give the ledger's rows of an event, on what is known as of it."""
    find = ROUTES.get(type(event.data))
    return list(find(event, known)) if find else []


def invitation(event: Recorded[PortalAccessChanged], known: Known) -> Iterator[Notification]:
    access = event.data
    if access.to == "invited" and access.invitation_id:
        to = addressee(known, access.contact_id, access.email_id)
        yield notification(
            event, to, "invited", topic="invitation", template="invitation", invitation_id=access.invitation_id
        )


def sent(event: Recorded[RecordSent], known: Known) -> Iterator[Notification]:
    record = event.data
    reason: Reason = "chosen" if record.override else "preference"
    found = [(reason, recipient) for recipient in record.recipients]
    if not record.override:
        found += [(reason, recipient) for reason, recipient in wanted(event, known) if reason == "no_permission"]
    yield from about_record(event, known, RECORD_MAILS[record.type].sent, found)


def reminded(event: Recorded[RecordReminded], known: Known) -> Iterator[Notification]:
    template = RECORD_MAILS[event.data.type].reminders[event.data.kind]
    yield from about_record(event, known, template, wanted(event, known))


ROUTES: Final[dict[type[Event], Callable[[Recorded[Any], Known], Iterator[Notification]]]] = {
    PortalAccessChanged: invitation,
    RecordSent: sent,
    RecordReminded: reminded,
}


def wanted(event: Recorded[RecordSent] | Recorded[RecordReminded], known: Known) -> Iterator[tuple[Reason, Recipient]]:
    """Give who wants mail about the record's topic, those who may not have it too."""
    record = event.data
    members = known.members(record.account_id) if record.account_id else ()
    policy = known.tenant.mail_without_permission
    for candidate in candidates(record.topic, members, mail_without_permission=policy):
        if isinstance(candidate, Held):
            yield "no_permission", candidate.recipient
        else:
            yield "preference", candidate


def about_record(
    event: Recorded[RecordSent] | Recorded[RecordReminded],
    known: Known,
    template: str,
    found: Iterable[tuple[Reason, Recipient]],
) -> Iterator[Notification]:
    """Give a row for each recipient but the actor; if there is none, that is a row too (PX-8)."""
    record = event.data
    to = [(why, addressee(known, each.contact_id, each.email_id)) for why, each in found if not acts(event, each)]
    nobody: list[tuple[Reason, None]] = [("no_recipient", None)]
    for reason, each in to or nobody:
        yield notification(event, each, reason, topic=record.topic, template=template, record_id=record.record_id)


def acts(event: Recorded[Event], recipient: Recipient) -> bool:
    """Tell if the recipient caused the event: nobody is told of their own doing."""
    return event.actor.kind == "contact" and event.actor.id == str(recipient.contact_id)


def addressee(known: Known, contact_id: UUID, email_id: UUID) -> Addressee:
    contact = known.contact(contact_id)
    email = contact.email(email_id) if contact else None
    return Addressee(
        contact_id=contact_id,
        email_id=email_id,
        address=(email.address or "") if email else "",
        address_hash=email.address_hash if email else "",
    )


def notification(
    event: Recorded[PortalAccessChanged] | Recorded[RecordSent] | Recorded[RecordReminded],
    to: Addressee | None,
    reason: Reason,
    *,
    topic: MailTopic,
    template: str,
    record_id: UUID | None = None,
    invitation_id: UUID | None = None,
) -> Notification:
    outcome = OUTCOMES.get(reason, "queued")
    if outcome == "queued" and (to is None or not to.address):
        outcome, reason = "skipped", "no_address"
    return Notification(
        tenant=event.tenant,
        event_id=event.id,
        position=event.position,
        recorded_at=event.recorded_at,
        topic=topic,
        template=template,
        outcome=outcome,
        reason=reason,
        account_id=event.data.account_id,
        record_id=record_id,
        invitation_id=invitation_id,
        traceparent=event.traceparent,
        to=to,
    )


OUTCOMES: Final[dict[Reason, Outcome]] = {"no_permission": "held", "no_recipient": "nobody"}


def readdressed(mail: Notification, known: Known) -> Notification:
    """Return the mail with the recipient's address as it is now: it may have been corrected since the event."""
    now = addressee(known, mail.addressee.contact_id, mail.addressee.email_id)
    return replace(mail, to=now) if now.address else mail


def obstacle(
    mail: Notification, known: Known, *, suppressed: bool, unsubscribed: bool, sent_there: bool, now: datetime
) -> Obstacle | None:
    """Give the reason why a queued mail must not be sent any more, if there is one.

    `sent_there`: a mail about the same event was sent to the same address.
    """
    to = mail.addressee
    link = known.link(mail.account_id, to.contact_id) if mail.account_id else None
    account = known.account(mail.account_id) if mail.account_id else None
    if link is None:
        return "unlinked"
    if account is None or account.archived:
        return "account_archived"
    contact = known.contact(to.contact_id)
    return (
        unreachable(to, contact)
        or ("address_suppressed" if suppressed else None)
        or ("unsubscribed" if unsubscribed else None)
        or (
            no_invitation(mail, link.access.get(to.email_id), known.tenant, now)
            if mail.topic == "invitation"
            else unwanted(mail, mail.topic, contact, link, known.tenant)
        )
        or ("same_address" if sent_there else None)
    )


def unreachable(to: Addressee, contact: Contact | None) -> Obstacle | None:
    email = contact.email(to.email_id) if contact else None
    if contact is None or not contact.active:
        return "contact_inactive"
    return "no_address" if email is None or email.address is None else None


def no_invitation(mail: Notification, access: Access | None, tenant: Tenant, now: datetime) -> Obstacle | None:
    if access is None or access.state != "invited":
        return "revoked"
    if access.invitation_id != mail.invitation_id:
        return "superseded"
    if now >= mail.expires_at:
        return "expired"
    return None if tenant.portal_url else "no_portal"


def unwanted(mail: Notification, topic: Topic, contact: Contact | None, link: Link, tenant: Tenant) -> Obstacle | None:
    if mail.reason == "chosen":
        return None
    email = contact.email(mail.addressee.email_id) if contact else None
    if email is None or not wants(link.preferences, topic, email):
        return "preference_off"
    return "permission_removed" if is_held(topic, link.features, tenant.mail_without_permission) else None
