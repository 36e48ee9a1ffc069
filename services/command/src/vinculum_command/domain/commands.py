"""What a command is, who may give it, and what it answers besides events."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Final, Literal, TypeVar
from uuid import UUID

from pydantic import ValidationError
from uuid_utils.compat import uuid7

from vinculum_command.domain.heads.staff import StaffUser
from vinculum_command.domain.heads.tenants import Rules, Tenant
from vinculum_command.domain.heads.view import Heads, Readable
from vinculum_command.domain.merge_patch import merged
from vinculum_command.domain.rejections import Forbidden, TenantNotFound, VersionMismatch
from vinculum_shared.contracts.events import ActorKind, Event
from vinculum_shared.contracts.staff import Role
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, Input, Instant, StaffId, Value, named
from vinculum_shared.problems import Invalid, NotFound, Problem, invalid, pointer

V = TypeVar("V", bound=Value)
Rejections = tuple[type[Problem], ...]

ROLES_FOR: Final[dict[str, tuple[Role, ...]]] = {
    "admin": ("admin",),
    "manager": ("admin", "manager"),
    "agent": ("admin", "manager", "agent"),
}
"""Who may give a command that needs a role."""

SCOPE_FOR: Final[dict[str, str]] = {"admin": "admin", "manager": "commands", "agent": "commands"}
"""The scope that a service needs for a command that needs a role."""

Needs = Role | Literal["platform", "contact", "service", "system"]
"""What a command needs its caller to be: staff in a role, or something else altogether."""


def new_id() -> Any:
    """Return a UUIDv7 for something that came without an id of its own: ids arrive with the command."""
    return uuid7()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who gives the command; `system` where it follows from another one."""

    kind: ActorKind
    id: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()


SYSTEM: Final = Caller(kind="system", id="vinculum")


class Caution(Value):
    """Something to know about a command that was carried out."""

    code: str


class TopicUncovered(Caution):
    """Nobody of the account gets mail about the topic any more, or none got the record that was sent (PX-8).

    A change of a contact warns for at most 100 of its accounts. A change of the policy doesn't warn of it.
    """

    code: Literal["topic_uncovered"] = "topic_uncovered"
    account_id: AccountId
    topic: Topic


class MailWithoutPermission(Caution):
    """Mail about the topic is on, but its feature is not: it is held, or tells of what can't be opened (trap 7)."""

    code: Literal["mail_without_permission"] = "mail_without_permission"
    account_id: AccountId
    contact_id: ContactId
    topic: Topic


class InvitationPending(Caution):
    """The address has an invitation that it can still use; no other mail is sent."""

    code: Literal["invitation_pending"] = "invitation_pending"
    email_id: EmailId
    expires_at: datetime


class RecipientUnsubscribed(Caution):
    """The recipient at this address has unsubscribed from mail about the topic, or had until now.

    The topic stays off for whoever has the address, until a command turns it on there. That command warns, too.
    """

    code: Literal["unsubscribed"] = "unsubscribed"
    account_id: AccountId
    contact_id: ContactId
    email_id: EmailId
    topic: Topic


class AddressSuppressed(Caution):
    """No mail reaches this address: a mail server said that it does not exist."""

    code: Literal["address_suppressed"] = "address_suppressed"
    contact_id: ContactId
    email_id: EmailId


class PolicyViolations(Caution):
    """So many things that exist would not be allowed now; they stay."""

    code: Literal["policy_violations"] = "policy_violations"
    policy: str
    count: int


class Command(Input):
    """What somebody wants to happen. Its fields are all that it is about; `decide` is the rule."""

    ROLE: ClassVar[Needs] = "agent"
    CREATES: ClassVar[bool] = False
    RAISES: ClassVar[Rejections] = ()  # besides unknown ids and wrong fields
    TARGET: ClassVar[tuple[str, ...]]  # the stream that the answer's id and version are those of

    @cached_property
    def target(self) -> str:
        """The stream whose version the answer gives, and If-Match compares."""
        return named(self.TARGET, self.__dict__)

    @classmethod
    def scopes(cls) -> frozenset[str]:
        """Return the scopes of which a service needs one to give commands of this type."""
        return frozenset({SCOPE_FOR[cls.ROLE]} if cls.ROLE in SCOPE_FOR else ())

    def allows(self, caller: Caller) -> bool:  # noqa: ARG002  most have nothing to add
        """Return whether a caller who may give commands of this type may give this one."""
        return True

    def facts(self) -> Mapping[str, Any]:
        """Return what the answer says besides what every answer does."""
        return {}

    def answer_id(self, heads: Heads) -> str:  # noqa: ARG002  most need no look
        """Return the id of what the command is about, once it is decided."""
        return self.target.partition("/")[2] or self.target

    def creates(self, heads: Heads) -> bool:  # noqa: ARG002  most need no look
        """Tell if what has `answer_id` is new."""
        return self.CREATES

    def reads(self) -> Iterable[Readable]:
        """Name what `decide` is likely to read, so that one load does; never needed for correctness."""
        return ()

    def check(self, heads: Heads) -> None:
        """Refuse what is wrong with the command itself."""

    def decide(self, heads: Heads) -> "Decision":
        raise NotImplementedError

    def changed(self, before: V) -> V:
        """Return what the command, as a merge patch, makes of a value. A field left out stays; null is the default."""
        terms = type(before)
        patch = self.model_dump(include=set(terms.model_fields), exclude_unset=True)
        try:
            return terms.model_validate(merged(before.model_dump(), patch))
        except ValidationError as error:
            raise invalid(error.errors()) from None


@contextmanager
def named_by(*field: str | int) -> Iterator[None]:
    """Say of what is not found within that a field of the body names it: 422 there. An id in the path is a 404."""
    try:
        yield
    except NotFound as problem:
        raise Invalid.at(pointer(field), problem.code, problem.detail) from None


@dataclass(frozen=True, slots=True)
class Next:
    """A command that goes on where this one had to stop, in a commit of its own."""

    command: Command


Decision = Iterator[Event | Caution | Next]


class EffectiveAt(Command):
    """When it was true in the world; not in the future; left out, it is when it is recorded."""

    effective_at: Instant | None = None

    def check(self, heads: Heads) -> None:
        if self.effective_at and self.effective_at > heads.at:
            detail = "Give a time that is not in the future."
            raise Invalid.at("/effective_at", "in_the_future", detail)


@dataclass(frozen=True, slots=True)
class Order:
    """A command with who gives it, when, and what ties it to the rest of the world."""

    tenant: str
    command: Command
    caller: Caller
    at: datetime
    command_id: UUID = field(default_factory=new_id)
    correlation_id: UUID | None = None
    causation_id: UUID | None = None  # the command that this one follows from
    traceparent: str | None = None
    expected: int | None = None  # If-Match: the version that the target must have


def decide(order: Order, heads: Heads) -> Decision:
    """Move the heads by what the command makes happen, a step at a time. Raise a rejection, or Unread."""
    caller = permit(order, heads)
    if heads.rules.policy is None and order.command.ROLE != "platform":
        raise TenantNotFound(tenant=order.tenant)
    heads.limited_to = _limited_to(caller, heads)
    order.command.check(heads)
    version = heads.version(order.command.target)
    for yielded in order.command.decide(heads):
        if isinstance(yielded, Event):
            heads.move(yielded)
        yield yielded
    if order.expected not in {None, version}:
        raise VersionMismatch(version=version)


def reads(order: Order) -> Iterable[Readable]:
    """Name what deciding the order is likely to read."""
    yield Rules.key()
    yield Tenant.key(tenant=order.tenant)
    yield order.command.target
    if order.caller.kind == "staff":
        yield StaffUser.key(staff_id=order.caller.id)
    yield from order.command.reads()


def permit(order: Order, heads: Heads) -> Caller:
    """Return the caller with the rights that count. Raise Forbidden if they don't allow the command."""
    caller = order.caller
    if caller.kind == "staff":
        caller = acting(caller, heads.staff(StaffId(UUID(caller.id))))
    authorise(caller, type(order.command))
    if not order.command.allows(caller):
        raise Forbidden("The token's scope does not allow the command with these fields.")
    return caller


def authorise(caller: Caller, command: type[Command]) -> None:
    """Raise Forbidden unless the caller's roles or scopes allow commands of this type."""
    if not may_give(caller, command):
        raise Forbidden(f"{command.__name__} is given by {givers(command)}.")


def may_give(caller: Caller, command: type[Command]) -> bool:
    """Return whether the caller's roles or scopes allow commands of this type."""
    match caller.kind:
        case "system":
            return True
        case "platform" | "contact":
            return caller.kind == command.ROLE
        case "service":
            return not command.scopes().isdisjoint(caller.scopes)
        case "staff":
            return not caller.roles.isdisjoint(ROLES_FOR.get(command.ROLE, ()))


def givers(command: type[Command]) -> str:
    """Say who may give commands of this type."""
    scopes = sorted(command.scopes())
    if command.ROLE == "service":
        return f"services with the scope {_either(scopes)}"
    if command.ROLE not in ROLES_FOR:
        return f"a {command.ROLE} token"
    roles = ROLES_FOR[command.ROLE]
    return f"staff with the role {_either(roles)}, and services with the scope {_either(scopes)}"


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def acting(caller: Caller, staff: StaffUser) -> Caller:
    """Return a caller of the staff with the roles that count: those that token and record both give."""
    if staff.profile is None or not staff.active:
        raise Forbidden("The token's subject is not an active staff user of this tenant.")
    return replace(caller, roles=caller.roles.intersection(staff.profile.roles))


def _limited_to(caller: Caller, heads: Heads) -> StaffId | None:
    """Return the staff user who sees only what they manage, if the caller is one."""
    if caller.kind != "staff":
        return None
    staff_id = StaffId(UUID(caller.id))
    staff = heads.staff(staff_id)
    assert staff.profile
    limited = heads.policy.limits_access(caller.roles, limited_accounts=staff.profile.limits.accounts)
    return staff_id if limited else None
