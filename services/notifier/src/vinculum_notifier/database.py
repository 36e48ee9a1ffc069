"""The service's database, and the two roles it works under: see the first migration."""

from typing import Final

from vinculum_notifier.settings import Settings
from vinculum_shared import migrate, postgres
from vinculum_shared.postgres import CUSTOM_PLANS, Pool

HTTP: Final = "vinculum_notifier_http"
WORKER: Final = "vinculum_notifier_worker"
HTTP_CONNECTIONS: Final = 8
QUERY_MS_MAX: Final = 5_000
WORK_MS_MAX: Final = 30_000


async def http_pool(settings: Settings) -> Pool:
    return await _pool(settings, HTTP, HTTP_CONNECTIONS, QUERY_MS_MAX)


async def worker_pool(settings: Settings, size: int) -> Pool:
    return await _pool(settings, WORKER, size, WORK_MS_MAX)


async def _pool(settings: Settings, role: str, size: int, statement_timeout_ms: int) -> Pool:
    return await postgres.connect_pool(
        settings.database_url,
        application_name=settings.service,
        size=size,
        role=role,
        statement_timeout_ms=statement_timeout_ms,
        unsafe_durability=settings.unsafe_durability,
        server_settings=CUSTOM_PLANS,
    )


async def create(settings: Settings) -> int:
    """Make what is missing: the login role, the database, the roles and the tables."""
    await migrate.migrate(settings.admin_url, settings.database_url, "vinculum_notifier")
    return 0
