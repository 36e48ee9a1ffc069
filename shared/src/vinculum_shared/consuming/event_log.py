"""The log over HTTP, for what Kafka did not bring: gaps, the beginning, and how far the log has got."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

import httpx2
import orjson

from vinculum_shared import telemetry
from vinculum_shared.contracts import envelope
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.values import TENANT_ID
from vinculum_shared.token_file import TokenFile

PAGE_EVENTS: Final = 1_000
LOOK_UP_TENANTS: Final = 1_000
TIMEOUT_SECONDS: Final = 15.0
LOG: Final = "the log of the command service"

is_tenant: Final = lru_cache(maxsize=4_096)(re.compile(TENANT_ID).fullmatch)


class Line(NamedTuple):
    """An event before it is decoded: what the reading protocol itself relies on."""

    tenant: str
    position: int
    id: UUID
    long_type: str
    stream: str
    recorded_at: datetime
    commit_index: int
    commit_size: int
    event: dict[str, Any]

    @classmethod
    def read(cls, value: bytes | str) -> Self:
        """Read an event. Raise ValueError, LookupError or TypeError if an attribute isn't what an event has there.

        Anybody may have written a record, and these values are stored and compared before the event is decoded.
        """
        event = orjson.loads(value)
        tenant, stream, long_type = event["tenant"], event["subject"], event["type"]
        position, index, size = event["position"], event["commitindex"], event["commitsize"]
        texts = type(tenant) is type(stream) is type(long_type) is str
        if not (texts and type(position) is type(index) is type(size) is int):
            raise TypeError("an attribute has another type than an event's")
        recorded_at = datetime.fromisoformat(event["time"])
        if not is_tenant(tenant) or "\0" in stream or "\0" in long_type or recorded_at.tzinfo is None:
            raise ValueError("an attribute has a value that no event has")
        if not 1 <= index <= size or position < index:
            raise ValueError("a number is out of range")
        return cls(tenant, position, envelope.as_uuid(event["id"]), long_type, stream, recorded_at, index, size, event)

    @property
    def type(self) -> str:
        return envelope.short_type(self.long_type)

    def decode(self) -> envelope.Recorded[Event]:
        return envelope.from_json(self.event)


class Lookup(NamedTuple):
    """What the log has of a tenant."""

    end: int
    """Its last position; 0 where it has never heard of the tenant."""
    event_id: UUID | None
    """Of the event at the position that was asked about; None where the log does not go that far."""


class IncompleteLogError(Exception):
    """The log did not give what its positions promise, or what can be read; it may do so later."""


class EventLog:
    """`GET /v1/log` of the command service, under a token for the log of all tenants."""

    def __init__(self, http: httpx2.AsyncClient, token: TokenFile) -> None:
        self.http = http
        self.token = token

    async def after(self, tenant: str, position: int, limit: int = PAGE_EVENTS) -> list[Line]:
        """Read a page of one tenant's log."""
        return await self._page({"tenant": tenant, "after": str(position), "limit": str(limit)})

    async def all_after(self, tenant: str, position: int) -> list[Line]:
        """Read a page of all tenants' logs, in the order of tenant and position."""
        return await self._page({"after": f"{tenant}:{position}", "limit": str(PAGE_EVENTS)})

    async def positions(self, tenant: str | None = None) -> dict[str, int]:
        """Read each tenant's last position, or that of the one named."""
        answer = await self._ask("GET", "/v1/log/positions", params={"tenant": tenant} if tenant else {})
        positions: dict[str, int] = orjson.loads(answer.content)["positions"]
        return positions

    async def look_up(self, at: Mapping[str, int]) -> dict[str, Lookup]:
        """Return, for each tenant, how far its log goes and which event it has at the position given."""
        found: dict[str, Lookup] = {}
        tenants = list(at)
        for first in range(0, len(tenants), LOOK_UP_TENANTS):
            some = {tenant: at[tenant] for tenant in tenants[first : first + LOOK_UP_TENANTS]}
            answer = orjson.loads((await self._ask("POST", "/v1/log/positions", json={"at": some})).content)
            ends, ids = answer["positions"], answer["ids"]
            found |= {
                tenant: Lookup(ends.get(tenant, 0), UUID(ids[tenant]) if tenant in ids else None) for tenant in some
            }
        return found

    async def _page(self, query: dict[str, str]) -> list[Line]:
        answer = await self._ask("GET", "/v1/log", params=query)
        try:
            return [Line.read(line) for line in answer.content.splitlines() if line]
        except (ValueError, LookupError, TypeError) as error:
            raise IncompleteLogError from error

    async def _ask(self, method: str, path: str, **what: Any) -> httpx2.Response:
        headers = {
            "Authorization": f"Bearer {self.token.read()}",
            "Accept": f"{envelope.NDJSON}, application/json",
            "traceparent": telemetry.continued(telemetry.traceparent.get()),
        }
        answer = await self.http.request(method, path, headers=headers, **what)
        return answer.raise_for_status()


@asynccontextmanager
async def open_log(command_url: str, token: TokenFile) -> AsyncIterator[EventLog]:
    async with httpx2.AsyncClient(base_url=command_url, timeout=TIMEOUT_SECONDS) as http:
        yield EventLog(http, token)


def whole_commits(lines: Iterable[Line]) -> tuple[list[Line], list[Line]]:
    """Part lines, contiguous in each tenant, into whole commits and the beginnings of commits that go on."""
    by_tenant: dict[str, list[Line]] = {}
    for line in lines:
        by_tenant.setdefault(line.tenant, []).append(line)
    whole: list[Line] = []
    begun: list[Line] = []
    for own in by_tenant.values():
        last = own[-1]
        end = len(own) if last.commit_index == last.commit_size else len(own) - last.commit_index
        whole += own[:end]
        begun += own[end:]
    return whole, begun
