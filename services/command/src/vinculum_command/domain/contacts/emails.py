"""A contact's addresses, and what a change of one does to the logins by it (trap 3)."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from vinculum_command.domain.access import beside, pair_keys, settle_address
from vinculum_command.domain.commands import Command, Decision, Rejections, new_id
from vinculum_command.domain.contacts.profiles import EMAILS_MAX, NewEmail, as_email, check_free
from vinculum_command.domain.contacts.suppression import suppressed
from vinculum_command.domain.heads.contacts import Contact, Login
from vinculum_command.domain.heads.links import Link, Memberships
from vinculum_command.domain.heads.view import LINKS_AT_ONCE_MAX, Enumeration, Heads, Readable
from vinculum_command.domain.notifications import ACCOUNTS_WARNED_OF_MAX, topics_reaching, uncovered
from vinculum_command.domain.rejections import ContactInactive, EmailTaken, IdTaken, TooManyInvitations
from vinculum_command.domain.unsubscriptions import keep_off
from vinculum_shared.contracts.addresses import NewAddress
from vinculum_shared.contracts.contacts import Email, EmailAdded, EmailChanged, EmailRemoved
from vinculum_shared.contracts.events import Recipient
from vinculum_shared.contracts.values import ContactId, EmailId, Flag, Name
from vinculum_shared.problems import Invalid


class AddEmail(Command):
    """Add an address to a contact. The first one is the primary one. An address that it has already stays as it is."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")
    RAISES: ClassVar[Rejections] = (ContactInactive, IdTaken, EmailTaken)

    contact_id: ContactId
    id: EmailId = Field(default_factory=new_id)
    address: NewAddress
    label: Name | None = None
    primary: Flag = False

    def answer_id(self, heads: Heads) -> str:
        held = self._held(heads)
        assert held
        return str(held.email_id)

    def creates(self, heads: Heads) -> bool:
        return any(isinstance(recording.event, EmailAdded) for recording in heads.recorded)

    def reads(self) -> Iterable[Readable]:
        yield Memberships.key(contact_id=self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        heads.check_active(contact_id=self.contact_id)
        contact = heads.contact(self.contact_id)
        if self._held(heads):
            return
        if contact.email(self.id):
            raise IdTaken(email_id=self.id)
        if len(contact.emails) >= EMAILS_MAX:
            detail = f"A contact has at most {EMAILS_MAX} addresses. Remove one first."
            raise Invalid.at("/address", "too_many", detail)
        new = NewEmail(id=self.id, address=self.address, label=self.label)
        email = as_email(heads, new, primary=self.primary or not contact.emails)
        heads.prefetch([Login.key(address_hash=email.address_hash)])
        check_free(heads, email)
        unwanted = _unwanted(heads, self.contact_id, email)  # what is turned off is all that moves mail from somebody
        reached = topics_reaching(heads, unwanted[:ACCOUNTS_WARNED_OF_MAX])
        if email.primary:
            yield from _primary_no_more(contact, self.contact_id)
        yield EmailAdded.of(email, contact_id=self.contact_id)
        yield from _keep_off(heads, unwanted, email)
        yield from uncovered(heads, reached)
        yield from suppressed(heads, [Recipient(contact_id=self.contact_id, email_id=email.email_id)])

    def _held(self, heads: Heads) -> Email | None:
        """Return the address as the contact has it, if it does."""
        return heads.known_contact(self.contact_id).holding(heads.hashed(self.address))


class ChangeEmail(Command):
    """Correct, label, or prefer an address. Another address must be invited anew."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")
    RAISES: ClassVar[Rejections] = (ContactInactive, EmailTaken, TooManyInvitations)

    contact_id: ContactId
    email_id: EmailId
    address: NewAddress = ""
    label: Name | None = None
    primary: Flag | None = None

    def reads(self) -> Iterable[Readable]:
        yield Memberships.key(contact_id=self.contact_id)
        if self.model_fields_set & {"address", "primary"}:
            yield Enumeration(contact_id=self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        contact = heads.contact(self.contact_id)
        before = heads.email(self.contact_id, self.email_id)
        heads.check_active(contact_id=self.contact_id)
        after = self._after(heads, before)
        if after == before:
            return
        changed = EmailChanged(contact_id=self.contact_id, email_id=self.email_id, before=before, after=after)
        moved, preferred = after.address_hash != before.address_hash, after.primary and not before.primary
        if not moved and not preferred:
            yield changed
            return
        links = self._links(heads, moved=moved)
        logins = [Login.key(address_hash=each.address_hash) for each in (before, after)] if moved else []
        heads.prefetch([*logins, *beside(links)])
        if moved:
            if contact.holding(after.address_hash):
                detail = "The contact has this address already, as another one of its addresses. Remove one of the two."
                raise EmailTaken(detail, contact_id=self.contact_id)
            check_free(heads, after)
        reached = topics_reaching(heads, links[:ACCOUNTS_WARNED_OF_MAX])
        if preferred:
            yield from _primary_no_more(contact, self.contact_id)
        yield changed
        if moved:
            yield from settle_address(heads, self.contact_id, self.email_id)
            yield from _keep_off(heads, _unwanted(heads, self.contact_id, after), after)
            yield from suppressed(heads, [Recipient(contact_id=self.contact_id, email_id=self.email_id)])
        yield from uncovered(heads, reached)

    def _after(self, heads: Heads, before: Email) -> Email:
        after = self.changed(before)
        if before.primary and not after.primary:
            detail = "Make another address the primary one."
            raise Invalid.at("/primary", "primary_required", detail)
        return after.evolve(address_hash=heads.hashed(self.address)) if self.address and after != before else after

    def _links(self, heads: Heads, *, moved: bool) -> list[Link]:
        """Return the links to look at: all of them where the address moves, else those that are warned of."""
        links, more = heads.links(Enumeration(contact_id=self.contact_id))
        if not moved:
            return links[:ACCOUNTS_WARNED_OF_MAX]
        if more:  # in one commit or not at all: an address that was not invited must open nothing
            detail = f"The contact has over {LINKS_AT_ONCE_MAX} accounts. Add the new address, and remove this one."
            raise Invalid.at("/address", "too_many_links", detail)
        return links


class RemoveEmail(Command):
    """Take an address away, and every login by it."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")

    contact_id: ContactId
    email_id: EmailId

    def reads(self) -> Iterable[Readable]:
        yield Memberships.key(contact_id=self.contact_id)
        yield Enumeration(contact_id=self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        contact = heads.contact(self.contact_id)
        email = heads.email(self.contact_id, self.email_id)
        links = heads.links(Enumeration(contact_id=self.contact_id)).found
        heads.prefetch([Login.key(address_hash=email.address_hash), *beside(links)])
        reached = topics_reaching(heads, links[:ACCOUNTS_WARNED_OF_MAX])
        yield EmailRemoved.of(email, contact_id=self.contact_id)
        others = [other for other in contact.emails if other.email_id != self.email_id]
        if email.primary and others:
            after = others[0].evolve(primary=True)
            yield EmailChanged(contact_id=self.contact_id, email_id=after.email_id, before=others[0], after=after)
        yield from settle_address(heads, self.contact_id, self.email_id)
        yield from uncovered(heads, reached)


def _unwanted(heads: Heads, contact_id: ContactId, email: Email) -> list[Link]:
    """Return the contact's links to accounts whose mail the recipient at an address has unsubscribed from."""
    accounts = list(heads.login(email.address_hash).unsubscribed)
    heads.prefetch(key for account_id in accounts for key in pair_keys(account_id, contact_id))
    links = [heads.link(account_id, contact_id) for account_id in accounts]
    return [link for link in links if link.linked]


def _keep_off(heads: Heads, unwanted: Iterable[Link], email: Email) -> Decision:
    """Keep off what the recipient at a new address has unsubscribed from, on these links of the contact."""
    for link in unwanted:
        yield from keep_off(heads, *link.ids, email)


def _primary_no_more(contact: Contact, contact_id: ContactId) -> Iterable[EmailChanged]:
    for email in contact.emails:
        if email.primary:
            after = email.evolve(primary=False)
            yield EmailChanged(contact_id=contact_id, email_id=email.email_id, before=email, after=after)
