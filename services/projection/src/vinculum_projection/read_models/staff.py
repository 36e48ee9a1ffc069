"""Who works at the tenant, and what they may do."""

from collections.abc import Sequence
from typing import Final, LiteralString
from uuid import UUID

from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.staff import StaffProfile, StaffUserAdded, StaffUserChanged, StaffUserDeactivated
from vinculum_shared.postgres import Connection, columns

EVENTS: Final = (StaffUserAdded, StaffUserChanged, StaffUserDeactivated)


async def apply(
    db: Connection, events: Sequence[Recorded[StaffUserAdded | StaffUserChanged | StaffUserDeactivated]]
) -> None:
    profiles: dict[tuple[str, UUID], StaffProfile] = {}
    deactivated: dict[tuple[str, UUID], None] = {}
    for event in events:
        key = (event.tenant, event.data.staff_id)
        match event.data:
            case StaffUserAdded():
                profiles[key] = event.data
            case StaffUserChanged(after=after):
                profiles[key] = after
            case StaffUserDeactivated():
                deactivated[key] = None
    rows = [(*key, profile.roles, profile.limits.accounts, True) for key, profile in profiles.items()]
    await db.execute(PROFILES, rows)
    await db.execute(DEACTIVATE, *columns(deactivated, 2))


PROFILES: LiteralString = """
    INSERT INTO staff SELECT new.* FROM unnest($1::staff[]) AS new
    ON CONFLICT (tenant, staff_id) DO UPDATE
    SET roles = excluded.roles, limited_accounts = excluded.limited_accounts"""
DEACTIVATE: LiteralString = """
    UPDATE staff SET active = false
    FROM unnest($1::text[], $2::uuid[]) AS gone (tenant, staff_id)
    WHERE (staff.tenant, staff.staff_id) = (gone.tenant, gone.staff_id)"""
