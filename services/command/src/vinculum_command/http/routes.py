"""Which route is which command: the table that the endpoint, the batch, dry runs and OpenAPI all come from."""

import re
from typing import Final

from vinculum_command.domain.access import AcceptInvitation, SetPortalAccess
from vinculum_command.domain.accounts import ArchiveAccount, ChangeAccount, CreateAccount, RestoreAccount
from vinculum_command.domain.commands import Command
from vinculum_command.domain.contacts.activity import DeactivateContact, ReactivateContact
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.contacts.emails import AddEmail, ChangeEmail, RemoveEmail
from vinculum_command.domain.contacts.profiles import ChangeContact
from vinculum_command.domain.contacts.suppression import ReleaseEmail, SuppressEmail
from vinculum_command.domain.links import (
    ChangeLink,
    LinkAccounts,
    LinkContacts,
    PutLink,
    TransferContact,
    UnlinkContact,
)
from vinculum_command.domain.notifications import SetNotifications, SetPermissions
from vinculum_command.domain.records import CreateRecord, RemindRecord, SendRecord
from vinculum_command.domain.staff import AddStaffUser, ChangeStaffUser, DeactivateStaffUser
from vinculum_command.domain.tenants import ChangePolicy, ChangeTenant, RegisterTenant
from vinculum_command.domain.unsubscriptions import Unsubscribe

ROUTES: Final[dict[str, type[Command]]] = {
    "POST /tenants": RegisterTenant,
    "PATCH /tenants/{tenant}": ChangeTenant,
    "PUT /policy": ChangePolicy,
    "POST /staff": AddStaffUser,
    "PATCH /staff/{staff_id}": ChangeStaffUser,
    "POST /staff/{staff_id}/deactivate": DeactivateStaffUser,
    "POST /accounts": CreateAccount,
    "PATCH /accounts/{account_id}": ChangeAccount,
    "POST /accounts/{account_id}/archive": ArchiveAccount,
    "POST /accounts/{account_id}/restore": RestoreAccount,
    "POST /contacts": CreateContact,
    "PATCH /contacts/{contact_id}": ChangeContact,
    "POST /contacts/{contact_id}/deactivate": DeactivateContact,
    "POST /contacts/{contact_id}/reactivate": ReactivateContact,
    "POST /contacts/{contact_id}/emails": AddEmail,
    "PATCH /contacts/{contact_id}/emails/{email_id}": ChangeEmail,
    "DELETE /contacts/{contact_id}/emails/{email_id}": RemoveEmail,
    "POST /contacts/{contact_id}/emails/suppress": SuppressEmail,
    "POST /contacts/{contact_id}/emails/release": ReleaseEmail,
    "POST /accounts/{account_id}/contacts": LinkContacts,
    "POST /contacts/{contact_id}/accounts": LinkAccounts,
    "PUT /accounts/{account_id}/contacts/{contact_id}": PutLink,
    "PATCH /accounts/{account_id}/contacts/{contact_id}": ChangeLink,
    "DELETE /accounts/{account_id}/contacts/{contact_id}": UnlinkContact,
    "POST /accounts/{account_id}/contacts/{contact_id}/unlink": UnlinkContact,
    "POST /contacts/{contact_id}/transfer": TransferContact,
    "PUT /accounts/{account_id}/contacts/{contact_id}/portal-access": SetPortalAccess,
    "POST /invitations/accept": AcceptInvitation,
    "PUT /accounts/{account_id}/contacts/{contact_id}/permissions": SetPermissions,
    "PUT /accounts/{account_id}/contacts/{contact_id}/notifications": SetNotifications,
    "POST /accounts/{account_id}/contacts/{contact_id}/unsubscribe": Unsubscribe,
    "POST /records": CreateRecord,
    "POST /records/{record_id}/send": SendRecord,
    "POST /records/{record_id}/remind": RemindRecord,
}

COMMANDS: Final[dict[str, type[Command]]] = {
    command.__name__: command for command in ROUTES.values() if command is not AcceptInvitation
}
"""Those that a line of a batch may be: an invitation's token stands for a bearer, and a batch has one."""

PATHS: Final[dict[type[Command], str]] = {
    command: route.partition(" ")[2] for route, command in reversed(ROUTES.items())
}
"""Of two routes of a command, the first."""

PATH_FIELDS: Final[dict[type[Command], frozenset[str]]] = {
    command: frozenset(re.findall(r"{(\w+)}", path)) for command, path in PATHS.items()
}
"""The fields of a command that its path has: an id that is unknown there is 404, anywhere else 422."""
