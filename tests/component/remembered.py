"""Routes and templates that are compiled once for all apps; hundreds of tests make one each.

Importing this has every app of the process do so.
"""

from __future__ import annotations

from types import CodeType
from typing import Any

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule


class Route(Rule):
    """A rule that takes over what an equal one was compiled to; all of an app's take 40 ms."""

    _kept: dict[tuple[Any, ...], dict[str, Any]] = {}  # noqa: RUF012

    def compile(self) -> None:
        """As every rule does, the first time."""
        assert self.map is not None
        # All that the outcome is made from, in maps that know the same converters.
        key = (
            self.map.host_matching, self.host, self.subdomain, self.rule, self.merge_slashes,
            tuple((self.defaults or {}).items()), tuple(self.map.converters.items()),
        )  # fmt: skip
        if key not in self._kept:
            super().compile()
            self._kept[key] = {
                name: getattr(self, name)
                for name in ("_parts", "_trace", "_converters", "arguments")
            } | {
                # Without the rule that they are bound to.
                name: getattr(self, name).__func__
                for name in ("_build", "_build_unknown")
            }
            return
        for name, value in self._kept[key].items():
            bound = value.__get__(self, None) if name.startswith("_build") else value
            setattr(self, name, bound)


class Templates(BytecodeCache):
    """The code of templates, by what they say."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """The code, if the same template was compiled before."""
        bucket.code = self._kept.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it."""
        assert bucket.code is not None
        self._kept[bucket.key, bucket.checksum] = bucket.code


Flask.url_rule_class = Route
Flask.jinja_options = {"bytecode_cache": Templates()}
