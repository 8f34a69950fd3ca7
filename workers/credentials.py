"""The credential of an agent's project, as git and ssh get it: by the name of its file alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loom.domain.credential import (
    KEY_FILE,
    KNOWN_HOSTS_FILE,
    SEEN_HOSTS_FILE,
    TOKEN_FILE,
    redact,
    token_in,
)

_SSH = (
    *("ssh", "-oBatchMode=yes", "-oConnectTimeout=30", "-oServerAliveInterval=15"),
    *("-oForwardAgent=no", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no"),
)
TOKEN_VARIABLE = "LOOM_GIT_TOKEN_FILE"  # noqa: S105 - the name of a variable that names a file
# The helper is asked to get, to store and to erase; it has one answer, and keeps nothing.
_HELPER = f'!f() {{ test "$1" != get || cat -- "${TOKEN_VARIABLE}"; }}; f'


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one project. folder: where they are kept. repository: the address a token is meant for.

    No other host is shown the token, whatever a submodule or a redirect names.
    """

    folder: Path
    repository: str

    def environment(self) -> Mapping[str, str]:
        """What git and ssh need to find it."""
        variables = {"GIT_SSH_COMMAND": self._ssh_command(), "GIT_SSH_VARIANT": "ssh"}
        if self._token.is_file():
            variables[TOKEN_VARIABLE] = str(self._token)
        return variables

    def config(self) -> str:
        """What git's configuration says of it; to be read after the user's."""
        if not self._token.is_file() or not self.repository.startswith("https://"):
            return ""
        url = urlsplit(self.repository)
        quoted = _HELPER.replace("\\", "\\\\").replace('"', '\\"')
        return (
            "[credential]\n\thelper =\n"
            f'[credential "https://{url.netloc}"]\n\thelper = "{quoted}"\n'
        )

    def redact(self, text: str) -> str:
        """The text without the token, should anything ever have said it."""
        return redact(text, (token_in(_text(self._token)),))

    def secrets(self) -> tuple[str, ...]:
        """What nobody is ever told of it: the token and the key, as far as there are any."""
        return token_in(_text(self._token)), _text(self.folder / KEY_FILE)

    @property
    def _token(self) -> Path:
        return self.folder / TOKEN_FILE

    def _ssh_command(self) -> str:
        key, known = self.folder / KEY_FILE, self.folder / KNOWN_HOSTS_FILE
        argv = list(_SSH)
        if known.is_file():
            argv += ["-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={_ssh_word(known)}"]
        else:
            seen = _ssh_word(self.folder / SEEN_HOSTS_FILE)
            argv += ["-oStrictHostKeyChecking=accept-new", f"-oUserKnownHostsFile={seen}"]
        if key.is_file():
            # Without the user's configuration, nor any other key that lies about.
            argv += ["-F", "/dev/null", "-oIdentitiesOnly=yes", "-oIdentityAgent=none"]
            argv += ["-i", str(key)]
        return shlex.join(argv)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _ssh_word(path: Path) -> str:
    """The path as ssh reads it in an option, where a blank would end it."""
    return f'"{path}"'
