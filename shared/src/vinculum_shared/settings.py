"""The settings that every service has. A service subclasses them and sets its own environment prefix."""

from typing import ClassVar, Final, Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

TOPIC: Final = "vinculum.events.v1"


class ServiceSettings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    service: ClassVar[str]
    """The service's name: in logs, and as the client of Postgres and Kafka."""

    database_url: SecretStr
    admin_url: SecretStr | None = None
    """A role that may create roles and databases, on any database of the cluster; for `migrate` only."""

    kafka_bootstrap: str
    topic: str = TOPIC

    jwks: str
    """Path or URL of the JWK set that tokens are checked against."""
    issuer: str = "vinculum"

    host: str = "127.0.0.1"
    port: int
    metrics_port: int

    log_format: Literal["json", "console"] = "json"
    unsafe_durability: bool = False
    """Accept a Postgres that may lose acknowledged commits. For tests."""
