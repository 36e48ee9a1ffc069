"""The stack that the acceptance tests share."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from support import servers
from support.stack import HTTP_SECONDS, Stack, running_stack


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[Stack]:
    async with httpx2.AsyncClient(timeout=HTTP_SECONDS) as http:
        yield running_stack(Path(os.environ[servers.FOLDER]), http)
