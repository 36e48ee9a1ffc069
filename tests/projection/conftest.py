"""A projection with a log to read, on a clone of a migrated database."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from support.log_server import LogServer
from support.projection import Projection, clone_of, running, settings_for
from support.tokens import Issuer
from vinculum_projection import database
from vinculum_projection.settings import Settings


@pytest.fixture(scope="session")
async def template(postgres: str, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> str:
    name = f"projection_template_{uuid4().hex}"
    await database.create(settings_for(postgres, name, tmp_path_factory.mktemp("none"), issuer.jwks, "http://unused"))
    return name


@pytest.fixture
async def settings(
    postgres: str, template: str, issuer: Issuer, log: LogServer, tmp_path: Path
) -> AsyncIterator[Settings]:
    (tmp_path / "service-token").write_text("token")
    async with clone_of(template, postgres) as name:
        yield settings_for(postgres, name, tmp_path, issuer.jwks, log.url)


@pytest.fixture
async def projection(settings: Settings, issuer: Issuer, log: LogServer) -> AsyncIterator[Projection]:
    async with running(settings, issuer, log) as projection:
        yield projection
