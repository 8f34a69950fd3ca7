"""Where the local stack is looked at: each page's address, and how to get in."""

from __future__ import annotations

from dataclasses import dataclass

from loom.cli import admins
from loom.stack import credentials, flower
from loom.stack.home import Home
from loom.stack.observe import urls


@dataclass(frozen=True, slots=True)
class Address:
    """A place to look at. login: how to get in, for a person; a secret of the stack's."""

    name: str
    url: str
    login: str

    def __str__(self) -> str:
        return f"{self.name:10} {self.url}  {self.login}"


def addresses(home: Home) -> list[Address]:
    """The pages, the API, Flower and RabbitMQ's pages."""
    found = urls(home.ports())
    rabbitmq = home.secret(credentials.broker("operator"))
    return [
        Address("Pages", f"{found['control']}/", f"{admins.NAME} / as told at the first start"),
        Address("API", f"{found['control']}/api/docs", "Authorization: Bearer $(loom token show)"),
        Address("Flower", found["flower"], f"{flower.USER} / {home.secret(credentials.FLOWER)}"),
        Address("RabbitMQ", found["rabbitmq"], f"operator / {rabbitmq}"),
    ]
