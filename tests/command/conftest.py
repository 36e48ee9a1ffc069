"""A command service over HTTP, for the tests of a module."""

from collections.abc import AsyncIterator

import pytest

from support.service import Service, command_service
from support.tokens import Issuer


@pytest.fixture(scope="module")
async def service(postgres: str, issuer: Issuer) -> AsyncIterator[Service]:
    async with command_service(postgres, issuer) as service:
        yield service
