"""The lines that a change adds, read from its diff."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_LINE = 4_000
"""Characters of a line that are looked at: what follows is generated, and slow to search."""
_HUNK = re.compile(rb"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")


def added_lines(diff: bytes) -> Iterator[tuple[str, int, str]]:
    """File, number and text of each line that a diff without context adds."""
    file, number, left = "", 0, 0
    for line in diff.split(b"\n"):
        if left > 0 and line.startswith(b"+"):
            left -= 1
            if b"\0" not in line:
                yield file, number, line[1:].decode(errors="replace")[:LONGEST_LINE]
            number += 1
        elif line.startswith(b"+++ "):
            file = _file(line[4:])
        elif hunk := _HUNK.match(line):
            number = int(hunk[1])
            counted = re.match(rb"@@ -\S+ \+\d+,(\d+) @@", line)
            left = int(counted[1]) if counted else 1


def _file(shown: bytes) -> str:
    """A file's name as git shows it: quoted as in C where it is odd."""
    name = shown.rstrip(b"\t\r")
    if name.startswith(b'"'):
        name = name[1:-1].decode("unicode_escape").encode("latin-1", errors="replace")
    return name.removeprefix(b"b/").decode(errors="replace")
