"""Running git on a foreign checkout: no hook of its, no prompts, no configuration but ours."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers import command
from workers.command import Ended, Leash

IDENTITY = ("Loom agent", "agent@loom.invalid")
"""Author and committer of every commit; `.invalid` belongs to nobody (RFC 2606)."""

_CONFIG = """\
[include]
\tpath = {home}/.gitconfig
[core]
\tattributesFile = /dev/null
[safe]
\tdirectory = *
[protocol]
\tallow = never
[protocol "file"]
\tallow = always
[protocol "https"]
\tallow = always
[protocol "ssh"]
\tallow = always
[gc]
\tauto = 0
[maintenance]
\tauto = false
[commit]
\tgpgSign = false
[push]
\tgpgSign = false
[advice]
\tdetachedHead = false
[init]
\tdefaultBranch = main
"""
"""Our configuration, in place of the user's: what the agent's own ~/.gitconfig says (a credential
helper) is read first, so that ours wins. safe.directory: a local repository is often another
user's. Git at the other end of a push to a path reads this file, and no `-c`: what belongs to the
repository there, its hooks above all, is not in here."""

_OVER_THE_REPOSITORY = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.fsync=none")
"""What the checkout's own configuration, which a command can write, may not decide. A workspace is
thrown away, so nothing in it has to outlive a power cut; the git at the other end of a push does
not read this, and keeps its own rule."""


@dataclass(frozen=True, slots=True)
class Git:
    """git as an agent runs it. home: the agent's own, where its ssh key or credentials are."""

    config: Path
    path: str
    home: Path
    scratch: Path
    timeout_s: float
    leash: Leash

    def configure(self) -> None:
        """Write our configuration."""
        self.config.write_text(_CONFIG.format(home=self.home))

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """The full command, as evidence shows it."""
        return ("git", *arguments)

    def run(self, *arguments: str, cwd: Path, stdin: bytes = b"", at: int | None = None) -> Ended:
        """Run git. at: the date of a commit that it makes, in seconds since 1970."""
        overrides = [part for setting in _OVER_THE_REPOSITORY for part in ("-c", setting)]
        return command.run(
            ["git", *overrides, *arguments],
            cwd=cwd,
            environment=self._environment(at),
            timeout_s=self.timeout_s,
            leash=self.leash,
            stdin=stdin,
        )

    def _environment(self, at: int | None) -> Mapping[str, str]:
        name, email = IDENTITY
        date = f"{int(time.time()) if at is None else at} +0000"
        return {
            "PATH": self.path,
            "HOME": str(self.home),
            "TMPDIR": str(self.scratch),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.config),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": email,
            "GIT_COMMITTER_DATE": date,
        }
