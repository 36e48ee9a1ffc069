"""Decisions without a database: given what has happened, when a command is given, then what comes of it.

Heads are loaded, decided upon and folded as `execute` and `verify` do it. Each decision is made twice, and the heads
that it moves are compared with a fold of its events in their JSON form: every test shows both as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any, Final, TypeVar, cast
from uuid import UUID, uuid4

from support.commands import PLATFORM, SERVICE
from support.events import BEGINNING
from vinculum_command.domain.access import AcceptInvitation, Decided, SetPortalAccess, may_enter
from vinculum_command.domain.accounts import CreateAccount
from vinculum_command.domain.commands import SYSTEM, Caller, Caution, Command, Next, Order, decide, reads
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.contacts import Contact, Login
from vinculum_command.domain.heads.head import Head
from vinculum_command.domain.heads.links import Link, Members, Memberships
from vinculum_command.domain.heads.view import (
    LINKS_AT_ONCE_MAX,
    Enumeration,
    Heads,
    Loaded,
    Readable,
    Recording,
    Stored,
    Unread,
    Violations,
    moved_by,
)
from vinculum_command.domain.rejections import VersionMismatch
from vinculum_command.domain.tenants import RegisterTenant
from vinculum_command.event_store import absent
from vinculum_command.verify import fold
from vinculum_shared.contracts import envelope
from vinculum_shared.contracts.addresses import address_hash
from vinculum_shared.contracts.events import Actor, Event
from vinculum_shared.contracts.tenants import Profile
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId
from vinculum_shared.problems import Forbidden, Invalid, NotFound, Problem

LOADS_MAX: Final = 5_000  # a decision that asks more often asks for ever

H = TypeVar("H", bound=Head)
P = TypeVar("P", bound=Problem)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command."""

    events: tuple[Event, ...] = ()
    cautions: tuple[Caution, ...] = ()
    following: tuple[Command, ...] = ()
    refusal: Problem | None = None
    created: bool = False

    @property
    def types(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    @property
    def codes(self) -> list[str]:
        """Of the warnings."""
        return [caution.code for caution in self.cautions]

    def same(self, other: "Outcome") -> bool:
        refusals = [each.refusal and each.refusal.to_dict() for each in (self, other)]
        mine, theirs = ((each.events, each.cautions, each.following, each.created) for each in (self, other))
        return mine == theirs and refusals[0] == refusals[1]


@dataclass
class Case:
    """A tenant with what has happened so far."""

    tenant: str = "acme"
    at: datetime = BEGINNING
    heads: dict[str, Stored] = field(default_factory=dict)
    refolded: dict[str, Stored] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    loads: int = 0
    """How often the last decision had to ask for what it read."""

    @classmethod
    def under(cls, profile: Profile, portal_url: str | None = "https://portal.example.com", **overrides: Any) -> "Case":
        case = cls()
        command = RegisterTenant.model_validate(
            {
                "tenant": case.tenant,
                "name": "Acme",
                "profile": profile,
                "overrides": overrides,
                "portal_url": portal_url,
                "admin": {"name": "Ada", "email": "ada@example.com"},
            }
        )
        case.given(command, by=PLATFORM)
        return case

    def copy(self) -> "Case":
        return replace(self, heads=dict(self.heads), refolded=dict(self.refolded), events=list(self.events))

    def given(self, *commands: Command, by: Caller = SERVICE) -> None:
        """Carry out commands that nothing speaks against, and those that follow from them."""
        for command in commands:
            outcome = self.when(command, by=by)
            assert outcome.refusal is None, outcome.refusal
            self.given(*outcome.following, by=SYSTEM)

    def happened(self, *events: Event) -> None:
        """Record events whose commands don't matter."""
        known = Loaded()
        self._load(known, {key for event in events for key in moved_by(event)})
        heads = self._seen(Order(self.tenant, Command(), SYSTEM, self.at), known)
        for event in events:
            heads.move(event)
        self._commit(heads)

    def when(self, command: Command, *, by: Caller = SERVICE, expected: int | None = None) -> Outcome:
        (outcome,) = self._decide([Order(self.tenant, command, by, self.at, expected=expected)])
        return outcome

    def together(self, *commands: Command) -> Sequence[Outcome]:
        """Decide commands one upon another, as those that wait at the same time are."""
        return self._decide([Order(self.tenant, command, SERVICE, self.at) for command in commands])

    def refused(self, command: Command, problem: type[P], *, by: Caller = SERVICE, expected: int | None = None) -> P:
        outcome = self.when(command, by=by, expected=expected)
        assert isinstance(outcome.refusal, problem), outcome
        assert not outcome.events
        return outcome.refusal

    def faults(self, command: Command, *, by: Caller = SERVICE) -> list[tuple[str, str]]:
        """Return the places in the body that the command is refused for, each with its code."""
        errors = self.refused(command, Invalid, by=by).facts["errors"]
        return [(error["pointer"], error["code"]) for error in errors]

    def head(self, kind: type[H], **ids: object) -> H:
        key = kind.key(**ids)
        return cast(H, self.heads.get(key, absent(key)).head)

    def link(self, account_id: AccountId, contact_id: ContactId) -> Link:
        return self.head(Link, account_id=account_id, contact_id=contact_id)

    def email(self, contact_id: ContactId, number: int = 0) -> EmailId:
        return self.head(Contact, contact_id=contact_id).emails[number].email_id

    def entry(self, account_id: AccountId, contact_id: ContactId, email_id: EmailId | None = None) -> Decided:
        """Tell if the contact may enter the account now."""
        return may_enter(
            self.link(account_id, contact_id),
            self.head(Account, account_id=account_id),
            self.head(Contact, contact_id=contact_id),
            email_id=email_id,
        )

    def account(self, *members: UUID | dict[str, Any], **fields: Any) -> AccountId:
        """Make an account with contacts that are there, or new ones."""
        account_id = AccountId(uuid4())
        contacts = {
            "link_contacts": [{"contact_id": member} for member in members if isinstance(member, UUID)],
            "new_contacts": [member for member in members if isinstance(member, dict)],
        }
        self.given(CreateAccount.model_validate({"id": account_id, "name": "A", **contacts, **fields}))
        return account_id

    def contact(self, *addresses: str, **fields: Any) -> ContactId:
        contact = new(*addresses, **fields)
        self.given(CreateContact.model_validate(contact))
        return ContactId(contact["id"])

    def linked(self, *addresses: str) -> tuple[AccountId, ContactId]:
        """Make an account with a contact, who is neither its only nor its primary one."""
        contact = new(*addresses)
        return self.account(new(), contact), ContactId(contact["id"])

    def invited(self, account_id: AccountId, contact_id: ContactId, email_id: EmailId | None = None) -> None:
        self.given(SetPortalAccess(account_id=account_id, contact_id=contact_id, login=True, email_id=email_id))

    def accept(self, account_id: AccountId, contact_id: ContactId, email_id: EmailId | None = None) -> AcceptInvitation:
        """Return the command that uses the newest invitation."""
        email_id = email_id or self.email(contact_id)
        access = self.link(account_id, contact_id).access[email_id]
        email = self.head(Contact, contact_id=contact_id).email(email_id)
        assert access.invitation_id
        assert email
        return AcceptInvitation(
            account_id=account_id,
            contact_id=contact_id,
            email_id=email_id,
            address_hash=hashed(email.address or ""),
            invitation_id=access.invitation_id,
        )

    def active(self, account_id: AccountId, contact_id: ContactId, email_id: EmailId | None = None) -> None:
        """Let the contact be invited to the account, and accept."""
        self.invited(account_id, contact_id, email_id)
        accept = self.accept(account_id, contact_id, email_id)
        self.given(accept, by=Caller(kind="contact", id=str(contact_id)))

    def _decide(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        known, wanted = Loaded(), {each for order in orders for each in reads(order)}
        for loads in count(1):
            assert loads < LOADS_MAX
            self._load(known, wanted)
            decided, wanted = self._pass(orders, known)
            if not wanted:
                break
        again, _ = self._pass(orders, known)
        assert all(once.same(twice) for (once, _), (twice, _) in zip(decided, again, strict=True))
        self.loads = loads
        for outcome, heads in decided:
            if not outcome.refusal:
                self._commit(heads)
        return [outcome for outcome, _ in decided]

    def _pass(self, orders: Iterable[Order], known: Loaded) -> tuple[list[tuple[Outcome, Heads]], set[Readable]]:
        known.moved = {}
        decided: list[tuple[Outcome, Heads]] = []
        wanted: set[Readable] = set()
        for order in orders:
            heads = self._seen(order, known)
            try:
                steps = list(decide(order, heads))
            except Unread as unread:
                wanted |= unread.wanted
            except Problem as problem:
                check_declared(order.command, problem)
                decided.append((Outcome(refusal=problem), heads))
            else:
                known.moved.update(heads.moved)
                events = tuple(recording.event for recording in heads.recorded)
                created = order.command.creates(heads)
                cautions = tuple(step for step in steps if isinstance(step, Caution))
                following = tuple(step.command for step in steps if isinstance(step, Next))
                decided.append((Outcome(events, cautions, following, created=created), heads))
        return decided, wanted

    def _seen(self, order: Order, loaded: Loaded) -> Heads:
        return Heads(order.tenant, order.at, order.command_id, loaded, uuid4, hashed)

    def _load(self, known: Loaded, wanted: Iterable[Readable]) -> None:
        for each in wanted:
            match each:
                case str():
                    known.heads.setdefault(each, self.heads.get(each, absent(each)))
                case Enumeration():
                    self._load(known, [each.relies_on])
                    found = {key: self.heads[key] for key in self._listed(each)[: LINKS_AT_ONCE_MAX + 1]}
                    known.heads.update(found)
                    known.links[each] = list(found)
                case Violations():
                    known.violations[each] = self._violations(each)

    def _listed(self, wanted: Enumeration) -> list[str]:
        return sorted(
            key
            for key, stored in self.heads.items()
            if isinstance(stored.head, Link) and key > wanted.after and wanted.holds(stored.head)
        )

    def _violations(self, wanted: Violations) -> int:
        heads = [stored.head for stored in self.heads.values()]
        match wanted.policy:
            case "max_accounts_per_contact":
                return sum(isinstance(head, Memberships) and head.count > wanted.bound for head in heads)
            case "min_contacts_per_account":
                accounts = [head for head in self._keys(Account) if self._count(Members, head) < wanted.bound]
                return len(accounts)
            case "contact_requires_account":
                return len([head for head in self._keys(Contact) if self._count(Memberships, head) < wanted.bound])
            case _:
                return sum(isinstance(head, Login) and head.count > wanted.bound for head in heads)

    def _keys(self, kind: type[Head]) -> list[str]:
        return [key for key, stored in self.heads.items() if isinstance(stored.head, kind)]

    def _count(self, kind: type[Members] | type[Memberships], key: str) -> int:
        stored = self.heads.get(f"{kind.KEY[0]}/{key.partition('/')[2]}")
        return cast(Members, stored.head).count if stored else 0

    def _commit(self, heads: Heads) -> None:
        self.heads.update(heads.moved)
        size = len(heads.recorded)
        for index, recording in enumerate(heads.recorded, 1):
            self.events.append(recording.event)
            fold(self.refolded, self._read_again(recording, index, size))
        for key in heads.moved:
            assert self.heads[key] == self.refolded[key], key

    def _read_again(self, recording: Recording, index: int, size: int) -> envelope.Recorded[Event]:
        """Return the event as a reader has it."""
        event, mark = recording
        cause = envelope.Cause(self.tenant, Actor(kind="system", id="test"), uuid4(), uuid4())
        attributes = envelope.attributes(event, mark.event_id, mark.stream_version, index, size, cause)
        position = len(self.events)
        return envelope.decode(envelope.wire(attributes, *envelope.split(event, cause), position, self.at, self.at))


def hashed(address: str) -> str:
    return address_hash(b"key", address)


def new(*addresses: str, **fields: Any) -> dict[str, Any]:
    """A contact that is to be. The first address is the primary one."""
    return {"id": uuid4(), "emails": [{"address": address} for address in addresses], **fields}


def check_declared(command: Command, problem: Problem) -> None:
    declared = (*command.RAISES, NotFound, Invalid, Forbidden, VersionMismatch)
    assert isinstance(problem, declared), f"{type(command).__name__}.RAISES lacks {type(problem).__name__}"
