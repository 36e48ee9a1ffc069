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
    """There is no such staff user.

    Check the id, or add the staff user first.
    """


class EmailNotFound(NotFound):
    """The contact has no such address.

    Check the id, or add the address first.
    """


class RecordNotFound(NotFound):
    """There is no such record.

    Check the id, or create the record first.
    """


class ContactNotLinked(NotFound):
    """The contact is not linked to the account.

    Link the two first.
    """


class IdTaken(Conflict):
    """Something with this id exists already.

    Choose another id, or leave it out to have one made.
    """


class AccountArchived(Conflict):
    """The account is archived.

    Restore it first.
    """


class ContactInactive(Conflict):
    """The contact is inactive.

    Reactivate it first.
    """


class StaffInactive(Conflict):
    """The staff user is inactive.

    Choose one who is active.
    """


class ContactAlreadyLinked(Conflict):
    """The contact belongs to another account, and may belong to one only.

    Move it with a transfer (DY-18).
    """


class LastContact(Conflict):
    """The account must keep at least one contact (TD-2).

    Link another contact first, or archive the account.
    """


class ContactRequired(Conflict):
    """The account needs a contact.

    Link one, or bring a new one (TD-6).
    """


class AccountRequired(Conflict):
    """The contact must belong to an account (PX-1).

    Link it to an account first, or in the same command.
    """


class PrimaryRequired(Conflict):
    """The account must keep a primary contact.

    Make another one primary first.
    """


class EmailTaken(Conflict):
    """Another contact has this address, and each address belongs to one contact only.

    Use another address, or remove it from that contact first.
    """


class EmailRequired(Conflict):
    """The contact has no e-mail address.

    Add one first.
    """


class PortalDisabled(Conflict):
    """This tenant has no portal.

    Change its policy to have one.
    """


class PortalUrlMissing(Conflict):
    """The tenant has no portal_url to invite to.

    Set one first.
    """


class PermissionsFixed(Conflict):
    """This tenant's policy fixes what a contact sees.

    Change the policy to choose per link.
    """


class NotOverdue(Conflict):
    """The invoice is not overdue yet.

    Remind of it after its due date.
    """


class LastAdmin(Conflict):
    """The tenant must keep an active admin.

    Make somebody else one first.
    """


class InvitationInvalid(Gone):
    """The invitation was replaced or withdrawn, or has expired.

    Ask for a new one.
    """


class TooManyInvitations(TooMany):
    """The address has had as many invitations to this account as it may have in a day.

    Invite it again after the seconds that `retry_after` names.
    """


class VersionMismatch(PreconditionFailed):
    """It has changed since the version that If-Match names.

    Read it again, and repeat the command with the new version if it is still wanted.
    """
