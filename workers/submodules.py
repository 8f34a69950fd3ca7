"""Which repositories a commit's submodules are, and whether they may be fetched."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from workers import refusals

MAX_DEPTH = 3
"""Submodules of submodules."""
MAX_COUNT = 100


def urls(listed: bytes) -> Mapping[str, str]:
    """Path to address, from `git config -z --list` of a .gitmodules."""
    named: dict[str, dict[str, str]] = {}
    for part in listed.decode(errors="replace").split("\0"):
        key, _, value = part.partition("\n")
        if key.startswith("submodule."):
            name, _, field = key.removeprefix("submodule.").rpartition(".")
            named.setdefault(name, {})[field.lower()] = value
    return {
        fields["path"]: fields["url"]
        for fields in named.values()
        if "path" in fields and "url" in fields
    }


def address(url: str, parent: str) -> str:
    """The address of a submodule whose url may be relative to its parent's."""
    if not url.startswith(("./", "../")):
        return url
    if "://" in parent:
        scheme, _, rest = parent.partition("://")
        host, _, path = rest.partition("/")
        return f"{scheme}://{host}{_joined('/' + path, url)}"
    if parent.startswith("/"):
        return _joined(parent, url)
    host, _, path = parent.partition(":")
    return f"{host}:{_joined('/' + path, url).removeprefix('/')}"


def fault(repository: str, protocols: tuple[str, ...]) -> str:
    """Why a submodule may not be fetched from there; empty if it may.

    Never from a path: a repository would have the agent read what lies on its machine. Source:
    CVE-2022-39253.
    """
    return refusals.of_address(repository, tuple(each for each in protocols if each != "file"))


def _joined(path: str, url: str) -> str:
    return posixpath.normpath(posixpath.join(path.rstrip("/"), url))
