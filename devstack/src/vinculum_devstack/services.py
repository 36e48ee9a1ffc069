"""The three services as programs of the stack, with their settings."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import httpx2

from vinculum_devstack.keys import jwks, keys, service_secrets
from vinculum_devstack.ports import HOST
from vinculum_devstack.processes import Program
from vinculum_devstack.service_tokens import token_file

SERVICES: Final = ("command", "projection", "notifier")
READY_TIMEOUT_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Services:
    data: Path
    ports: Mapping[str, int]
    postgres_url: str  # of a role that may create roles and databases
    kafka_bootstrap: str

    def url(self, service: str) -> str:
        return f"http://{HOST}:{self.ports[service]}"

    def metrics_url(self, service: str) -> str:
        return f"http://{HOST}:{self.ports[f'{service}_metrics']}/metrics"

    def migration(self, service: str) -> Program:
        argv = [sys.executable, "-m", f"vinculum_{service}", "migrate"]
        return Program(f"migrate-{service}", argv, self.operator_settings(service))

    def operator_settings(self, service: str) -> dict[str, str]:
        """Return the settings for a service's tasks: those that it runs with, and the admin's URL."""
        return self._settings(service) | {f"VINCULUM_{service.upper()}_ADMIN_URL": self.postgres_url}

    def program(self, service: str) -> Program:
        return Program(service, [sys.executable, "-m", f"vinculum_{service}", "run"], self._settings(service))

    def _settings(self, service: str) -> dict[str, str]:
        own = {
            "command": {},
            "projection": {"COMMAND_URL": self.url("command"), "SERVICE_TOKEN_FILE": token_file(self.data, service)},
            "notifier": {
                "COMMAND_URL": self.url("command"),
                "SERVICE_TOKEN_FILE": token_file(self.data, service),
                "SMTP_URL": f"smtp://{HOST}:{self.ports['smtp']}",
                "MAIL_FROM": "no-reply@example.com",
                "PUBLIC_URL": self.url("notifier"),
            },
        }
        settings = own[service] | {
            "DATABASE_URL": self._database_url(service),
            "KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "JWKS": jwks(self.data),
            "HOST": HOST,
            "PORT": self.ports[service],
            "METRICS_PORT": self.ports[f"{service}_metrics"],
        }
        prefix = f"VINCULUM_{service.upper()}_"
        return {prefix + name: str(value) for name, value in settings.items()} | service_secrets(self.data, service)

    def _database_url(self, service: str) -> str:
        """Turn the admin's URL into that of the service's own role and database."""
        url = urlsplit(self.postgres_url)
        role = f"vinculum_{service}"
        password = keys(self.data)["database_passwords"][service]
        server = url.netloc.rpartition("@")[2]
        return urlunsplit(url._replace(netloc=f"{role}:{password}@{server}", path=f"/{role}"))


async def is_ready(url: str) -> bool:
    try:
        async with httpx2.AsyncClient(timeout=READY_TIMEOUT_SECONDS) as client:
            return (await client.get(f"{url}/health/ready")).is_success
    except httpx2.TransportError:
        return False
