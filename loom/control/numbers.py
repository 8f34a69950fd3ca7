"""Numbers in addresses: those that the ledger could have given."""

from __future__ import annotations

from flask import Flask
from werkzeug.routing import IntegerConverter

LARGEST = 10**18 - 1


class Number(IntegerConverter):
    """A number of at most 18 digits, so that it fits wherever it goes; others lead nowhere."""

    regex = r"\d{1,18}"


def install(app: Flask) -> None:
    """Read every `<int:…>` so; before any route is registered."""
    app.url_map.converters["int"] = Number
