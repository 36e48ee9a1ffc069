"""The services' own tokens: what they allow, and for how long."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from support.waiting import until
from vinculum_devstack.keys import make_keys
from vinculum_devstack.service_tokens import token_file, write_service_tokens
from vinculum_shared.token_file import TokenFile

pytestmark = pytest.mark.unit

HOURS = 3_600


def claims(data: Path, service: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token_file(data, service).read_text(), options={"verify_signature": False})
    return found


def test_a_service_has_the_scopes_that_it_uses_for_some_hours(tmp_path: Path) -> None:
    make_keys(tmp_path)
    write_service_tokens(tmp_path)
    assert claims(tmp_path, "notifier")["scope"] == "log personal all_tenants preferences"
    assert claims(tmp_path, "projection")["scope"] == "log personal all_tenants queries"
    for service in ("notifier", "projection"):
        found = claims(tmp_path, service)
        assert found["exp"] - found["iat"] <= 12 * HOURS


async def test_tokens_are_renewed_and_those_of_an_older_stack_replaced(tmp_path: Path) -> None:
    make_keys(tmp_path)
    file = token_file(tmp_path, "notifier")
    file.parent.mkdir(parents=True)
    file.write_text("good for a year")
    quickly = "import sys, vinculum_devstack.service_tokens as t; t.RENEWED_SECONDS = 0.1; t.main(t.Path(sys.argv[1]))"
    renewing = await asyncio.create_subprocess_exec(sys.executable, "-c", quickly, str(tmp_path))
    try:
        for _ in range(3):
            await changed(file)
    finally:
        renewing.terminate()
        await renewing.wait()
    assert claims(tmp_path, "notifier")["scope"].split()[-1] == "preferences"


async def changed(file: Path) -> None:
    before = TokenFile(file).read()

    async def differs() -> bool:
        return TokenFile(file).read() != before

    await until(differs)
