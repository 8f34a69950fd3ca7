"""Whose processes they are: one account when an ordinary user starts Loom, several for root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from loom.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who runs what. switching: root started it, so that processes change to these users."""

    operator: Account
    postgres: Account
    rabbitmq: Account
    service: Account
    agent: Account
    switching: bool

    def own(self, path: Path, account: Account, mode: int) -> None:
        """Give the file or folder to the account, with that mode."""
        if self.switching:
            os.chown(path, account.uid, account.gid)
        path.chmod(mode)

    def write(self, path: Path, text: str, account: Account, mode: int = 0o600) -> bool:
        """Put text into the file in one step, readable by the account; False if it stood there.

        The old file stays whole until the new one takes its place, and a secret is never in a
        file that others can read, however short the time.
        """
        unchanged = path.exists() and path.read_text() == text
        if not unchanged:
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            self.own(draft, account, mode)
            draft.replace(path)
        else:
            self.own(path, account, mode)
        return not unchanged

    def folder(self, path: Path, account: Account, mode: int) -> None:
        """Make the folder where it is missing, and give it to the account."""
        path.mkdir(parents=True, exist_ok=True)
        self.own(path, account, mode)


def of_this_process(service_user: str, agent_user: str) -> Accounts:
    """The accounts for a stack that this process starts.

    Raises Unavailable naming the user that is missing and what makes it.
    """
    me = _account(pwd.getpwuid(os.geteuid()))
    if os.geteuid() != 0:
        return Accounts(me, me, me, me, me, switching=False)
    return Accounts(
        operator=me,
        postgres=_named("postgres", "apt-get install postgresql"),
        rabbitmq=_named("rabbitmq", "apt-get install rabbitmq-server"),
        service=_named(service_user, "useradd --system, or set LOOM_SERVICE_USER"),
        agent=_named(agent_user, "useradd --system, or set LOOM_AGENT_USER"),
        switching=True,
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _named(name: str, cure: str) -> Account:
    try:
        return _account(pwd.getpwnam(name))
    except KeyError as error:
        raise Unavailable(
            f"this machine has no user {name!r}, and root may not run that part: {cure}",
            user=name,
        ) from error
