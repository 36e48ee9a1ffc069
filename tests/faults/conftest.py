"""The system that is killed, paused and cut off."""

from collections.abc import AsyncIterator

import pytest

from support.system import System, running_system


@pytest.fixture(scope="module")
async def shared_system() -> AsyncIterator[System]:
    async with running_system(System) as system:
        yield system


@pytest.fixture
async def system(shared_system: System) -> System:
    """A system of which everything runs, whatever the test before did to it."""
    await shared_system.heal()
    return shared_system
