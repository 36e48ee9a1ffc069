"""Contacts that are inactive for a while, or for good."""

from collections.abc import Iterable
from typing import ClassVar

from vinculum_command.domain.access import beside, settle_contact
from vinculum_command.domain.commands import Command, Decision
from vinculum_command.domain.heads.links import Memberships
from vinculum_command.domain.heads.view import Enumeration, Heads, Readable
from vinculum_command.domain.notifications import ACCOUNTS_WARNED_OF_MAX, topics_reaching, uncovered
from vinculum_shared.contracts.contacts import ContactDeactivated, ContactReactivated
from vinculum_shared.contracts.values import ContactId


class DeactivateContact(Command):
    """Suspend all that a contact may enter. Its links stay."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")

    contact_id: ContactId

    def reads(self) -> Iterable[Readable]:
        yield Memberships.key(contact_id=self.contact_id)
        yield Enumeration(contact_id=self.contact_id)
        yield Enumeration(contact_id=self.contact_id, entry="on")

    def decide(self, heads: Heads) -> Decision:
        if heads.contact(self.contact_id).inactive:
            return
        links = heads.links(Enumeration(contact_id=self.contact_id)).found[:ACCOUNTS_WARNED_OF_MAX]
        entered = heads.links(Enumeration(contact_id=self.contact_id, entry="on")).found
        heads.prefetch(beside([*links, *entered]))
        reached = topics_reaching(heads, links)
        yield ContactDeactivated(contact_id=self.contact_id)
        yield from settle_contact(heads, self.contact_id)
        yield from uncovered(heads, reached)


class ReactivateContact(Command):
    """Give back each access as it was; what was an invitation is sent anew."""

    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")

    contact_id: ContactId

    def reads(self) -> Iterable[Readable]:
        yield Memberships.key(contact_id=self.contact_id)
        yield Enumeration(contact_id=self.contact_id, entry="suspended")

    def decide(self, heads: Heads) -> Decision:
        if heads.contact(self.contact_id).inactive:
            yield ContactReactivated(contact_id=self.contact_id)
            yield from settle_contact(heads, self.contact_id)
