"""A firm with an account whose contacts get mail about its invoices."""

from datetime import UTC, datetime
from uuid import uuid4

from support.firms import Firm, an_email
from vinculum_shared.contracts.contacts import Email, EmailChanged
from vinculum_shared.contracts.links import ContactUnlinked, LinkTerms, PortalAccessChanged
from vinculum_shared.contracts.records import RecordCreated, RecordReminded
from vinculum_shared.contracts.tenants import TenantChanged, TenantSettings
from vinculum_shared.contracts.values import AccountId, ContactId, InvitationId, RecordId


class Billing(Firm):
    account_id: AccountId
    contact_id: ContactId
    invoice_id: RecordId

    @classmethod
    def with_addresses(cls, *addresses: str, tenant: str = "acme") -> "Billing":
        """A contact for each address; `contact_id` is the last."""
        firm = Firm.registered(tenant)
        billing = cls(firm.log, firm.admin_id)
        settings = TenantSettings(name="Acme", portal_url="https://portal.example.com")
        billing.log.commit(TenantChanged(tenant=tenant, before=settings, after=settings))
        billing.log.now = datetime.now(UTC)
        account = billing.account_id = billing.account("Rossi")
        for address in addresses:
            contact = billing.contact_id = billing.contact("Anna", None, address)
            billing.link(account, contact, "invoice")
        invoice = billing.invoice_id = RecordId(uuid4())
        billing.log.commit(RecordCreated(record_id=invoice, account_id=account, type="invoice", number="17"))
        return billing

    def unlink(self, contact_id: ContactId) -> None:
        self.log.commit(ContactUnlinked(account_id=self.account_id, contact_id=contact_id, before=LinkTerms()))

    def correct(self, address: str) -> None:
        """Correct the address of `contact_id`."""
        email_id, after = self.emails(self.contact_id)[0], an_email(address, primary=True)
        self.log.commit(
            EmailChanged(
                contact_id=self.contact_id,
                email_id=email_id,
                before=Email(email_id=email_id, address_hash="", primary=True),
                after=after.model_copy(update={"email_id": email_id}),
            )
        )

    def remind(self) -> None:
        self.log.commit(
            RecordReminded(
                record_id=self.invoice_id, account_id=self.account_id, type="invoice", topic="invoice", kind="overdue"
            )
        )

    def invite(self) -> None:
        self.log.commit(
            PortalAccessChanged(
                account_id=self.account_id,
                contact_id=self.contact_id,
                email_id=self.emails(self.contact_id)[0],
                from_="off",
                to="invited",
                why="invited",
                invitation_id=InvitationId(uuid4()),
            )
        )
