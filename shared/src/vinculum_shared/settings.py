"""The settings that every service has. A service subclasses them and sets its own environment prefix."""

from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vinculum_shared.kafka import Security, SecurityProtocol

TOPIC: Final = "vinculum.events.v1"


class ServiceSettings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    service: ClassVar[str]
    """The service's name: in logs, and as the client of Postgres and Kafka."""

    database_url: SecretStr
    admin_url: SecretStr | None = None
    """A role that may create roles and databases, on any database of the cluster; for `migrate` only."""

    kafka_bootstrap: str
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    kafka_username: str | None = None
    """Authenticates with SCRAM-SHA-512."""
    kafka_password: SecretStr | None = Field(default=None, validate_default=True)
    kafka_ca_file: Path | None = None
    """The authorities, in PEM, that a broker's certificate may come from; those of the system if not given."""
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

    @field_validator("kafka_password")
    @classmethod
    def _sasl_has_credentials(cls, password: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        sasl = others.data.get("kafka_security_protocol", "").startswith("SASL")
        if sasl and not (password and others.data.get("kafka_username")):
            raise ValueError("SASL needs a username and a password.")
        return password

    @property
    def kafka_security(self) -> Security:
        return Security(self.kafka_security_protocol, self.kafka_username, self.kafka_password, self.kafka_ca_file)


class SubscriberSettings(ServiceSettings):
    """The settings of a service that reads the events."""

    command_url: str
    service_token_file: Path
    """Holds a token of kind service with the scopes `log personal all_tenants`, and those of the commands it gives."""
