"""A tenant to try things on: its first events, and short ways to write those that follow."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid4

from support.events import Log
from vinculum_shared.contracts.accounts import AccountCreated
from vinculum_shared.contracts.contacts import ContactCreated, Email
from vinculum_shared.contracts.links import AccessReason, AccessState, ContactLinked, PortalAccessChanged
from vinculum_shared.contracts.staff import Role, StaffUserAdded
from vinculum_shared.contracts.tenants import ManagerRange, ManagerRanges, Policy, PolicyChanged, TenantRegistered
from vinculum_shared.contracts.topics import FEATURES, Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, StaffId

ANY_NUMBER: Final = ManagerRange(min=0, max=None)
POLICY: Final = Policy(
    max_accounts_per_contact=None,
    min_contacts_per_account=0,
    contact_requires_account=False,
    primary_contact="optional",
    unique_contact_email=False,
    access_unit="email",
    default_features="all",
    features_fixed=False,
    ticket_visibility="account",
    default_topics="none",
    mail_without_permission="send",
    managers=ManagerRanges(account=ANY_NUMBER, opportunity=ANY_NUMBER, project=ANY_NUMBER, ticket=ANY_NUMBER),
    second_manager=False,
    notify_managers=False,
    manager_limits_access=False,
    merge_contacts=None,
    merge_accounts=None,
    import_unmatched_account="hold",
)


@dataclass
class Firm:
    log: Log
    admin_id: StaffId = field(default_factory=lambda: StaffId(uuid4()))

    @classmethod
    def registered(cls, tenant: str = "acme", **policy: object) -> "Firm":
        firm = cls(Log(tenant))
        firm.log.commit(
            TenantRegistered(tenant=tenant, name="Acme"),
            PolicyChanged(
                tenant=tenant, profile="taxdome", before=None, after=Policy.model_validate(dict(POLICY) | policy)
            ),
            StaffUserAdded(staff_id=firm.admin_id, name="Ada", email="ada@example.com", roles=("admin",)),
        )
        return firm

    def staff_user(self, *roles: Role) -> StaffId:
        staff_id = StaffId(uuid4())
        self.log.commit(StaffUserAdded(staff_id=staff_id, name="Sam", email="sam@example.com", roles=roles))
        return staff_id

    def account(self, name: str, account_id: UUID | None = None) -> AccountId:
        account_id = AccountId(account_id or uuid4())
        self.log.commit(AccountCreated(account_id=account_id, name=name, kind="company"))
        return account_id

    def contact(self, first_name: str | None = None, last_name: str | None = None, *addresses: str) -> ContactId:
        contact_id = ContactId(uuid4())
        emails = tuple(an_email(address, primary=number == 0) for number, address in enumerate(addresses))
        self.log.commit(
            ContactCreated(contact_id=contact_id, first_name=first_name, last_name=last_name, emails=emails)
        )
        return contact_id

    def emails(self, contact_id: ContactId) -> list[EmailId]:
        """Those that the contact was created with."""
        return next(
            [email.email_id for email in event.data.emails]
            for event in self.log.recorded
            if isinstance(event.data, ContactCreated) and event.data.contact_id == contact_id
        )

    def link(
        self,
        account_id: AccountId,
        contact_id: ContactId,
        *topics: Topic,
        role: str | None = None,
        effective_at: datetime | None = None,
    ) -> None:
        linked = ContactLinked(
            account_id=account_id, contact_id=contact_id, role=role, job_title="CFO", features=FEATURES, topics=topics
        )
        self.log.commit(linked, effective_at=effective_at)

    def access(
        self,
        account_id: AccountId,
        contact_id: ContactId,
        to: AccessState,
        why: AccessReason = "granted",
        number: int = 0,
    ) -> None:
        self.log.commit(
            PortalAccessChanged(
                account_id=account_id,
                contact_id=contact_id,
                email_id=self.emails(contact_id)[number],
                from_="off",
                to=to,
                why=why,
            )
        )


def an_email(address: str, *, primary: bool) -> Email:
    return Email(
        email_id=EmailId(uuid4()), address=address, address_hash=sha256(address.encode()).hexdigest(), primary=primary
    )
