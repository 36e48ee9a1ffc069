"""What the containers of docker-compose.yml share: keys, the services' own tokens, and their secrets as settings."""

from pathlib import Path
from typing import Annotated

import typer

from vinculum_devstack.keys import make_keys, service_secrets, write_secret
from vinculum_devstack.service_tokens import write_service_tokens
from vinculum_devstack.services import SERVICES


def main(folder: Annotated[Path, typer.Argument()]) -> None:
    make_keys(folder)
    write_service_tokens(folder)
    for service in SERVICES:
        settings = service_secrets(folder, service).items()
        write_secret(folder / f"{service}.env", "".join(f"{name}={value}\n" for name, value in settings))


if __name__ == "__main__":
    typer.run(main)
