"""Which Loom the command speaks to: one elsewhere that is named, else the local stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import httpx
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from loom.cli import profiles
from loom.clients.control import TIMEOUT_S, ControlClient
from loom.errors import Forbidden, Invalid
from loom.settings import load
from loom.settings.source import Settings
from loom.stack import credentials
from loom.stack.home import Home, StackSettings, find_home
from loom.stack.ports import HOST


class RemoteSettings(Settings):
    """LOOM_URL and LOOM_TOKEN, or LOOM_PROFILE: another Loom than the local stack."""

    model_config = SettingsConfigDict(env_prefix="LOOM_")

    url: str = ""
    token: SecretStr = SecretStr("")
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the API is, and the token for it. transport: another way there than a socket."""

    url: str
    token: str
    transport: httpx.BaseTransport | None = None

    def client(self, timeout_s: float = TIMEOUT_S) -> ControlClient:
        """A client; close it."""
        return ControlClient(self.url, self.token, timeout_s=timeout_s, transport=self.transport)


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
    found = elsewhere(remote)
    if found is not None:
        return found
    stack = of_stack(local_home())
    return Profile(stack.url, remote.token.get_secret_value() or stack.token)


def elsewhere(remote: RemoteSettings) -> Profile | None:
    """The Loom that `--profile`, LOOM_URL, LOOM_PROFILE or `loom profile use` names, in this order;
    None where the local stack is meant. Raises Invalid for half a one, NotFound for an unknown one.
    """
    asked = click.get_current_context().find_root().params.get("profile_name") or ""
    if remote.url and not asked:
        token = remote.token.get_secret_value()
        if not token:
            raise Invalid(
                "LOOM_URL is set and LOOM_TOKEN is not: `loom token show` there prints it"
            )
        return Profile(remote.url, token)
    kept = profiles.read(profiles.place())
    name = asked or remote.profile or (kept.used if not load(StackSettings).home else "")
    if not name:
        return None
    one = kept.of(name)
    return Profile(one.url, one.token)


def local_urls() -> dict[str, str]:
    """Where Flower and RabbitMQ's pages are, if the command speaks to the stack here; else none."""
    given = click.get_current_context().find_object(Profile)
    if given is not None or elsewhere(load(RemoteSettings)) is not None:
        return {}
    ports = local_home().ports()
    return {name: f"http://{HOST}:{ports.of(port)}" for name, port in _PAGES.items()}


_PAGES = {"flower": "flower", "rabbitmq": "management"}
