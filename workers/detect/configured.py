"""Configuration files of a repository, read leniently: what cannot be read says nothing."""

from __future__ import annotations

import configparser
import json
import tomllib
from collections.abc import Mapping
from typing import Any

from workers.detect.tree import Tree


def toml(tree: Tree, name: str) -> Mapping[str, Any]:
    """A TOML file as a mapping; empty where there is none that can be read."""
    try:
        return tomllib.loads(tree.read(name))
    except (ValueError, RecursionError):
        return {}


def json_object(tree: Tree, name: str) -> Mapping[str, Any]:
    """A JSON file as a mapping; empty where there is none that can be read."""
    try:
        value = json.loads(tree.read(name) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def ini(tree: Tree, name: str) -> Mapping[str, Mapping[str, str]]:
    """The sections of an INI file; empty where there is none that can be read."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(tree.read(name))
        return {
            section: {key: value or "" for key, value in parser.items(section)}
            for section in parser.sections()
        }
    except (configparser.Error, ValueError):
        return {}


def table(value: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A table within tables; empty where there is none."""
    found: Any = value
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def texts(value: Any) -> tuple[str, ...]:
    """The strings of a list, or of a text with one a line."""
    if isinstance(value, str):
        return tuple(line.strip() for line in value.splitlines() if line.strip())
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
