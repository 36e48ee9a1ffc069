"""What the projection service can be told, by environment variables named VINCULUM_PROJECTION_…."""

from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from vinculum_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="VINCULUM_PROJECTION_")
    service: ClassVar[str] = "vinculum-projection"

    port: int = 8002
    metrics_port: int = 9102

    command_url: str
    service_token_file: Path
    cursor_key: SecretStr
