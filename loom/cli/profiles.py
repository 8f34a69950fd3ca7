"""Named Looms elsewhere, in a file that their user alone can read."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loom.errors import Invalid, NotFound

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_URL = re.compile(r"https?://[^\s/?#@]+")


@dataclass(frozen=True, slots=True)
class Named:
    """One Loom: where its API is, and the token for it."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Profiles:
    """All of them. used: the one that is meant where none is named; empty for none."""

    named: Mapping[str, Named] = field(default_factory=dict)
    used: str = ""

    def of(self, name: str) -> Named:
        """The one of that name. Raises NotFound."""
        found = self.named.get(name)
        if found is None:
            known = ", ".join(sorted(self.named)) or "none"
            raise NotFound(
                f"there is no profile {name!r} (there are: {known}): `loom profile add {name} URL`"
            )
        return found

    def with_one(self, name: str, one: Named) -> Profiles:
        """With that one, in place of one of its name. Raises Invalid."""
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} is no name for a profile: letters, digits, '.', '_' and '-'")
        if not _URL.fullmatch(one.url):
            raise Invalid(f"{one.url!r} is no address: write it as https://loom.example")
        if not one.token or not one.token.isascii() or not one.token.isprintable():
            raise Invalid("there is no token: `loom token create` there makes one")
        return Profiles({**self.named, name: one}, self.used)

    def without(self, name: str) -> Profiles:
        """Without that one. Raises NotFound."""
        self.of(name)
        left = {key: one for key, one in self.named.items() if key != name}
        return Profiles(left, "" if self.used == name else self.used)

    def using(self, name: str) -> Profiles:
        """With that one as the one that is meant; none for an empty name. Raises NotFound."""
        if name:
            self.of(name)
        return Profiles(self.named, name)


def place() -> Path:
    """$XDG_CONFIG_HOME/loom/profiles.toml; below ~/.config where that is not set."""
    base = os.environ.get("XDG_CONFIG_HOME") or ""
    folder = Path(base) if Path(base).is_absolute() else Path.home() / ".config"
    return folder / "loom" / "profiles.toml"


def read(file: Path) -> Profiles:
    """What the file holds; nothing if there is none. Raises Invalid."""
    try:
        document = tomllib.loads(file.read_text())
        named = {name: Named(one["url"], one["token"]) for name, one in document["named"].items()}
        return Profiles(named, str(document.get("use", "")))
    except FileNotFoundError:
        return Profiles()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"{file} cannot be read ({error}): mend it, or take it away") from error


def write(file: Path, profiles: Profiles) -> None:
    """Put the file in the place of the one before; it was never open to anybody else."""
    # A JSON string of printable ASCII is a TOML string too.
    lines = [f"use = {json.dumps(profiles.used)}\n", "[named]\n"]
    for name, one in sorted(profiles.named.items()):
        lines.append(f"\n[named.{json.dumps(name)}]\n")
        lines.append(f"url = {json.dumps(one.url)}\ntoken = {json.dumps(one.token)}\n")
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write("".join(lines))
        part.replace(file)
    except OSError as error:
        raise Invalid(f"{file} cannot be written: {error.strerror}") from error
