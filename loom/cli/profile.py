"""Which Loom the command speaks to: the one that LOOM_URL names, else the local stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import httpx
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from loom.clients.control import ControlClient
from loom.errors import Forbidden, Invalid
from loom.settings import load
from loom.settings.source import Settings
from loom.stack import credentials
from loom.stack.home import Home, StackSettings, find_home
from loom.stack.ports import HOST


class RemoteSettings(Settings):
    """LOOM_URL and LOOM_TOKEN: another Loom than the local stack."""

    model_config = SettingsConfigDict(env_prefix="LOOM_")

    url: str = ""
    token: SecretStr = SecretStr("")


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the API is, and the token for it. transport: another way there than a socket."""

    url: str
    token: str
    transport: httpx.BaseTransport | None = None

    def client(self) -> ControlClient:
        """A client; close it."""
        return ControlClient(self.url, self.token, transport=self.transport)


def local_home() -> Home:
    """The home of the stack around the current folder, or LOOM_HOME's."""
    return find_home(load(StackSettings).home, Path.cwd())


def of_stack(home: Home) -> Profile:
    """The profile of a local stack.

    Raises NotFound where none was started, Forbidden where it is another user's.
    """
    try:
        port = home.ports().of("control")
        return Profile(f"http://{HOST}:{port}", home.secret(credentials.API_TOKEN))
    except PermissionError as error:
        raise Forbidden(
            f"{error.filename} belongs to the user who started the stack: run this as that user, "
            "or set LOOM_URL and LOOM_TOKEN"
        ) from error


def current() -> Profile:
    """The profile of this call: the one it was given, else the environment's, else the stack's.

    Raises as of_stack does, and Invalid for half a profile.
    """
    given = click.get_current_context().find_object(Profile)
    if given is not None:
        return given
    remote = load(RemoteSettings)
    token = remote.token.get_secret_value()
    if remote.url and not token:
        raise Invalid("LOOM_URL is set and LOOM_TOKEN is not: `loom token show` there prints it")
    if remote.url:
        return Profile(remote.url, token)
    stack = of_stack(local_home())
    return Profile(stack.url, token or stack.token)
