"""Every port of a stack, counted from its base: the one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from loom.errors import Invalid

DEFAULT_BASE = 8080
HOST = "127.0.0.1"

OFFSETS: dict[str, int] = {
    "control": 0,
    "flower": 1,
    "amqp": 2,
    "management": 3,
    "broker-metrics": 4,
    "epmd": 5,
    "broker-dist": 6,
    "postgres": 7,
    "pgbouncer": 8,
    "database": 9,
    "supervisor": 10,
    "connectors": 11,
}
"""What listens where, as a distance from the base."""

SPAN = max(OFFSETS.values()) + 1
"""How many ports one stack takes: two bases have to lie this far apart."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is: clients call host and port, and it listens on `bind`."""

    host: str
    port: int
    bind: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Addresses(Protocol):
    """Where everything is that the table of ports names."""

    def address(self, name: str) -> Address:
        """The address of one; KeyError if the table has no such row."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the stack whose control plane listens on `base`."""

    base: int

    def __post_init__(self) -> None:
        if not 1024 <= self.base <= 65535 - SPAN:
            raise Invalid(
                f"the port base {self.base} leaves no room for {SPAN} ports that an ordinary user "
                f"may open: take one from 1024 to {65535 - SPAN}",
                field="LOOM_PORT_BASE",
            )

    def of(self, name: str) -> int:
        """The port of what the table calls `name`; KeyError if it has no such row."""
        return self.base + OFFSETS[name]

    def address(self, name: str) -> Address:
        """Where it listens and is reached: on loopback."""
        return Address(HOST, self.of(name), HOST)

    def all(self) -> dict[str, int]:
        """Every port by its name."""
        return {name: self.base + offset for name, offset in OFFSETS.items()}
