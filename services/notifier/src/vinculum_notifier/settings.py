"""The notifier's settings, from the environment; VINCULUM_NOTIFIER_PORT sets `port`."""

from typing import ClassVar

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from vinculum_shared.contracts.addresses import NewAddress
from vinculum_shared.settings import SubscriberSettings


class Settings(SubscriberSettings):
    model_config = SettingsConfigDict(env_prefix="VINCULUM_NOTIFIER_")

    service: ClassVar[str] = "vinculum-notifier"

    port: int = 8003
    metrics_port: int = 9103

    smtp_url: SecretStr
    """smtp://[name:password@]host[:port], or smtps:// for TLS from the start."""
    mail_from: NewAddress
    """The sender's address; its name is the tenant's."""
    public_url: str
    """Where mail programs reach this service, for links to unsubscribe."""

    address_key: SecretStr
    invitation_key: SecretStr
    """The same two as the command service's."""
    unsubscribe_key: SecretStr
    message_id_key: SecretStr
    cursor_key: SecretStr
