"""Which tenants have asked this process for something lately, for the long work of one to leave them room."""

from collections.abc import Container
from time import monotonic
from typing import Final

LATELY_SECONDS: Final = 1.0
REST: Final = 3.0  # of what the work took: it has a quarter of the time
REST_SECONDS_MAX: Final = 0.5  # what took very long has waited for a server, for the most part
TENANTS_MAX: Final = 1_000

_asked: dict[str, float] = {}
"""When each tenant last asked, the latest one last."""


def asks(tenant: str) -> None:
    """Take note that a tenant has just asked for something."""
    _asked.pop(tenant, None)
    _asked[tenant] = monotonic()
    if len(_asked) > TENANTS_MAX:
        del _asked[next(iter(_asked))]


def rest_seconds(working: Container[object], took: float) -> float:
    """Return how long tenants' work that took so many seconds is to rest: not at all while nobody else asks."""
    lately = monotonic() - LATELY_SECONDS
    for tenant, at in reversed(_asked.items()):
        if at < lately:
            break
        if tenant not in working:
            return min(REST * took, REST_SECONDS_MAX)
    return 0.0
