"""Addresses that mail can't arrive at: the notifier reports them, and commands that cause mail to them warn."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from vinculum_command.domain.commands import AddressSuppressed, Command, Decision, Needs
from vinculum_command.domain.heads.contacts import Login
from vinculum_command.domain.heads.view import Heads, Readable
from vinculum_shared.contracts.contacts import EmailReleased, EmailSuppressed
from vinculum_shared.contracts.events import Recipient
from vinculum_shared.contracts.values import AddressHash, ContactId


class OfAnAddress(Command):
    ROLE: ClassVar[Needs] = "service"
    TARGET: ClassVar[tuple[str, ...]] = ("contact", "contact_id")

    contact_id: ContactId
    address_hash: AddressHash

    @classmethod
    def scopes(cls) -> frozenset[str]:
        return frozenset({"preferences"})

    def reads(self) -> Iterable[Readable]:
        yield Login.key(address_hash=self.address_hash)


class SuppressEmail(OfAnAddress):
    """Record that a mail server said that an address of a contact does not exist. The notifier reports it."""

    def decide(self, heads: Heads) -> Decision:
        heads.contact(self.contact_id)
        if not heads.login(self.address_hash).suppressed:
            yield EmailSuppressed(contact_id=self.contact_id, address_hash=self.address_hash)


class ReleaseEmail(OfAnAddress):
    """Record that mail is sent to an address again. The notifier reports it when an operator has released it there."""

    def decide(self, heads: Heads) -> Decision:
        heads.contact(self.contact_id)
        if heads.login(self.address_hash).suppressed:
            yield EmailReleased(contact_id=self.contact_id, address_hash=self.address_hash)


def suppressed(heads: Heads, recipients: Iterable[Recipient]) -> Iterator[AddressSuppressed]:
    """Warn of each recipient whom no mail reaches."""
    for each, login in heads.logins(recipients):
        if login.suppressed:
            yield AddressSuppressed(contact_id=each.contact_id, email_id=each.email_id)
