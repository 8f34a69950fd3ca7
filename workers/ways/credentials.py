"""What a project's own command needs to reach its vendor: from a file of the agent's operator."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from loom.errors import Invalid

FILE = "command.env"
"""In the agent's HOME, which no command sees."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read(file: Path) -> Mapping[str, str]:
    """The variables in a file of lines NAME=value; none if there is no file.

    Raises Invalid, which tells of no value, for a file that others may read or that is malformed.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the credentials in {file} cannot be read: {type(error).__name__}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Invalid(f"others may read the credentials in {file}: chmod 600 {file}")
    found: dict[str, str] = {}
    for line in parse_stream(StringIO(text)):
        name, value = line.key, line.value
        if name is None and not line.error:
            continue  # a comment, or nothing
        if name is None or value is None or not _NAME.fullmatch(name) or "\0" in value:
            raise Invalid(f"{file}: line {line.original.line} is not NAME=value")
        if name.startswith("LOOM_"):
            raise Invalid(f"{file} sets {name}: what begins with LOOM_ is Loom's own")
        found[name] = value
    return found
