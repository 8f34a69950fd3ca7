"""The message of a bead's commit: a title, its description, and the trailers that lead back."""

from __future__ import annotations

import unicodedata

from loom.domain.bead import Bead

MAX_TITLE = 200
MAX_BODY = 16 * 1024


def message(bead: Bead, described: str = "") -> bytes:
    """The commit message of a bead, safe to hand to git whatever its texts hold.

    described: what it says instead of the bead's own title and description. The trailers stand in a
    last paragraph of their own, so that nothing above can be taken for one.
    Source: git-interpret-trailers(1).
    """
    head, _, rest = described.strip().partition("\n")
    title, text = (head, rest) if head else (bead.title, bead.description)
    title = one_line(title)[:MAX_TITLE] or f"Bead {bead.id}"
    body = _plain(text)[:MAX_BODY].strip()
    trailers = f"Bead-Id: {one_line(bead.id)}\nCorrelation-Id: {one_line(bead.correlation_id)}"
    return "\n\n".join(part for part in (title, body, trailers) if part).encode() + b"\n"


def one_line(text: str) -> str:
    """The text without line breaks or control characters."""
    return " ".join(_plain(text).split())


def _plain(text: str) -> str:
    """The text without what git or a terminal would choke on: control characters, surrogates."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"} else "\ufffd"
        for char in lines
    )
