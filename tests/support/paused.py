"""A Postgres of its own that a test may pause: it keeps its connections, takes new ones, and answers none."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from support.servers import settled
from vinculum_devstack.postgres import Postgres
from vinculum_devstack.processes import Processes


class PausablePostgres:
    def __init__(self, folder: Path) -> None:
        self.server = Postgres(folder / "postgres", settled(folder)["postgres"], password="throw-away", durable=False)
        self.processes = Processes(folder)

    @property
    def url(self) -> str:
        return self.server.url

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the postmaster and each of its backends (SIGSTOP), until the block ends."""
        postmaster = self.processes.running(self.server.program.name)
        assert postmaster
        postmaster.suspend()
        stopped = [postmaster, *postmaster.children(recursive=True)]
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                with suppress(psutil.NoSuchProcess):
                    process.resume()


@pytest.fixture(scope="module")
async def pausable_postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PausablePostgres]:
    folder = tmp_path_factory.mktemp("pausable")
    postgres = PausablePostgres(folder)
    await postgres.processes.bring_up(postgres.server.part)
    yield postgres
    await postgres.processes.stop(postgres.server.program.name)
