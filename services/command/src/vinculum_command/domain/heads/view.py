"""What a decision reads, and moves.

`Heads` answers from what is loaded. What isn't raises `Unread`; it is then loaded, and `decide` runs again from the
start. What was read is what the commit relies on, so nothing has to be declared and nothing can be forgotten.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

from vinculum_command.domain import rejections
from vinculum_command.domain.heads import HEADS
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.contacts import Contact, Login
from vinculum_command.domain.heads.head import Entry, Head, Mark
from vinculum_command.domain.heads.links import Coverage, Link, Members, Memberships
from vinculum_command.domain.heads.records import Record
from vinculum_command.domain.heads.staff import Admins, StaffUser
from vinculum_command.domain.heads.tenants import Rules, Tenant
from vinculum_shared.contracts.contacts import Email
from vinculum_shared.contracts.events import Event, Recipient
from vinculum_shared.contracts.tenants import Policy, TenantSettings
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, RecordId, StaffId

LINKS_AT_ONCE_MAX: Final = 1_000  # links whose access one commit changes; the rest follow in commits of their own

H = TypeVar("H", bound=Head)

_KINDS: Final[dict[str, type[Head]]] = {kind.KEY[0]: kind for kind in HEADS}
_MOVED_BY: Final[dict[type[Event], list[type[Head]]]] = {}
for _kind in HEADS:
    for _event_type in _kind.EVENTS:
        _MOVED_BY.setdefault(_event_type, []).append(_kind)


def kind_of(key: str) -> type[Head]:
    return _KINDS[key.partition("/")[0]]


def moved_by(event: Event) -> Iterable[str]:
    """Name the heads that an event moves; its stream's own head is one of them."""
    return (key for kind in _MOVED_BY[type(event)] for key in kind.keys(event))


class Stored(NamedTuple):
    """A head with the number of events that it folds and the last of them; `token` None: no event has named it yet."""

    version: int
    token: UUID | None
    head: Head


class Recording(NamedTuple):
    """An event on its way into the log."""

    event: Event
    mark: Mark


@dataclass(frozen=True, slots=True)
class Enumeration:
    """The links of an account or a contact, as a thing to be read: with such an entry, after a given link."""

    account_id: AccountId | None = None
    contact_id: ContactId | None = None
    entry: Entry | None = None
    after: str = ""

    @property
    def relies_on(self) -> str:
        if self.account_id:
            return Members.key(account_id=self.account_id)
        return Memberships.key(contact_id=self.contact_id)

    def holds(self, link: Link) -> bool:
        ours = link.account_id == self.account_id if self.account_id else link.contact_id == self.contact_id
        return ours and link.linked and self.entry in {None, link.entry()}


class Links(NamedTuple):
    """At most LINKS_AT_ONCE_MAX links, in the order of their keys. There are more `after` that key, if it is given."""

    found: list[Link]
    after: str | None


@dataclass(frozen=True, slots=True)
class Violations:
    """How much there is that a stricter policy would not allow, as a thing to be read; nothing relies on it."""

    policy: str
    bound: int


Readable = str | Enumeration | Violations


class Unread(Exception):  # noqa: N818  not an error: the way `decide` asks for what it needs
    """What the decision needs to go on."""

    def __init__(self, wanted: Iterable[Readable]) -> None:
        self.wanted = frozenset(wanted)
        super().__init__()


@dataclass(slots=True)
class Loaded:
    """What is known so far to the decisions of one group: what was read, and what the group has moved since."""

    heads: dict[str, Stored] = field(default_factory=dict)
    links: dict[Enumeration, list[str]] = field(default_factory=dict)
    violations: dict[Violations, int] = field(default_factory=dict)
    moved: dict[str, Stored] = field(default_factory=dict)


@dataclass(slots=True)
class Heads:
    """The heads as one command sees them: those loaded, moved by the events that it has yielded so far."""

    tenant: str
    at: datetime
    command_id: UUID
    loaded: Loaded
    new_event_id: Callable[[], UUID]
    hashed: Callable[[str], str]
    limited_to: StaffId | None = None
    moved: dict[str, Stored] = field(default_factory=dict)
    relied: set[str] = field(default_factory=set)
    recorded: list[Recording] = field(default_factory=list)

    def move(self, event: Event) -> None:
        """Move the heads by an event that was decided."""
        stream = event.stream
        mark = Mark(self.new_event_id(), type(event).__name__, stream, self._stored(stream).version + 1)
        for key in moved_by(event):
            before = self._stored(key)
            self.moved[key] = Stored(before.version + 1, mark.event_id, before.head.fold(event, mark))
        self.recorded.append(Recording(event, mark))

    def sees(self, account_id: AccountId) -> bool:
        """Tell if the caller may see an account: limited staff see what they manage, and what this command makes."""
        if self.limited_to is None:
            return True
        key = Account.key(account_id=account_id)
        return key in self.moved or self.limited_to in self._get(Account, key).managers

    def seen(self, accounts: Sequence[AccountId]) -> list[AccountId]:
        """Keep the accounts that the caller may see."""
        if self.limited_to is None:
            return list(accounts)
        self.prefetch(Account.key(account_id=account_id) for account_id in accounts)
        return [account_id for account_id in accounts if self.sees(account_id)]

    def version(self, stream: str) -> int:
        return self._stored(stream).version

    def derived_id(self, *of: object) -> UUID:
        """Return an id that belongs to this command and to `of`: the same each time the command is decided."""
        return uuid5(NAMESPACE_OID, "/".join(map(str, (self.command_id, *of))))

    def prefetch(self, wanted: Iterable[Readable]) -> None:
        """Ask for several things at once, where each alone would cost a load of its own."""
        missing = {each for each in wanted if not self._known(each)}
        if missing:
            raise Unread(missing)

    def _known(self, wanted: Readable) -> bool:
        match wanted:
            case str():
                return wanted in self.moved or wanted in self.loaded.heads
            case Enumeration():
                return wanted in self.loaded.links
            case Violations():
                return wanted in self.loaded.violations

    def _stored(self, key: str) -> Stored:
        found = self.moved.get(key)
        if found is None:
            found = self.loaded.moved.get(key) or self.loaded.heads.get(key)
            if found is None:
                raise Unread((key,))
            self.relied.add(key)
        return found

    def _get(self, kind: type[H], key: str) -> H:
        head = self._stored(key).head
        assert isinstance(head, kind)
        return head

    @property
    def policy(self) -> Policy:
        policy = self._get(Rules, Rules.key()).policy
        if policy is None:
            raise rejections.TenantNotFound(tenant=self.tenant)
        return policy

    @property
    def rules(self) -> Rules:
        return self._get(Rules, Rules.key())

    @property
    def tenant_settings(self) -> TenantSettings | None:
        return self._get(Tenant, Tenant.key(tenant=self.tenant)).settings

    def staff(self, staff_id: StaffId) -> StaffUser:
        return self._get(StaffUser, StaffUser.key(staff_id=staff_id))

    @property
    def admins(self) -> Admins:
        return self._get(Admins, Admins.key())

    def account(self, account_id: AccountId) -> Account:
        """Return an account that is there, and that the caller may see."""
        account = self._get(Account, Account.key(account_id=account_id))
        if account.profile is None or not self.sees(account_id):
            raise rejections.AccountNotFound(account_id=account_id)
        return account

    def contact(self, contact_id: ContactId) -> Contact:
        """Return a contact that is there, and that the caller may see: limited staff see those on their accounts."""
        contact = self._get(Contact, Contact.key(contact_id=contact_id))
        if contact.profile is None or not self.sees_contact(contact_id):
            raise rejections.ContactNotFound(contact_id=contact_id)
        return contact

    def sees_contact(self, contact_id: ContactId) -> bool:
        """Return whether the caller may see a contact, as they see those on their accounts and those they make."""
        if self.limited_to is None or Contact.key(contact_id=contact_id) in self.moved:
            return True
        return bool(self.seen(self.memberships(contact_id).accounts))

    def known_account(self, account_id: AccountId) -> Account:
        """Return an account whoever asks: for what is decided about it, not for what is told."""
        return self._get(Account, Account.key(account_id=account_id))

    def known_contact(self, contact_id: ContactId) -> Contact:
        """Return a contact whoever asks: for what is decided about it, not for what is told."""
        return self._get(Contact, Contact.key(contact_id=contact_id))

    def email(self, contact_id: ContactId, email_id: EmailId) -> Email:
        """Return an address that a contact has."""
        email = self.known_contact(contact_id).email(email_id)
        if email is None:
            raise rejections.EmailNotFound(email_id=email_id)
        return email

    def check_active(self, account_id: AccountId | None = None, contact_id: ContactId | None = None) -> None:
        """Refuse what is not there, then what is archived or inactive."""
        account = self.account(account_id) if account_id else None
        contact = self.contact(contact_id) if contact_id else None
        if account and account.archived:
            raise rejections.AccountArchived(account_id=account_id)
        if contact and contact.inactive:
            raise rejections.ContactInactive(contact_id=contact_id)

    def link(self, account_id: AccountId, contact_id: ContactId) -> Link:
        """Return the link of a pair, there or not."""
        return self._get(Link, Link.key(account_id=account_id, contact_id=contact_id))

    def linked(self, account_id: AccountId, contact_id: ContactId) -> Link:
        """Return the link of a pair that exists and is linked. Who sees the account sees the contacts on it."""
        self.account(account_id)
        link = self.link(account_id, contact_id)
        if not link.linked:
            self.contact(contact_id)
            raise rejections.ContactNotLinked(account_id=account_id, contact_id=contact_id)
        return link

    def links(self, enumeration: Enumeration) -> Links:
        """Return the links of an account or a contact."""
        loaded = self.loaded.links.get(enumeration)
        if loaded is None:
            raise Unread((enumeration,))
        self._stored(enumeration.relies_on)
        keys = sorted({*loaded, *self._moved_links(enumeration)})
        page = [self._get(Link, key) for key in keys[:LINKS_AT_ONCE_MAX]]
        after = keys[LINKS_AT_ONCE_MAX - 1] if len(keys) > LINKS_AT_ONCE_MAX else None
        return Links([link for link in page if enumeration.holds(link)], after)

    def _moved_links(self, enumeration: Enumeration) -> Iterable[str]:
        """Name the links that this group has made or changed since the enumeration was loaded."""
        moved = {**self.loaded.moved, **self.moved}
        links = ((key, stored.head) for key, stored in moved.items() if isinstance(stored.head, Link))
        return (key for key, link in links if key > enumeration.after and enumeration.holds(link))

    def members(self, account_id: AccountId) -> Members:
        return self._get(Members, Members.key(account_id=account_id))

    def memberships(self, contact_id: ContactId) -> Memberships:
        return self._get(Memberships, Memberships.key(contact_id=contact_id))

    def coverage(self, account_id: AccountId) -> Coverage:
        return self._get(Coverage, Coverage.key(account_id=account_id))

    def login(self, address_hash: str) -> Login:
        return self._get(Login, Login.key(address_hash=address_hash))

    def logins(self, recipients: Iterable[Recipient]) -> list[tuple[Recipient, Login]]:
        """Return each recipient with what is known of the address, all asked for at once."""
        found = [(each, self.email(each.contact_id, each.email_id).address_hash) for each in recipients]
        self.prefetch(Login.key(address_hash=address_hash) for _, address_hash in found)
        return [(each, self.login(address_hash)) for each, address_hash in found]

    def record(self, record_id: RecordId) -> Record:
        """Return a record that is there, and that the caller may see."""
        record = self._get(Record, Record.key(record_id=record_id))
        if record.type is None or (record.account_id and not self.sees(record.account_id)):
            raise rejections.RecordNotFound(record_id=record_id)
        return record

    def exists(self, key: str) -> bool:
        """Tell if any event has named the key."""
        return self._stored(key).version > 0

    def violations(self, policy: str, bound: int) -> int:
        wanted = Violations(policy, bound)
        self.prefetch((wanted,))
        return self.loaded.violations[wanted]
