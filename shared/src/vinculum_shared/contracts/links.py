"""The pair of an account and a contact: what it says, opens, and turns mail on for."""

from datetime import timedelta
from typing import Final, Literal

from pydantic import ConfigDict, Field

from vinculum_shared.contracts.events import LinkEvent
from vinculum_shared.contracts.topics import Feature, Topic
from vinculum_shared.contracts.values import EmailId, Flag, InvitationId, Name, Personal, Text, Value, added

AccessState = Literal["off", "invited", "active", "suspended"]
AccessReason = Literal[
    "invited",
    "granted",
    "accepted",
    "revoked",
    "unlinked",
    "account_archived",
    "account_restored",
    "email_changed",
    "email_removed",
    "contact_deactivated",
    "contact_reactivated",
    "merged",
    "expired",
    "erased",
]
INVITATION_VALID: Final = timedelta(hours=48)


class LinkTerms(Value):
    """What a link says. Commands, events and heads take it from here."""

    role: Name | None = None
    job_title: Personal[Name | None] = None
    primary: Flag = False


class ContactLinked(LinkEvent, LinkTerms):
    """The contact belongs to the account from now on. What it opens and gets mail about starts from the defaults."""

    source: str = "api"
    features: tuple[Feature, ...] = ()
    topics: tuple[Topic, ...] = ()


class LinkChanged(LinkEvent):
    """Another role, job title, or primary contact."""

    before: LinkTerms
    after: LinkTerms


class PortalAccessChanged(LinkEvent):
    """Who may enter the account's portal by which address, and why that changed."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    email_id: EmailId
    from_: AccessState = Field(alias="from")
    to: AccessState
    why: AccessReason
    invitation_id: InvitationId | None = None
    address_hash: str | None = added()
    """Of the address that an invitation goes to, as in the events of addresses; left out where none does."""


class PermissionsChanged(LinkEvent):
    """The portal shows these features of the account (PX-3)."""

    before: tuple[Feature, ...]
    after: tuple[Feature, ...]


class NotificationPreferences(Value):
    """Topics that are on: for the link, and where an address has its own choice, for that address."""

    topics: tuple[Topic, ...] = ()
    by_email: dict[EmailId, dict[Topic, Flag]] = Field(default_factory=dict)


class ContactUnlinked(LinkEvent):
    """Belongs to it no more. Terms, permissions and preferences end; access is turned off in the same commit."""

    before: LinkTerms
    features: tuple[Feature, ...] = ()
    preferences: NotificationPreferences = NotificationPreferences()
    comment: Personal[Text | None] = None


class Unsubscribed(Value):
    """The topics of an account that the recipient at an address has unsubscribed from, by the address's keyed hash.

    That is the recipient's own wish. It outlives the link and the contact's address, until a topic is turned on again
    for the address.
    """

    address_hash: str
    before: tuple[Topic, ...] = ()
    after: tuple[Topic, ...] = ()

    @property
    def ended(self) -> tuple[Topic, ...]:
        return tuple(topic for topic in self.before if topic not in self.after)


class NotificationPreferencesChanged(LinkEvent):
    """Mail about these topics (PX-7)."""

    before: NotificationPreferences
    after: NotificationPreferences
    unsubscribed: Unsubscribed | None = Field(default=None, exclude_if=lambda unsubscribed: unsubscribed is None)
    """Where a recipient has unsubscribed, or a topic was turned on again after that; left out everywhere else."""
