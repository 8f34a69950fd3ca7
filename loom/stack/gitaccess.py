"""The credential of a project on this machine: where its agents' git finds it, and nowhere else.

All agents of a project share one folder, which is their user's alone.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loom.domain.credential import (
    DEFAULT_USERNAME,
    FOLDER,
    KEY_FILE,
    KNOWN_HOSTS_FILE,
    SEEN_HOSTS_FILE,
    TOKEN_FILE,
    CredentialKind,
    fingerprint,
    token_file,
    token_in,
)
from loom.errors import Invalid, Unavailable
from loom.stack.accounts import Accounts
from loom.stack.home import Home


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be told of a credential. hosts: whether they are given, not learnt."""

    kind: CredentialKind
    fingerprint: str
    file: Path
    hosts: bool = False


def folder_of(home: Home, project_id: str) -> Path:
    """Where a project's credential is."""
    return home.workspaces / project_id / "home" / FOLDER


def put_token(
    home: Home, accounts: Accounts, project_id: str, token: str, username: str = DEFAULT_USERNAME
) -> None:
    """Keep a token for https; raises Invalid."""
    text = token_file(token, username)
    accounts.write(_made(home, accounts, project_id) / TOKEN_FILE, text, accounts.agent)


def put_key(
    home: Home, accounts: Accounts, project_id: str, key: str, known_hosts: str = ""
) -> None:
    """Keep an ssh key; raises Invalid unless it is a private key that needs no passphrase.

    known_hosts: as ssh has it; without it a host is believed at its first word, and held to it.
    """
    text = key.strip() + "\n"
    _public_key(text)
    folder = _made(home, accounts, project_id)
    accounts.write(folder / KEY_FILE, text, accounts.agent)
    (folder / SEEN_HOSTS_FILE).unlink(missing_ok=True)
    if known_hosts:
        accounts.write(folder / KNOWN_HOSTS_FILE, known_hosts, accounts.agent)
    else:
        (folder / KNOWN_HOSTS_FILE).unlink(missing_ok=True)


def shown(home: Home, project_id: str) -> list[Shown]:
    """What the project has, by kind and fingerprint alone."""
    folder, found = folder_of(home, project_id), []
    if (file := folder / TOKEN_FILE).is_file():
        found.append(Shown(CredentialKind.TOKEN, fingerprint(token_in(file.read_text())), file))
    if (file := folder / KEY_FILE).is_file():
        told = _ssh_keygen(["-l", "-f", "-"], _public_key(file.read_text()))
        hosts = (folder / KNOWN_HOSTS_FILE).is_file()
        found.append(Shown(CredentialKind.SSH_KEY, told.split()[1], file, hosts))
    return found


def remove(home: Home, project_id: str) -> list[str]:
    """Remove all of it; the names of the files that there were."""
    removed = []
    for name in (TOKEN_FILE, KEY_FILE, KNOWN_HOSTS_FILE, SEEN_HOSTS_FILE):
        file = folder_of(home, project_id) / name
        if file.is_file():
            file.unlink()
            removed.append(name)
    return removed


def _made(home: Home, accounts: Accounts, project_id: str) -> Path:
    folder = folder_of(home, project_id)
    # From the top, so that none of them is ever another's.
    for place in (folder.parent.parent, folder.parent, folder):
        if place.is_symlink():
            # The agents' user may have put it there, to have root write elsewhere.
            raise Invalid(f"{place} is a link, which no agent needs: look at it, then remove it")
        accounts.folder(place, accounts.agent, 0o700)
    return folder


def _public_key(key: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key"
        file.touch(mode=0o600)
        file.write_text(key)
        return _ssh_keygen(["-y", "-P", "", "-f", str(file)])


def _ssh_keygen(arguments: Sequence[str], stdin: str = "") -> str:
    try:
        done = subprocess.run(
            ["ssh-keygen", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unavailable(
            "this machine has no ssh-keygen: apt-get install openssh-client"
        ) from error
    if done.returncode != 0:
        # What it says names the temporary file, and may quote the key.
        raise Invalid(
            "that is no private ssh key which can be used without a passphrase; make one by "
            "`ssh-keygen -t ed25519 -N '' -f FILE`, and give its public half to the repository"
        )
    return done.stdout
