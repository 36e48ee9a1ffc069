"""An event of every type, with fixed ids and times: what the golden samples say, as objects."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import orjson

from support.firms import POLICY
from vinculum_shared.contracts.accounts import (
    AccountArchived,
    AccountChanged,
    AccountCreated,
    AccountProfile,
    AccountRestored,
)
from vinculum_shared.contracts.contacts import (
    ContactChanged,
    ContactCreated,
    ContactDeactivated,
    ContactProfile,
    ContactReactivated,
    Email,
    EmailAdded,
    EmailChanged,
    EmailReleased,
    EmailRemoved,
    EmailSuppressed,
)
from vinculum_shared.contracts.envelope import Cause, Recorded, attributes, split, wire
from vinculum_shared.contracts.events import Actor, Event, Recipient
from vinculum_shared.contracts.links import (
    ContactLinked,
    ContactUnlinked,
    LinkChanged,
    LinkTerms,
    NotificationPreferences,
    NotificationPreferencesChanged,
    PermissionsChanged,
    PortalAccessChanged,
    Unsubscribed,
)
from vinculum_shared.contracts.records import RecordCreated, RecordReminded, RecordSent
from vinculum_shared.contracts.staff import Limits, StaffProfile, StaffUserAdded, StaffUserChanged, StaffUserDeactivated
from vinculum_shared.contracts.tenants import PolicyChanged, TenantChanged, TenantRegistered, TenantSettings
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, InvitationId, RecordId, StaffId


def an_id(number: int) -> UUID:
    return UUID(f"01980000-0000-7000-8000-{number:012}")


TENANT: Final = "rossi"
STAFF: Final = StaffId(an_id(1))
ACCOUNT: Final = AccountId(an_id(2))
CONTACT: Final = ContactId(an_id(3))
EMAIL: Final = EmailId(an_id(4))
SECOND_EMAIL: Final = EmailId(an_id(5))
INVITATION: Final = InvitationId(an_id(6))
RECORD: Final = RecordId(an_id(7))
EVENT: Final = an_id(8)
COMMAND: Final = an_id(9)
FIRST_COMMAND: Final = an_id(10)
CAUSE: Final = an_id(11)
RECORDED_AT: Final = datetime(2026, 3, 2, 9, 30, 0, 123456, UTC)
EFFECTIVE_AT: Final = datetime(2026, 2, 28, 23, 0, tzinfo=UTC)
HASH: Final = "9b1c0f6c2e5a4f0d8a7b6c5d4e3f2a1b"

HOME: Final = Email(email_id=EMAIL, address="ada@example.com", address_hash=HASH, label="home", primary=True)
WORK: Final = Email(email_id=SECOND_EMAIL, address_hash=HASH[::-1])
PREFERENCES: Final = NotificationPreferences(topics=("invoice", "ticket"), by_email={SECOND_EMAIL: {"invoice": False}})

EVENTS: Final[dict[str, Event]] = {
    "tenant_registered.v1": TenantRegistered(
        tenant=TENANT, name="Studio Rossi", portal_url="https://portal.example.com/rossi", locale="it"
    ),
    "tenant_registered.v1.with_reply_to": TenantRegistered(
        tenant=TENANT,
        name="Studio Rossi",
        portal_url="https://portal.example.com/rossi",
        locale="it",
        reply_to="office@rossi.example",
    ),
    "tenant_changed.v1": TenantChanged(
        tenant=TENANT,
        before=TenantSettings(name="Studio Rossi"),
        after=TenantSettings(name="Studio Rossi & Bianchi", portal_url="https://portal.example.com/rossi"),
    ),
    "tenant_changed.v1.with_reply_to": TenantChanged(
        tenant=TENANT,
        before=TenantSettings(name="Studio Rossi"),
        after=TenantSettings(
            name="Studio Rossi & Bianchi",
            portal_url="https://portal.example.com/rossi",
            reply_to="office@rossi.example",
        ),
    ),
    "policy_changed.v1": PolicyChanged(
        tenant=TENANT, profile="taxdome", before=None, after=POLICY.model_copy(update={"min_contacts_per_account": 1})
    ),
    "staff_user_added.v1": StaffUserAdded(
        staff_id=STAFF, name="Marta Rossi", email="marta@example.com", roles=("admin", "manager")
    ),
    "staff_user_changed.v1": StaffUserChanged(
        staff_id=STAFF,
        before=StaffProfile(name="Marta Rossi", email="marta@example.com", roles=("admin",)),
        after=StaffProfile(
            name="Marta Rossi", email="marta@example.com", roles=("agent",), limits=Limits(accounts=True)
        ),
    ),
    "staff_user_deactivated.v1": StaffUserDeactivated(staff_id=STAFF),
    "account_created.v1": AccountCreated(
        account_id=ACCOUNT,
        name="Caffè Lovelace S.r.l.",
        kind="company",
        details={"vat": "IT01234567890", "employees": 12, "rating": 4.5, "retainer": True, "notes": None},
        external_ids={"crm": "A-17"},
    ),
    "account_created.v1.without_personal": AccountCreated(
        account_id=ACCOUNT, kind="company", external_ids={"crm": "A-17"}
    ),
    "account_changed.v1": AccountChanged(
        account_id=ACCOUNT,
        before=AccountProfile(name="Caffè Lovelace", kind="person"),
        after=AccountProfile(name="Caffè Lovelace S.r.l.", kind="company", details={"vat": "IT01234567890"}),
    ),
    "account_changed.v1.without_personal": AccountChanged(
        account_id=ACCOUNT, before=AccountProfile(kind="person"), after=AccountProfile(kind="company")
    ),
    "account_archived.v1": AccountArchived(account_id=ACCOUNT),
    "account_restored.v1": AccountRestored(account_id=ACCOUNT),
    "contact_created.v1": ContactCreated(
        contact_id=CONTACT,
        first_name="Ada",
        last_name="Lovelace",
        phones=("+39 06 5550100",),
        locale="it-IT",
        external_ids={"crm": "C-4"},
        emails=(HOME, WORK),
    ),
    "contact_created.v1.without_personal": ContactCreated(
        contact_id=CONTACT,
        locale="it-IT",
        emails=(HOME.model_copy(update={"address": None, "label": None}), WORK),
    ),
    "contact_changed.v1": ContactChanged(
        contact_id=CONTACT,
        before=ContactProfile(first_name="Ada"),
        after=ContactProfile(first_name="Ada", last_name="Lovelace", phones=(), locale="en"),
    ),
    "email_added.v1": EmailAdded(contact_id=CONTACT, **HOME.model_dump()),
    "email_changed.v1": EmailChanged(
        contact_id=CONTACT,
        email_id=EMAIL,
        before=HOME,
        after=HOME.model_copy(update={"address": "ada.lovelace@example.com", "address_hash": HASH[::-1]}),
    ),
    "email_removed.v1": EmailRemoved(contact_id=CONTACT, **WORK.model_dump()),
    "email_suppressed.v1": EmailSuppressed(contact_id=CONTACT, address_hash="0f" * 32),
    "email_released.v1": EmailReleased(contact_id=CONTACT, address_hash="0f" * 32),
    "contact_deactivated.v1": ContactDeactivated(contact_id=CONTACT),
    "contact_reactivated.v1": ContactReactivated(contact_id=CONTACT),
    "contact_linked.v1": ContactLinked(
        account_id=ACCOUNT,
        contact_id=CONTACT,
        role="owner",
        job_title="CFO",
        primary=True,
        source="import",
        features=("invoices", "support"),
        topics=("invoice",),
    ),
    "contact_linked.v1.without_personal": ContactLinked(account_id=ACCOUNT, contact_id=CONTACT),
    "contact_unlinked.v1": ContactUnlinked(
        account_id=ACCOUNT,
        contact_id=CONTACT,
        before=LinkTerms(role="owner", job_title="CFO", primary=True),
        features=("invoices", "support"),
        preferences=PREFERENCES,
        comment="Has sold her shares.",
    ),
    "contact_unlinked.v1.without_personal": ContactUnlinked(
        account_id=ACCOUNT, contact_id=CONTACT, before=LinkTerms(role="owner")
    ),
    "link_changed.v1": LinkChanged(
        account_id=ACCOUNT,
        contact_id=CONTACT,
        before=LinkTerms(role="owner", job_title="CFO", primary=True),
        after=LinkTerms(role="owner", primary=False),
    ),
    "portal_access_changed.v1": PortalAccessChanged(
        account_id=ACCOUNT,
        contact_id=CONTACT,
        email_id=EMAIL,
        from_="off",
        to="invited",
        why="invited",
        invitation_id=INVITATION,
    ),
    "portal_access_changed.v1.with_address_hash": PortalAccessChanged(
        account_id=ACCOUNT,
        contact_id=CONTACT,
        email_id=EMAIL,
        from_="off",
        to="invited",
        why="invited",
        invitation_id=INVITATION,
        address_hash=HASH,
    ),
    "permissions_changed.v1": PermissionsChanged(
        account_id=ACCOUNT, contact_id=CONTACT, before=("invoices",), after=("invoices", "contracts")
    ),
    "notification_preferences_changed.v1": NotificationPreferencesChanged(
        account_id=ACCOUNT, contact_id=CONTACT, before=NotificationPreferences(), after=PREFERENCES
    ),
    "notification_preferences_changed.v1.unsubscribed": NotificationPreferencesChanged(
        account_id=ACCOUNT,
        contact_id=CONTACT,
        before=NotificationPreferences(topics=("invoice", "ticket")),
        after=PREFERENCES,
        unsubscribed=Unsubscribed(address_hash=HASH[::-1], after=("invoice",)),
    ),
    "record_created.v1": RecordCreated(
        record_id=RECORD,
        account_id=ACCOUNT,
        type="invoice",
        title="Bookkeeping, February",
        number="2026/17",
        amount=Decimal("1250.00"),
        due=date(2026, 3, 31),
    ),
    "record_created.v1.with_currency": RecordCreated(
        record_id=RECORD,
        account_id=ACCOUNT,
        type="invoice",
        title="Bookkeeping, February",
        number="2026/17",
        amount=Decimal("1250.00"),
        currency="EUR",
        due=date(2026, 3, 31),
    ),
    "record_sent.v1": RecordSent(
        record_id=RECORD,
        account_id=ACCOUNT,
        type="invoice",
        topic="invoice",
        recipients=(Recipient(contact_id=CONTACT, email_id=EMAIL),),
        override=True,
    ),
    "record_reminded.v1": RecordReminded(
        record_id=RECORD, account_id=ACCOUNT, type="invoice", topic="invoice", kind="overdue"
    ),
}

PLAIN: Final = Cause(TENANT, Actor(kind="service", id="crm"), COMMAND, COMMAND)
FULL: Final = Cause(
    TENANT,
    Actor(kind="staff", id=str(STAFF)),
    COMMAND,
    FIRST_COMMAND,
    causation_id=CAUSE,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    reason="moved_away",
    effective_at=EFFECTIVE_AT,
)


@dataclass(frozen=True)
class Sample:
    """An event with everything around it."""

    event: Event
    cause: Cause

    @classmethod
    def named(cls, name: str) -> "Sample":
        return cls(EVENTS[name], FULL if name.endswith("unlinked.v1") else PLAIN)

    def encoded(self) -> bytes:
        """Write it as the command service does."""
        start = attributes(self.event, EVENT, 5, 1, 3, self.cause)
        return wire(start, *split(self.event, self.cause), 10234, RECORDED_AT, self.cause.effective_at or RECORDED_AT)

    def recorded(self) -> Recorded[Event]:
        """Return it as a reader is to have it."""
        return Recorded(
            tenant=TENANT,
            position=10234,
            id=EVENT,
            type=type(self.event).__name__,
            stream=self.event.stream,
            stream_version=5,
            commit_index=1,
            commit_size=3,
            recorded_at=RECORDED_AT,
            effective_at=self.cause.effective_at or RECORDED_AT,
            actor=self.cause.actor,
            command_id=COMMAND,
            correlation_id=self.cause.correlation_id,
            causation_id=self.cause.causation_id,
            traceparent=self.cause.traceparent,
            reason=self.cause.reason,
            data=self.event,
            data_json=orjson.loads(self.encoded())["data"],
        )
