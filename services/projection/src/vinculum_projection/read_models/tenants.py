"""The rules that hold at a tenant now."""

from collections.abc import Sequence
from typing import Final, LiteralString

from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.tenants import PolicyChanged, TenantChanged, TenantRegistered, TenantSettings
from vinculum_shared.postgres import Connection, columns

EVENTS: Final = (TenantRegistered, TenantChanged, PolicyChanged)


async def apply(db: Connection, events: Sequence[Recorded[TenantRegistered | TenantChanged | PolicyChanged]]) -> None:
    settings: dict[str, TenantSettings] = {}
    policies: dict[str, str] = {}
    for event in events:
        match event.data:
            case TenantRegistered():
                settings[event.tenant] = event.data
            case TenantChanged(after=after):
                settings[event.tenant] = after
            case PolicyChanged(after=policy):
                policies[event.tenant] = policy.model_dump_json()
    rows = [(tenant, each.name, each.portal_url, each.locale) for tenant, each in settings.items()]
    await db.execute(SETTINGS, *columns(rows, 4))
    await db.execute(POLICY, *columns(policies.items(), 2))


SETTINGS: LiteralString = """
    INSERT INTO tenants (tenant, name, portal_url, locale)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
    ON CONFLICT (tenant) DO UPDATE
    SET name = excluded.name, portal_url = excluded.portal_url, locale = excluded.locale"""
POLICY: LiteralString = """
    UPDATE tenants SET policy = new.policy::jsonb
    FROM unnest($1::text[], $2::text[]) AS new (tenant, policy)
    WHERE tenants.tenant = new.tenant"""
