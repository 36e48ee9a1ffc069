"""The rules that hold at a tenant now."""

from collections.abc import Sequence
from typing import Final, LiteralString

from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.tenants import PolicyChanged
from vinculum_shared.postgres import Connection, columns

EVENTS: Final = (PolicyChanged,)


async def apply(db: Connection, events: Sequence[Recorded[PolicyChanged]]) -> None:
    policies = {event.tenant: event.data.after.model_dump_json() for event in events}
    await db.execute(POLICY, *columns(policies.items(), 2))


POLICY: LiteralString = """
    INSERT INTO tenants (tenant, policy)
    SELECT tenant, policy::jsonb FROM unnest($1::text[], $2::text[]) AS new (tenant, policy)
    ON CONFLICT (tenant) DO UPDATE SET policy = excluded.policy"""
