"""What fault tests have in common: commands are given, something bad is done meanwhile, and nothing came of it."""

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from support.checker import EVERYTHING, Report, check
from support.evidence import Evidence, gathered
from support.fold import Fold, Json
from support.system import System
from support.workload import Workload
from vinculum_command.settings import Settings
from vinculum_command.verify import verify

ROUNDS: Final = int(os.environ.get("VINCULUM_FAULT_ROUNDS", "1"))
"""How often each kill is tried, each time with another seed."""
COMMANDS: Final = 60  # acknowledged before the fault, and again after it
ACCOUNTS_ASKED_ABOUT: Final = 5  # of each tenant


@asynccontextmanager
async def ordeal(
    system: System, seed: int | str, *, expecting: tuple[str, ...] = (), **allowed: Any
) -> AsyncIterator[Workload]:
    """Have commands given while the block runs, and after it; then see that all is as it should be."""
    workload = Workload(system, seed)
    async with workload.running():
        await workload.more(COMMANDS)
        yield workload
        await workload.more(COMMANDS)
    await judge(system, workload, expecting=(*EVERYTHING, "answers", *expecting), **allowed)


async def judge(system: System, workload: Workload, *, expecting: tuple[str, ...], **allowed: Any) -> None:
    """Let everything be done that is to be done, and check all of it; `allowed` is as in `checker.check`."""
    await system.drained()
    found = await gathered(system, workload.tenants)
    report = check(workload.operations, found, **allowed)
    report += await answers(system, workload, found)
    report.require(*expecting)
    assert await verify(system.settings(Settings)) == 0, "verify finds heads that differ from the log"


async def answers(system: System, workload: Workload, found: Evidence) -> Report:
    """Ask the projection who may enter some accounts, and which ones they are related to."""
    report = Report()
    async with system.http("projection") as http:
        for firm in workload.firms:
            headers = system.bearer(firm.tenant, firm.admin_id)
            fold = Fold.of(found.log[firm.tenant])

            async def items(path: str, headers: dict[str, str] = headers) -> list[Json]:
                answer = await http.get(f"/v1/accounts/{path}", params={"limit": 200}, headers=headers)
                assert answer.status_code == 200, answer.text
                return answer.json()["items"]  # type: ignore[no-any-return]

            for account_id in firm.accounts[:ACCOUNTS_ASKED_ABOUT]:
                entries = {(each["contact_id"], each["email_id"]) for each in await items(f"{account_id}/access")}
                related = {
                    each["account"]["id"]: {via["contact_id"] for via in each["via"]}
                    for each in await items(f"{account_id}/related")
                }
                if entries != fold.entries(account_id):
                    report.wrong.append(f"{account_id}: the projection lets in {entries}")
                if related != {other: set(via) for other, via in fold.related(account_id).items()}:
                    report.wrong.append(f"{account_id}: the projection relates it to {related}")
                report.looked_at += Counter(answers=2)
    return report
