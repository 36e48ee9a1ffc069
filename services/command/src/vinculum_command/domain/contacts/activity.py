"""Contacts that are inactive for a while, or for good."""

from collections.abc import Iterable
from typing import ClassVar

from vinculum_command.domain.access import settle_contact
from vinculum_command.domain.commands import Command, Decision
from vinculum_command.domain.heads.view import Enumeration, Heads, Readable
from vinculum_command.domain.notifications import ACCOUNTS_WARNED_OF_MAX, uncovered
from vinculum_shared.contracts.contacts import ContactDeactivated, ContactReactivated
from vinculum_shared.contracts.topics import TOPICS
from vinculum_shared.contracts.values import ContactId
from vinculum_shared.recipients import wants_anywhere


class DeactivateContact(Command):
    """Suspend all that a contact may enter. Its links stay."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")

    contact_id: ContactId

    def reads(self) -> Iterable[Readable]:
        yield f"memberships/{self.contact_id}"
        yield Enumeration(contact_id=self.contact_id)
        yield Enumeration(contact_id=self.contact_id, entry="on")

    def decide(self, heads: Heads) -> Decision:
        if heads.contact(self.contact_id).inactive:
            return
        links = heads.links(Enumeration(contact_id=self.contact_id))[:ACCOUNTS_WARNED_OF_MAX]
        yield ContactDeactivated(contact_id=self.contact_id)
        yield from settle_contact(heads, self.contact_id)
        lost = {
            link.account_id: [topic for topic in TOPICS if wants_anywhere(link.preferences, topic)]
            for link in links
            if link.account_id
        }
        yield from uncovered(heads, lost)


class ReactivateContact(Command):
    """Give back each access as it was; what was an invitation is sent anew."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")

    contact_id: ContactId

    def reads(self) -> Iterable[Readable]:
        yield f"memberships/{self.contact_id}"
        yield Enumeration(contact_id=self.contact_id, entry="suspended")

    def decide(self, heads: Heads) -> Decision:
        if heads.contact(self.contact_id).inactive:
            yield ContactReactivated(contact_id=self.contact_id)
            yield from settle_contact(heads, self.contact_id)
