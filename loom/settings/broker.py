"""How a service reaches RabbitMQ."""

from __future__ import annotations

from urllib.parse import quote

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class BrokerSettings(Settings):
    """LOOM_BROKER_*: host, port, vhost and the service's own user."""

    model_config = SettingsConfigDict(env_prefix="LOOM_BROKER_")

    host: str = "127.0.0.1"
    port: int = 5672
    vhost: str = "loom"
    username: str
    password: SecretStr
    heartbeat_s: int = 30
    timeout_s: float = 10.0
    """Seconds for connecting, and for the broker to confirm a publish."""

    @property
    def url(self) -> str:
        """The AMQP URL, password included: never log it."""
        password = quote(self.password.get_secret_value(), safe="")
        return (
            f"amqp://{quote(self.username, safe='')}:{password}"
            f"@{self.host}:{self.port}/{quote(self.vhost, safe='')}"
        )
