"""A patch as it came, and as it may have been meant: line ends are what gets lost on the way."""

from __future__ import annotations

from collections.abc import Iterator

_NOWHERE = b"/dev/null"
_PATH_LINES = (b"rename from ", b"rename to ", b"copy from ", b"copy to ")


def refused(patch: bytes) -> str:
    """Why it is not even tried; empty if it may be.

    What leads out of the checkout by `..`, through a link or into `.git`, git itself refuses. A
    path from the root it would take for one below the checkout, which nobody means.
    """
    if not patch.strip():
        return "the patch is empty"
    lines = patch.splitlines()
    for number, line in enumerate(lines):
        after = lines[number + 1] if number + 1 < len(lines) else b""
        named = []
        if line.startswith(b"--- ") and after.startswith(b"+++ "):
            named = [line[4:], after[4:]]
        for words in _PATH_LINES:
            if line.startswith(words):
                named = [line.removeprefix(words)]
        for path in named:
            if path.startswith((b"/", b'"/')) and path.split(b"\t")[0].strip() != _NOWHERE:
                shown = path[:200].decode(errors="replace")
                return f"it names {shown!r}, a path from the root; it may name paths below it only"
    return ""


def variants(patch: bytes) -> Iterator[bytes]:
    """The patch, then the same with other line ends; the first that applies is meant.

    A patch that went through a form or a mail has CRLF all over, though the files have LF; one of
    a repository with CRLF may have lost them.
    """
    whole = patch if patch.endswith(b"\n") else patch + b"\n"
    yield whole
    if b"\r\n" in whole:
        yield whole.replace(b"\r\n", b"\n")
    elif b"GIT binary patch" not in whole:
        yield b"".join(_with_crlf(line) for line in whole.splitlines(keepends=True))


def _with_crlf(line: bytes) -> bytes:
    is_content = line[:1] in (b" ", b"+", b"-") and not line.startswith((b"--- ", b"+++ "))
    return line[:-1] + b"\r\n" if is_content and line.endswith(b"\n") else line
