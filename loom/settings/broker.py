"""How a service reaches RabbitMQ."""

from __future__ import annotations

from urllib.parse import quote

from pydantic import SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class BrokerSettings(Settings):
    """LOOM_BROKER_*: host, port, vhost and the service's own user.

    hosts: the nodes of a cluster, as `host:port,host:port`; a client takes the first that can be
    used. Empty for the one at host and port.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_BROKER_")

    host: str = "127.0.0.1"
    port: int = 5672
    hosts: str = ""
    vhost: str = "loom"
    username: str
    password: SecretStr
    heartbeat_s: int = 30
    timeout_s: float = 10.0
    """Seconds for connecting, and for the broker to confirm a publish."""

    @field_validator("hosts")
    @classmethod
    def _are_addresses(cls, hosts: str) -> str:
        for address in filter(None, hosts.split(",")):
            host, _, port = address.strip().rpartition(":")
            if not host or ";" in host or not port.isdecimal():
                raise ValueError("write it as host:port,host:port")
        return hosts

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Every node that may be used, as (host, port), in the order they are tried."""
        pairs = [one.strip().rpartition(":") for one in self.hosts.split(",") if one.strip()]
        return tuple((host, int(port)) for host, _, port in pairs) or ((self.host, self.port),)

    @property
    def urls(self) -> tuple[str, ...]:
        """The AMQP URL of every node, password included: never log them."""
        user = quote(self.username, safe="")
        password = quote(self.password.get_secret_value(), safe="")
        vhost = quote(self.vhost, safe="")
        return tuple(
            f"amqp://{user}:{password}@{host}:{port}/{vhost}" for host, port in self.addresses
        )

    @property
    def url(self) -> str:
        """The AMQP URL of the first node, password included: never log it."""
        return self.urls[0]
