"""The demo tenants, one for each profile. Their admins have fixed ids, so that a token for them needs no look-up."""

import http
from dataclasses import dataclass
from typing import Final

import httpx2

from vinculum_devstack.problems import StackError


@dataclass(frozen=True)
class DemoTenant:
    tenant: str
    name: str
    admin_name: str
    admin_id: str


DEMO_TENANTS: Final = (
    DemoTenant("taxdome", "Ledger Lane Tax", "Tamara Quill", "01990000-0000-7000-8000-000000000001"),
    DemoTenant("zoho", "Zephyr Helpdesk", "Zacharias Wren", "01990000-0000-7000-8000-000000000002"),
    DemoTenant("perfex", "Pixelwerk", "Petra Feldmann", "01990000-0000-7000-8000-000000000003"),
    DemoTenant("dynamics", "Dunărea Trading", "Daria Ionescu", "01990000-0000-7000-8000-000000000004"),
    DemoTenant("teamleader", "Torenhof Projects", "Thijs Lemmens", "01990000-0000-7000-8000-000000000005"),
)


async def register_demo_tenants(command: str, platform_token: str) -> None:
    headers = {"authorization": f"Bearer {platform_token}"}
    async with httpx2.AsyncClient(base_url=command, headers=headers, timeout=30.0) as client:
        for demo in DEMO_TENANTS:
            registration = {
                "tenant": demo.tenant,
                "name": demo.name,
                "profile": demo.tenant,
                "portal_url": f"https://portal.example.com/{demo.tenant}",
                "admin": {"id": demo.admin_id, "name": demo.admin_name, "email": f"admin@{demo.tenant}.example.com"},
            }
            answer = await client.post("/v1/tenants", json=registration)
            already_there = answer.status_code == http.HTTPStatus.CONFLICT and answer.json()["code"] == "id_taken"
            if not (answer.is_success or already_there):
                raise StackError(f"The tenant {demo.tenant} could not be registered: {answer.text}")
