"""The API documents through linters and generators that others wrote, and what they generate on the real system."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from support.stack import Stack

pytestmark = pytest.mark.acceptance

ROOT: Final = Path(__file__).parents[2]
CLIENTS: Final = ROOT / "tests" / "clients"
GENERATED: Final = CLIENTS / "generated"
REFERENCE: Final = ROOT / "docs" / "reference"
SERVICES: Final = ("command", "projection", "notifier")
DETAILS: Final = {"vat": "IT01234567890"}


def run(*command: str | Path, **environment: str) -> str:
    path = f"{python().parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603  our own command lines
        list(map(str, command)),
        cwd=CLIENTS,
        env={
            **os.environ,
            "PATH": path,
            "REDOCLY_TELEMETRY": "off",
            "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} failed\n{done.stdout}\n{done.stderr}"
    return done.stdout


def python() -> Path:
    """Return the Python of the generators' own environment, which brings Node.js too."""
    return ROOT / ".venv" / "clients" / "bin" / "python"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """Install the linters and generators, pinned with hashes, where they are not there already."""
    uv = str(Path(sys.executable).parent / "uv")
    run(uv, "venv", "--quiet", "--allow-existing", python().parents[1], "--python", sys.executable)
    requirements = ROOT / "requirements" / "clients.txt"
    run(uv, "pip", "install", "--quiet", "--python", python(), "--require-hashes", "-r", requirements)
    run("npm", "ci")
    GENERATED.mkdir(exist_ok=True)


def module(*path: str) -> Path:
    return CLIENTS.joinpath("node_modules", *path)


@pytest.mark.parametrize("service", SERVICES)
def test_redocly_has_nothing_against_the_openapi_document(service: str) -> None:
    run("node", module("@redocly", "cli", "bin", "cli.js"), "lint", REFERENCE / f"openapi-{service}.json")


def test_the_asyncapi_parser_has_nothing_against_the_document() -> None:
    assert run("node", "asyncapi.mjs", REFERENCE / "asyncapi.json") == ""


async def test_a_python_client_changes_one_field_and_leaves_the_others(stack: Stack) -> None:
    for service in SERVICES:
        document, package = REFERENCE / f"openapi-{service}.json", GENERATED / service
        generator = (python().parent / "openapi-python-client", "generate", "--overwrite", "--meta", "none")
        told = run(*generator, "--config", "python.yaml", "--path", document, "--output-path", package)
        assert "WARNING" not in told, told
    await changes_one_field(stack, python(), "change_an_account.py")


async def test_a_typescript_client_changes_one_field_and_leaves_the_others(stack: Stack) -> None:
    for service in SERVICES:
        generator = module("openapi-typescript", "bin", "cli.js")
        run("node", generator, REFERENCE / f"openapi-{service}.json", "-o", GENERATED / f"{service}.ts")
    run("node", module("typescript", "bin", "tsc"))
    await changes_one_field(stack, "node", "generated/js/change_an_account.js")


async def changes_one_field(stack: Stack, *program: str | Path) -> None:
    firm = await stack.tenant("dynamics")
    account_id = await firm.account("Contoso", kind="company", details=DETAILS, external_ids={"crm": "A-17"})
    urls = (stack.services["command"], stack.services["projection"])
    printed = json.loads(run(*program, *urls, firm.token, account_id, "Contoso Ltd", PYTHONPATH=str(GENERATED)))
    account: dict[str, Any] = printed["account"]
    assert account["name"] == "Contoso Ltd"
    assert (account["kind"], account["details"], account["external_ids"]) == ("company", DETAILS, {"crm": "A-17"})
    assert printed["missing"] == "account_not_found"
