"""Why a command is refused, a class each: what is not there, what is archived or inactive, the rules, the version."""

from vinculum_shared.problems import (
    AccountNotFound,
    Conflict,
    ContactNotFound,
    Forbidden,
    Gone,
    NotFound,
    PreconditionFailed,
    TenantNotFound,
    TooMany,
)

__all__ = [
    "AccountArchived",
    "AccountNotFound",
    "AccountRequired",
    "ContactAlreadyLinked",
    "ContactInactive",
    "ContactNotFound",
    "ContactNotLinked",
    "ContactRequired",
    "EmailNotFound",
    "EmailRequired",
    "EmailTaken",
    "Forbidden",
    "IdTaken",
    "InvitationInvalid",
    "LastAdmin",
    "LastContact",
    "NotOverdue",
    "PermissionsFixed",
    "PortalDisabled",
    "PortalUrlMissing",
    "PrimaryRequired",
    "RecordNotFound",
    "StaffInactive",
    "StaffNotFound",
    "TenantNotFound",
    "TooManyInvitations",
    "VersionMismatch",
]


class StaffNotFound(NotFound):
    """There is no such staff user."""


class EmailNotFound(NotFound):
    """The contact has no such address."""


class RecordNotFound(NotFound):
    """There is no such record."""


class ContactNotLinked(NotFound):
    """The contact is not linked to the account."""


class IdTaken(Conflict):
    """Something with this id exists already."""


class AccountArchived(Conflict):
    """The account is archived. Restore it first."""


class ContactInactive(Conflict):
    """The contact is inactive. Reactivate it first."""


class StaffInactive(Conflict):
    """The staff user is inactive."""


class ContactAlreadyLinked(Conflict):
    """The contact belongs to another account, and may belong to one only. Move it with a transfer (DY-18)."""


class LastContact(Conflict):
    """The account must keep at least one contact (TD-2)."""


class ContactRequired(Conflict):
    """The account needs a contact: link one or bring a new one (TD-6)."""


class AccountRequired(Conflict):
    """The contact must belong to an account (PX-1)."""


class PrimaryRequired(Conflict):
    """The account must keep a primary contact. Make another one primary first."""


class EmailTaken(Conflict):
    """Another contact has this address, and each address belongs to one contact only."""


class EmailRequired(Conflict):
    """The contact has no e-mail address."""


class PortalDisabled(Conflict):
    """This tenant has no portal."""


class PortalUrlMissing(Conflict):
    """The tenant has no portal_url to invite to. Set one first."""


class PermissionsFixed(Conflict):
    """This tenant's policy fixes what a contact sees."""


class NotOverdue(Conflict):
    """The invoice is not overdue yet."""


class LastAdmin(Conflict):
    """The tenant must keep an active admin. Make somebody else one first."""


class InvitationInvalid(Gone):
    """The invitation was replaced or withdrawn, or has expired. Ask for a new one."""


class TooManyInvitations(TooMany):
    """The address has had as many invitations to this account as it may have in a day."""


class VersionMismatch(PreconditionFailed):
    """It has changed since the version that If-Match names."""
