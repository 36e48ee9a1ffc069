"""The secrets of the containers in docker-compose.yml."""

from pathlib import Path

import pytest

from vinculum_devstack import compose
from vinculum_devstack.keys import keys
from vinculum_devstack.service_tokens import secrets_folder

pytestmark = pytest.mark.unit


def contents(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.iterdir())


def test_each_container_has_its_own_secrets_only_and_none_the_key_that_signs_tokens(tmp_path: Path) -> None:
    compose.main(tmp_path)
    known = keys(tmp_path)
    for owner in compose.OWNERS:
        found = contents(secrets_folder(tmp_path, owner))
        assert known["signing_key"] not in found
        for service, password in known["database_passwords"].items():
            assert (password in found) == (service == owner)
        assert (known["postgres_password"] in found) == (owner == "postgres")


def test_secrets_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    compose.main(tmp_path)
    before = {owner: contents(secrets_folder(tmp_path, owner)) for owner in ("command", "kafka", "postgres")}
    compose.main(tmp_path)
    assert {owner: contents(secrets_folder(tmp_path, owner)) for owner in before} == before
