"""Postgres connections: their limits, and the refusal of a server that may forget what it has acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias, TypeVar

import asyncpg
import structlog
from pydantic import SecretStr

from vinculum_shared import deadlines
from vinculum_shared.supervision import waiting_for, working
from vinculum_shared.telemetry import OperatorError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection

log = structlog.get_logger()

T = TypeVar("T")

CONNECT_DEADLINE_SECONDS: Final = 60.0
CONNECT_BACKOFF_SECONDS_MAX: Final = 2.0
GRACE_SECONDS: Final = 5.0  # in which Postgres is to say that it has given up a statement
OUTAGE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # how a connection behaves whose backend was terminated just before
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # a lock that was not to be had in time is one
)
"""Postgres is away, takes no writes (full or read-only), is too busy to answer in time, or put another first.

Whether it did what was asked is not known.
"""
CUSTOM_PLANS: Final = {"plan_cache_mode": "force_custom_plan"}
"""An optional filter that is not given costs nothing; and a cached plan would date from empty tables."""
NOT_UP_YET: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError)
REFUSED: Final = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
# Postgres has no time limit of its own for a session that has begun a statement and not sent the rest of it, as asyncpg
# leaves one between preparing a statement and executing it.
END_SILENT: LiteralString = """
    SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = session_user
        AND application_name = current_setting('application_name')
        AND xact_start IS NOT NULL AND wait_event = 'ClientRead'
        AND state_change < now() - current_setting('idle_in_transaction_session_timeout')::interval"""
DURABLE: Final = {"fsync": ("on",), "full_page_writes": ("on",), "synchronous_commit": ("on", "remote_apply")}


class RefusedByPostgresError(OperatorError):
    """Postgres does not know the role, its password or the database that the settings name."""


class UnsafePostgresError(OperatorError):
    """Postgres runs with settings under which an acknowledged commit may be lost."""


async def connect_pool(
    url: SecretStr,
    *,
    application_name: str,
    size: int,
    role: str | None = None,
    statement_timeout_ms: int = 30_000,
    lock_timeout_ms: int = 10_000,
    unsafe_durability: bool = False,
    init: Callable[[Any], Coroutine[Any, Any, None]] | None = None,
    server_settings: Mapping[str, str] | None = None,
) -> Pool:
    """Open a pool, waiting for a server that is still starting. `server_settings` go before those set here."""
    settings = {
        "application_name": application_name,
        "timezone": "UTC",
        "jit": "off",
        "statement_timeout": str(statement_timeout_ms),
        "lock_timeout": str(lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(statement_timeout_ms),
        **({"role": role} if role else {}),
        **(server_settings or {}),
    }

    async def open_pool() -> Pool:
        return await asyncpg.create_pool(
            url.get_secret_value(),
            min_size=1,
            max_size=size,
            timeout=10.0,
            command_timeout=statement_timeout_ms / 1_000 + GRACE_SECONDS,
            server_settings=settings,
            init=init,
            reset=_leave_as_it_is,
        )

    try:
        pool = await when_up(open_pool)
    except REFUSED as error:
        raise RefusedByPostgresError(f"Postgres refuses the connection: {error}.") from error
    if not unsafe_durability:
        try:
            await refuse_unsafe(pool)
        except UnsafePostgresError:
            await pool.close()
            raise
    return pool


async def _leave_as_it_is(_: object) -> None:
    """Save a round trip: what is set for a session is set anew by each use that needs it, all else in a transaction."""


async def when_up(connect: Callable[[], Awaitable[T]]) -> T:
    """Try until the server is there; its own refusals (a wrong password, no such database) are raised at once."""
    loop = asyncio.get_running_loop()
    deadline, backoff_seconds = loop.time() + CONNECT_DEADLINE_SECONDS, 0.1
    waited = False
    while True:
        try:
            connected = await connect()
        except NOT_UP_YET:
            waited = True
            waiting_for("Postgres")
            if loop.time() + backoff_seconds > deadline:
                raise
        else:
            if waited:
                working()
            return connected
        await asyncio.sleep(backoff_seconds)
        backoff_seconds = min(2 * backoff_seconds, CONNECT_BACKOFF_SECONDS_MAX)


async def refuse_unsafe(connection: Connection | Pool) -> None:
    shown = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in DURABLE}
    unsafe = [f"{name} = {value}" for name, value in shown.items() if value not in DURABLE[name]]
    if unsafe:
        raise UnsafePostgresError(
            f"Postgres runs with {', '.join(unsafe)}: what it acknowledged could be lost. "
            "Switch that on; or, where data may be thrown away, set UNSAFE_DURABILITY=true."
        )


@asynccontextmanager
async def lent(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection, until the deadline of what is being done: a server that hangs answers no rollback either."""
    db = await pool.acquire()
    deadline = deadlines.current()
    loan = Loan(db)
    if deadline:
        deadline.using.append(loan)
    try:
        yield db
    finally:
        try:
            await pool.release(db)
        finally:
            if deadline:
                deadline.using.remove(loan)


@dataclass(eq=False, slots=True)
class Loan:
    """A connection that is lent."""

    db: Connection

    def terminate(self) -> None:
        with suppress(asyncpg.InterfaceError):  # its way back has just ended
            self.db.terminate()


async def end_silent_sessions(pool: Pool) -> None:
    """End the service's sessions whose client has left a transaction open for too long: a process that is paused."""
    async with lent(pool) as db, db.transaction():
        await db.execute("SET LOCAL ROLE NONE")  # sessions belong to the login role
        if ended := await db.fetchval(END_SILENT):
            log.warning("silent_sessions_ended", count=ended)


def columns(rows: Iterable[Iterable[Any]], width: int) -> list[list[Any]]:
    """Turn rows into the arrays that unnest takes: without rows, `width` empty ones."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
