"""What the command service can be told, by environment variables named VINCULUM_COMMAND_…."""

from typing import ClassVar

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from vinculum_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="VINCULUM_COMMAND_")
    service: ClassVar[str] = "vinculum-command"

    port: int = 8001
    metrics_port: int = 9101

    topic_partitions: int = 12
    """Of the topic that the relay makes, for good: another number, and tenants would go to other partitions."""
    topic_replicas: int = 1

    address_key: SecretStr
    """Keys the hashes by which addresses are compared. Another key, and no two are alike any more.

    The notifier has the same, for invitations.
    """
    invitation_key: SecretStr
    """Signs invitations; the notifier has the same."""
