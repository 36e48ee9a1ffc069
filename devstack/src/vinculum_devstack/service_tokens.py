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
        write_secret(token_file(data, service), token)


def token_file(data: Path, service: str) -> Path:
    return data / f"{service}.token"


def main(data: Annotated[Path, typer.Argument()]) -> None:
    """Renew the tokens for as long as this runs."""
    while True:
        write_service_tokens(data)
        time.sleep(RENEWED_SECONDS)


if __name__ == "__main__":
    typer.run(main)
