"""The tokens by which the services know one another: good for hours, and renewed while the stack runs.

A service reads its token's file again when it changes.
"""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from vinculum_devstack.keys import write_secret
from vinculum_devstack.tokens import mint

SCOPES: Final = {
    "projection": ("log", "personal", "all_tenants", "queries"),
    "notifier": ("log", "personal", "all_tenants", "preferences"),
}
LIFETIME_SECONDS: Final = 4 * 3_600
RENEWED_SECONDS: Final = 60.0  # so that a machine which has slept through the lifetime soon has new ones


def write_service_tokens(data: Path) -> None:
    for service, scopes in SCOPES.items():
        token = mint(data, kind="service", sub=service, scopes=scopes, expires_seconds=LIFETIME_SECONDS)
        file = token_file(data, service)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(file, token)


def token_file(data: Path, service: str) -> Path:
    return secrets_folder(data, service) / "service.token"


def secrets_folder(data: Path, owner: str) -> Path:
    """Return the folder of secrets that are one service's or server's own."""
    return data / "secrets" / owner


def main(data: Annotated[Path, typer.Argument()]) -> None:
    """Renew the tokens for as long as this runs."""
    while True:
        write_service_tokens(data)
        time.sleep(RENEWED_SECONDS)


if __name__ == "__main__":
    typer.run(main)
