"""Every kind of head."""

from typing import Final

from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.contacts import Contact, Login
from vinculum_command.domain.heads.head import Head
from vinculum_command.domain.heads.links import Coverage, Link, Members, Memberships
from vinculum_command.domain.heads.records import Record
from vinculum_command.domain.heads.staff import Admins, StaffUser
from vinculum_command.domain.heads.tenants import Rules, Tenant

HEADS: Final[tuple[type[Head], ...]] = (
    Tenant,
    Rules,
    StaffUser,
    Admins,
    Account,
    Contact,
    Login,
    Link,
    Members,
    Memberships,
    Coverage,
    Record,
)
