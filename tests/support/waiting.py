"""Waiting for what comes to be, instead of sleeping."""

import asyncio
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.02


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 180.0) -> None:
    """Return once the condition holds; TimeoutError if it still doesn't at the deadline."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  what is waited for is in another process, mostly
            await asyncio.sleep(POLL_SECONDS)
