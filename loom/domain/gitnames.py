"""Which repositories and branch names a project may have: git gets them as arguments."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MAX_REPOSITORY = 1_000
MAX_BRANCH = 200

_FORMS = "an absolute path, ssh://user@host/path, user@host:path or https://host/path"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_SCP = re.compile(rf"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?{_HOST}:(?!:)(?!//)[^-:\s][^\s]*")
_URL_HOST = re.compile(rf"{_HOST}|\[[0-9a-fA-F:]+\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def repository_fault(text: str) -> str:  # noqa: PLR0911 - a rule a line
    """Why git may not be pointed there; empty if it may.

    Transports that run a command (`ext::`, `fd::`), options in disguise ('-…', a host that begins
    with '-': CVE-2017-1000117) and secrets in the address are refused.
    """
    if not text or len(text) > MAX_REPOSITORY:
        return f"has to have 1 to {MAX_REPOSITORY} characters"
    if not text.isprintable() or text != text.strip():
        return "has to be free of control characters, and of blanks around it"
    if text.startswith("-"):
        return "begins with '-', which git would take for an option"
    if text.startswith("/"):
        return ""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*::", text):
        return f"names a remote helper of git's, which may run commands; use {_FORMS}"
    if "://" in text:
        return _url_fault(text)
    if _SCP.fullmatch(text):
        return ""
    return f"is not {_FORMS}"


def _url_fault(text: str) -> str:  # noqa: PLR0911 - a rule a line
    try:
        url = urlsplit(text)
        host, user, secret = url.hostname or "", url.username, url.password
        _ = url.port
    except ValueError as error:
        return f"is not a URL ({error}); use {_FORMS}"
    if url.scheme not in {"ssh", "https"}:
        return f"uses the transport {url.scheme}://; use {_FORMS}"
    if secret is not None or (url.scheme == "https" and user is not None):
        return (
            "holds a user or a password, which every reader of the project would see; give the "
            "agents a git credential helper or an ssh key instead"
        )
    if not _URL_HOST.fullmatch(host) and not _URL_HOST.fullmatch(f"[{host}]"):
        return f"names no host that git may be pointed at; use {_FORMS}"
    if user is not None and not _USER.fullmatch(user):
        return "names a user that ssh could take for an option"
    if url.query or url.fragment:
        return "holds '?' or '#', where a token could hide; leave them out"
    if len(url.path) < 2 or url.path.startswith("/-"):
        return "names no path on its host"
    return ""


def branch_fault(text: str) -> str:
    """Why it cannot be a branch; empty if it can. Source: git-check-ref-format(1)."""
    if not text or len(text.encode()) > MAX_BRANCH:
        return f"has to have 1 to {MAX_BRANCH} bytes"
    if text.startswith(("-", "/")) or text.endswith(("/", ".")):
        return "may not begin with '-' or '/', nor end with '/' or '.'"
    if text in {"@", "HEAD"} or any(bad in text for bad in ("..", "//", "@{")):
        return "may not be '@' or 'HEAD', nor hold '..', '//' or '@{'"
    if not text.isprintable() or any(char in " ~^:?*[\\" for char in text):
        return "may not hold a blank, a control character or one of ~ ^ : ? * [ \\"
    if any(part.startswith(".") or part.endswith(".lock") for part in text.split("/")):
        return "may not have a part that begins with '.' or ends with '.lock'"
    return ""
