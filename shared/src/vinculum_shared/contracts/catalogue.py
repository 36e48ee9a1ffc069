"""Every event type, by its short name.

A type is frozen once it is here: new fields are optional, a new meaning is a new version.
"""

from typing import Final

from vinculum_shared.contracts.accounts import AccountArchived, AccountChanged, AccountCreated, AccountRestored
from vinculum_shared.contracts.contacts import (
    ContactChanged,
    ContactCreated,
    ContactDeactivated,
    ContactReactivated,
    EmailAdded,
    EmailChanged,
    EmailReleased,
    EmailRemoved,
    EmailSuppressed,
)
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.links import (
    ContactLinked,
    ContactUnlinked,
    LinkChanged,
    NotificationPreferencesChanged,
    PermissionsChanged,
    PortalAccessChanged,
)
from vinculum_shared.contracts.records import RecordCreated, RecordReminded, RecordSent
from vinculum_shared.contracts.staff import StaffUserAdded, StaffUserChanged, StaffUserDeactivated
from vinculum_shared.contracts.tenants import PolicyChanged, TenantChanged, TenantRegistered

EVENT_TYPES: Final[dict[str, type[Event]]] = {
    event_type.__name__: event_type
    for event_type in (
        TenantRegistered,
        TenantChanged,
        PolicyChanged,
        StaffUserAdded,
        StaffUserChanged,
        StaffUserDeactivated,
        AccountCreated,
        AccountChanged,
        AccountArchived,
        AccountRestored,
        ContactCreated,
        ContactChanged,
        EmailAdded,
        EmailChanged,
        EmailRemoved,
        EmailSuppressed,
        EmailReleased,
        ContactDeactivated,
        ContactReactivated,
        ContactLinked,
        ContactUnlinked,
        LinkChanged,
        PortalAccessChanged,
        PermissionsChanged,
        NotificationPreferencesChanged,
        RecordCreated,
        RecordSent,
        RecordReminded,
    )
}
