"""The secrets of the containers in docker-compose.yml: a folder for each, so that none has another's.

The container `keys` runs this at every start. What is there already stays as it is.
"""

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from vinculum_devstack.certificates import make_certificate
from vinculum_devstack.folder import read_json, write_json
from vinculum_devstack.kafka_access import READERS, RELAY
from vinculum_devstack.keys import jwks, keys, make_keys, service_secrets, write_secret
from vinculum_devstack.service_tokens import secrets_folder, write_service_tokens
from vinculum_devstack.services import SERVICES

SUBSCRIBER: Final = "subscriber"
OWNERS: Final = (*SERVICES, "postgres", "kafka", SUBSCRIBER)


def main(data: Annotated[Path, typer.Argument()]) -> None:
    make_keys(data)
    for owner in OWNERS:
        secrets_folder(data, owner).mkdir(parents=True, exist_ok=True)
    write_postgres_secrets(data)
    write_kafka_secrets(secrets_folder(data, "kafka"))
    for service in SERVICES:
        write_service_secrets(data, service)
    write_client_secrets(data, SUBSCRIBER, kafka_credentials(data, SUBSCRIBER, "KAFKA_"))
    write_service_tokens(data)


def write_postgres_secrets(data: Path) -> None:
    """Write the admin's password: for the server itself, and as URLs for the migrations."""
    password, folder = keys(data)["postgres_password"], secrets_folder(data, "postgres")
    url = f"postgresql://postgres:{password}@postgres/postgres"
    write_settings(folder / "settings.env", {"POSTGRES_PASSWORD": password})
    write_settings(folder / "admin.env", {f"VINCULUM_{service.upper()}_ADMIN_URL": url for service in SERVICES})


def write_kafka_secrets(folder: Path) -> None:
    """Make Kafka's certificate, which its group may read, and the passwords of its users."""
    certificate = folder / "certificate.pem"
    if not certificate.exists():
        authority, own = make_certificate(["kafka"])
        write_secret(folder / "ca.pem", authority)
        write_secret(certificate, own)
        certificate.chmod(0o640)
    found: dict[str, str] = read_json(folder / "users.json") or {}
    write_json(folder / "users.json", {user: secrets.token_urlsafe(24) for user in (RELAY, *READERS)} | found)


def write_service_secrets(data: Path, service: str) -> None:
    role, prefix = f"vinculum_{service}", f"VINCULUM_{service.upper()}_"
    password = keys(data)["database_passwords"][service]
    database = {f"{prefix}DATABASE_URL": f"postgresql://{role}:{password}@postgres/{role}"}
    kafka = kafka_credentials(data, f"vinculum-{service}", f"{prefix}KAFKA_")
    write_client_secrets(data, service, service_secrets(data, service) | database | kafka)
    shutil.copyfile(jwks(data), secrets_folder(data, service) / "jwks.json")


def kafka_credentials(data: Path, user: str, prefix: str) -> dict[str, str]:
    passwords = read_json(secrets_folder(data, "kafka") / "users.json")
    return {f"{prefix}USERNAME": user, f"{prefix}PASSWORD": passwords[user]}


def write_client_secrets(data: Path, owner: str, settings: Mapping[str, str]) -> None:
    """Write what a client of Kafka connects with, and its other secrets."""
    folder = secrets_folder(data, owner)
    write_settings(folder / "settings.env", settings)
    shutil.copyfile(secrets_folder(data, "kafka") / "ca.pem", folder / "kafka-ca.pem")


def write_settings(path: Path, settings: Mapping[str, str]) -> None:
    write_secret(path, "".join(f"{name}={value}\n" for name, value in settings.items()))


if __name__ == "__main__":
    typer.run(main)
