"""Who may enter an account's portal, and what every change takes away or gives back.

Access is derived: the link is there, its address is active, the account is not archived, the contact not inactive. So
taking away can't be forgotten, and what a suspension hides comes back as it was (TD-18, TD-21).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import ceil
from typing import Any, ClassVar, Final
from uuid import UUID

from vinculum_command.domain.commands import (
    Command,
    Decision,
    EffectiveAt,
    InvitationPending,
    Needs,
    Next,
    Rejections,
    named_by,
)
from vinculum_command.domain.contacts.suppression import suppressed
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.contacts import Contact
from vinculum_command.domain.heads.head import Entry, Mark
from vinculum_command.domain.heads.links import (
    DAY,
    ENTERS,
    Access,
    Coverage,
    Link,
    Members,
    Memberships,
    invited_at,
)
from vinculum_command.domain.heads.view import Enumeration, Heads, Readable
from vinculum_command.domain.rejections import (
    AccountArchived,
    ContactInactive,
    ContactNotLinked,
    EmailNotFound,
    EmailRequired,
    InvitationInvalid,
    PortalDisabled,
    PortalUrlMissing,
    TooManyInvitations,
)
from vinculum_shared.contracts.events import Event, Recipient
from vinculum_shared.contracts.links import INVITATION_VALID, AccessReason, AccessState, PortalAccessChanged
from vinculum_shared.contracts.topics import Feature
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, Flag, InvitationId
from vinculum_shared.problems import Invalid


@dataclass(frozen=True, slots=True)
class Decided:
    """An answer about access, with the events that it rests on. `code` says why not."""

    allowed: bool
    state: AccessState
    code: str | None
    because: tuple[Mark, ...]


def may_enter(
    link: Link, account: Account, contact: Contact, *, email_id: EmailId | None = None, feature: Feature | None = None
) -> Decided:
    """Say if the contact may enter the account now: by any address, or by the one given; and open the feature."""
    marks = tuple(mark for mark in (link.mark, account.archived, contact.inactive) if mark)
    if not link.linked:
        because = (*marks, link.closed) if link.closed else marks
        return Decided(allowed=False, state="off", code="contact_not_linked", because=because)
    asked = [access for each, access in link.access.items() if email_id in {None, each} and contact.email(each)]
    best = min(asked, key=lambda access: _BEST_FIRST.index(access.state), default=None)
    if best is None:
        because = (*marks, link.closed) if link.closed else marks
        return Decided(allowed=False, state="off", code="access_off", because=because)
    marks = (*marks, best.mark)
    if account.archived or contact.inactive:
        code = "account_archived" if account.archived else "contact_inactive"
        return Decided(allowed=False, state="suspended", code=code, because=marks)
    if best.state != "active":
        return Decided(allowed=False, state=best.state, code=f"access_{best.state}", because=marks)
    if feature and feature not in link.features:
        return Decided(allowed=False, state="active", code="feature_not_permitted", because=marks)
    return Decided(allowed=True, state="active", code=None, because=marks)


INVITATIONS_A_DAY: Final = 5  # to one address, to one account
_BEST_FIRST: Final[tuple[AccessState, ...]] = ("active", "invited", "suspended", "off")


class SetPortalAccess(EffectiveAt):
    """Turn a contact's login to an account's portal on or off (TD-3, TD-18)."""

    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    RAISES: ClassVar[Rejections] = (
        ContactNotLinked,
        AccountArchived,
        ContactInactive,
        EmailNotFound,
        EmailRequired,
        PortalDisabled,
        PortalUrlMissing,
        TooManyInvitations,
    )

    account_id: AccountId
    contact_id: ContactId
    login: Flag
    email_id: EmailId | None = None

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        link = heads.linked(self.account_id, self.contact_id)
        contact = heads.known_contact(self.contact_id)
        if self.email_id:
            with named_by("email_id"):
                heads.email(self.contact_id, self.email_id)
        if not self.login:
            yield from close(link, "revoked", only=self._off(heads, link))
            return
        heads.check_active(self.account_id, self.contact_id)
        if heads.policy.access_unit == "none":
            raise PortalDisabled
        email_id = self._on(heads, link, contact)
        access = link.access.get(email_id)
        if access and access.state == "active":
            return
        if access and access.state == "invited" and (pending := _pending(access, email_id)).expires_at > heads.at:
            yield pending
            yield from suppressed(heads, [Recipient(contact_id=self.contact_id, email_id=email_id)])
            return
        if heads.memberships(self.contact_id).active.get(email_id):
            yield _changed(link, email_id, access, "active", "granted")
        elif (settings := heads.tenant_settings) is None or settings.portal_url is None:
            raise PortalUrlMissing
        else:
            yield _invited(heads, link, email_id, access, "invited")
            yield from suppressed(heads, [Recipient(contact_id=self.contact_id, email_id=email_id)])

    def _off(self, heads: Heads, link: Link) -> EmailId | None:
        if self.email_id is None and heads.policy.access_unit == "email" and len(link.access) > 1:
            raise _which_address()
        return self.email_id

    def _on(self, heads: Heads, link: Link, contact: Contact) -> EmailId:
        if contact.primary_email is None:
            raise EmailRequired(contact_id=self.contact_id)
        if heads.policy.access_unit == "contact":
            one = next(iter(link.access), contact.primary_email.email_id)
            if self.email_id not in {None, one}:
                raise _not_this_address()
            return one
        if self.email_id is None and len(contact.emails) > 1:
            raise _which_address()
        return self.email_id or contact.primary_email.email_id


def _which_address() -> Invalid:
    detail = "The contact has several addresses, each with a login of its own. Name one."
    return Invalid.at("/email_id", "missing", detail)


def _not_this_address() -> Invalid:
    detail = "The contact has one login, by the primary address that it was given for. Leave the address out."
    return Invalid.at("/email_id", "not_primary", detail)


class AcceptInvitation(Command):
    """Use an invitation to enter the account's portal (TD-18). Used once more, it changes nothing."""

    ROLE: ClassVar[Needs] = "contact"
    TARGET: ClassVar[tuple[str, ...]] = ("link", "account_id", "contact_id")
    RAISES: ClassVar[Rejections] = (InvitationInvalid,)

    account_id: AccountId
    contact_id: ContactId
    email_id: EmailId
    address_hash: str
    invitation_id: InvitationId

    def facts(self) -> Mapping[str, Any]:
        return self.model_dump(mode="json", include={"account_id", "contact_id", "email_id"}) | {"state": "active"}

    def reads(self) -> Iterable[Readable]:
        return pair_keys(self.account_id, self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        link = heads.link(self.account_id, self.contact_id)
        access = link.access.get(self.email_id)
        if not link.linked or access is None or access.invitation_id != self.invitation_id:
            raise InvitationInvalid
        email = heads.known_contact(self.contact_id).email(self.email_id)
        if email is None or email.address is None or heads.hashed(email.address) != self.address_hash:
            raise InvitationInvalid
        if heads.account(self.account_id).archived or heads.contact(self.contact_id).inactive:
            raise InvitationInvalid
        if access.state == "suspended":  # until its turn comes to be invited anew
            raise InvitationInvalid
        if access.state == "invited":
            yield _changed(link, self.email_id, access, "active", "accepted")


class SettleAccess(Command):
    """Go on with what one commit was too small for: the links after `after` of an account, a contact or an address."""

    ROLE: ClassVar[Needs] = "system"

    account_id: AccountId | None = None
    contact_id: ContactId | None = None
    email_id: EmailId | None = None
    after: str = ""

    @cached_property
    def target(self) -> str:
        head = Account if self.account_id else Contact
        return head.key(account_id=self.account_id, contact_id=self.contact_id)

    def decide(self, heads: Heads) -> Decision:
        if self.account_id:
            yield from settle_account(heads, self.account_id, self.after)
        elif self.contact_id and self.email_id:
            yield from settle_address(heads, self.contact_id, self.email_id, self.after)
        elif self.contact_id:
            yield from settle_contact(heads, self.contact_id, self.after)


def settle_account(heads: Heads, account_id: AccountId, after: str = "") -> Decision:
    """Bring the access of an account's links in line with its being archived or not."""
    archived = heads.account(account_id).archived
    entry: Entry = "on" if archived else "suspended"
    links = heads.links(Enumeration(account_id=account_id, entry=entry, after=after))
    heads.prefetch(beside(links.found))
    for link in links.found:
        if archived:
            yield from _suspend(link, "account_archived")
        elif not heads.known_contact(link.ids[1]).inactive:
            yield from _give_back(heads, link, "account_restored")
    yield from suppressed(heads, _invitees(heads))
    if links.after:
        yield Next(SettleAccess(account_id=account_id, after=links.after))


def settle_contact(heads: Heads, contact_id: ContactId, after: str = "") -> Decision:
    """Bring the access of a contact's links in line with its being inactive or not."""
    inactive = heads.contact(contact_id).inactive
    entry: Entry = "on" if inactive else "suspended"
    links = heads.links(Enumeration(contact_id=contact_id, entry=entry, after=after))
    heads.prefetch(beside(links.found))
    for link in links.found:
        if inactive:
            yield from _suspend(link, "contact_deactivated")
        elif not heads.known_account(link.ids[0]).archived:
            yield from _give_back(heads, link, "contact_reactivated")
    yield from suppressed(heads, _invitees(heads))
    if links.after:
        yield Next(SettleAccess(contact_id=contact_id, after=links.after))


def settle_address(heads: Heads, contact_id: ContactId, email_id: EmailId, after: str = "") -> Decision:
    """Close what an address opened that is gone; let what another address opened begin again with an invitation."""
    gone = heads.contact(contact_id).email(email_id) is None
    links = heads.links(Enumeration(contact_id=contact_id, after=after))
    heads.prefetch(beside(links.found))
    for link in links.found:
        if gone:
            yield from close(link, "email_removed", only=email_id)
        else:
            yield from _invite_anew(heads, link, email_id)
    if links.after:
        yield Next(SettleAccess(contact_id=contact_id, email_id=email_id, after=links.after))


def close(link: Link, why: AccessReason, only: EmailId | None = None) -> Iterator[Event]:
    """Turn off every access of a link, or that of one address."""
    for email_id, access in link.access.items():
        if only in {None, email_id}:
            yield _changed(link, email_id, access, "off", why)


def _invite_anew(heads: Heads, link: Link, email_id: EmailId) -> Iterator[Event]:
    access = link.access.get(email_id)
    if access is None:
        return
    if access.state == "suspended":
        yield _changed(link, email_id, access, "suspended", "email_changed")
    else:
        yield _invited(heads, link, email_id, access, "email_changed")


def _suspend(link: Link, why: AccessReason) -> Iterator[Event]:
    for email_id, access in link.access.items():
        if access.state in ENTERS:
            yield _changed(link, email_id, access, "suspended", why)


def _give_back(heads: Heads, link: Link, why: AccessReason) -> Decision:
    for email_id, access in link.access.items():
        if access.underneath == "invited" and _invitations_until(heads, link, email_id):
            yield _changed(link, email_id, access, "invited", why)  # no more mail: the last one holds
            yield _pending(access, email_id)
        elif access.underneath == "invited":
            yield _invited(heads, link, email_id, access, why)
        elif access.underneath == "active":
            yield _changed(link, email_id, access, "active", why)


def _invitees(heads: Heads) -> Iterator[Recipient]:
    """Return whom the command has mailed an invitation."""
    for event, _ in heads.recorded:
        if isinstance(event, PortalAccessChanged) and event.to == "invited" and event.address_hash:
            yield Recipient(contact_id=event.contact_id, email_id=event.email_id)


def _invited(heads: Heads, link: Link, email_id: EmailId, access: Access | None, why: AccessReason) -> Event:
    """Invite an address. Raise TooManyInvitations if it has had as many as it may."""
    until = _invitations_until(heads, link, email_id)
    if until:
        raise TooManyInvitations(
            f"The address has had {INVITATIONS_A_DAY} invitations to this account in 24 hours. Wait until {until}.",
            retry_after=ceil((until - heads.at).total_seconds()),
        )
    invitation_id = _invitation_id(heads.at, heads.derived_id(link.account_id, link.contact_id, email_id))
    return _changed(link, email_id, access, "invited", why, invitation_id, _hash_of(heads, link, email_id))


def _invitations_until(heads: Heads, link: Link, email_id: EmailId) -> datetime | None:
    """Return when the address may be invited again, if it has had as many invitations as it may have in a day."""
    ids = link.invited.get(_hash_of(heads, link, email_id), ())[-INVITATIONS_A_DAY:]
    until = invited_at(ids[0]) + DAY if len(ids) == INVITATIONS_A_DAY else None
    return until if until and until > heads.at else None


def _hash_of(heads: Heads, link: Link, email_id: EmailId) -> str:
    email = heads.known_contact(link.ids[1]).email(email_id)
    assert email
    return email.address_hash


def _changed(
    link: Link,
    email_id: EmailId,
    before: Access | None,
    to: AccessState,
    why: AccessReason,
    invitation_id: InvitationId | None = None,
    address_hash: str | None = None,
) -> Event:
    return PortalAccessChanged.model_validate(
        {
            "account_id": link.account_id,
            "contact_id": link.contact_id,
            "email_id": email_id,
            "from": before.state if before else "off",
            "to": to,
            "why": why,
            "invitation_id": invitation_id,
            "address_hash": address_hash,
        }
    )


def _invitation_id(at: datetime, random: UUID) -> InvitationId:
    """Give a UUIDv7 of that time: how old an invitation is can be told from its id."""
    milliseconds = int(at.timestamp() * 1000)
    low = random.int & ((1 << 80) - 1)
    low = low & ~(0xF << 76) | (7 << 76)
    low = low & ~(0x3 << 62) | (2 << 62)
    return InvitationId(UUID(int=(milliseconds << 80) | low))


def _pending(access: Access, email_id: EmailId) -> InvitationPending:
    assert access.invitation_id
    return InvitationPending(email_id=email_id, expires_at=invited_at(access.invitation_id) + INVITATION_VALID)


def pair_keys(account_id: AccountId, contact_id: ContactId) -> Iterator[str]:
    """Name the heads that nearly every command about a link reads or moves."""
    yield Account.key(account_id=account_id)
    yield Contact.key(contact_id=contact_id)
    yield Link.key(account_id=account_id, contact_id=contact_id)
    yield Members.key(account_id=account_id)
    yield Memberships.key(contact_id=contact_id)
    yield Coverage.key(account_id=account_id)


def beside(links: Iterable[Link]) -> Iterator[str]:
    """Name what is read or moved together with links that are there."""
    return (key for link in links for key in pair_keys(*link.ids))
