from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from support.projection import Projection, clone_of, running, settings_for
from support.tokens import Issuer
from vinculum_projection import database


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer.make(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="session")
async def template(postgres: str, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> str:
    name = f"projection_template_{uuid4().hex}"
    folder = tmp_path_factory.mktemp("template")
    await database.create(settings_for(postgres, name, folder, issuer.jwks, "http://127.0.0.1:1"))
    return name


@pytest.fixture
async def projection(postgres: str, template: str, issuer: Issuer, tmp_path: Path) -> AsyncIterator[Projection]:
    (tmp_path / "service-token").write_text("token")
    async with (
        clone_of(template, postgres) as name,
        running(settings_for(postgres, name, tmp_path, issuer.jwks, "http://127.0.0.1:1"), issuer) as projection,
    ):
        yield projection
