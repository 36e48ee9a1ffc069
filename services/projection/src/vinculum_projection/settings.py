"""What the projection service can be told, by environment variables named VINCULUM_PROJECTION_…."""

from typing import ClassVar

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from vinculum_shared.settings import SubscriberSettings


class Settings(SubscriberSettings):
    model_config = SettingsConfigDict(env_prefix="VINCULUM_PROJECTION_")
    service: ClassVar[str] = "vinculum-projection"

    port: int = 8002
    metrics_port: int = 9102

    cursor_key: SecretStr
