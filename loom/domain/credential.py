"""How a project's agents are let into its repository: where that is kept, how it is told.

An operator puts it into the agents' HOME; git alone reads it, from the file. It is never in an
argument, in an environment, in a log line or in a message.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum

from loom.errors import Invalid

FOLDER = "git"
"""In the agents' HOME, for their user alone."""
TOKEN_FILE = "token"  # noqa: S105 - the name of a file
"""`username=…` and `password=…` a line, as git's credential protocol has them."""
KEY_FILE = "ssh-key"
KNOWN_HOSTS_FILE = "known-hosts"
"""Given by the operator: then no other host is spoken to."""
SEEN_HOSTS_FILE = "seen-hosts"
"""Else what each host showed at the first time is kept here, and has to stay the same."""

DEFAULT_USERNAME = "x-access-token"
"""What goes with a token where the server does not care; GitHub and GitLab do not."""
MAX_TOKEN = 8 * 1024

_USERINFO = re.compile(r"(?<=://)[^\s/@'\"]+@")


class CredentialKind(StrEnum):
    """What a credential is."""

    TOKEN = "token"  # noqa: S105 - a kind
    SSH_KEY = "ssh-key"


def token_file(token: str, username: str = DEFAULT_USERNAME) -> str:
    """The text of the token's file; raises Invalid for what cannot be one, without telling it."""
    for what, text in (("the token", token), ("the user name", username)):
        if not text or len(text) > MAX_TOKEN or not text.isprintable() or " " in text:
            raise Invalid(f"{what} has to be one word of 1 to {MAX_TOKEN} characters on one line")
    return f"username={username}\npassword={token}\n"


def token_in(text: str) -> str:
    """The token that such a file holds; empty if none."""
    found = re.search(r"^password=(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def fingerprint(token: str) -> str:
    """What tells tokens apart without telling them."""
    return "SHA256:" + hashlib.sha256(token.encode()).hexdigest()[:16]


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the secrets, and without the user and password of any URL."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[redacted]")
    return _USERINFO.sub("[redacted]@", text)
