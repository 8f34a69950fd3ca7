"""Running git on a foreign checkout: no hook of its, no prompts, no configuration but ours."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workers import command
from workers.command import Ended, Leash
from workers.credentials import Credentials

IDENTITY = ("Loom agent", "agent@loom.invalid")
"""Author and committer of every commit; `.invalid` belongs to nobody (RFC 2606)."""
PROTOCOLS = ("file", "https", "ssh")
"""All that git may ever fetch and push by: none of them is in the clear, or runs a command."""

_CONFIG = """\
[core]
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tautocrlf = false
\tsafecrlf = false
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
[http]
\tlowSpeedLimit = 1000
\tlowSpeedTime = 60
[fetch]
\tfsckObjects = true
\tunpackLimit = 1
[fetch "fsck"]
\tbadTimezone = ignore
\tmissingSpaceBeforeDate = ignore
\tzeroPaddedFilemode = ignore
[submodule]
\trecurse = false
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
\taddEmbeddedRepo = false
[init]
\tdefaultBranch = main
"""
"""Our configuration, in place of the user's. safe.directory: a local repository is often another
user's. unpackLimit: a fetch is one file, so that a limit on files is a limit on it. fsck: what
old repositories are full of is let pass. Git at the other end of a push to a path reads this file,
and no `-c`: what belongs to the repository there, its hooks above all, is not in here."""

_INCLUDE = "[include]\n\tpath = {home}/.gitconfig\n"
"""What the agent's own ~/.gitconfig says (a proxy, a certificate, a credential helper), read first,
so that ours wins; only where git goes out to a repository, as it may name filters and commands."""

_OVER_THE_REPOSITORY = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.fsync=none")
"""What no repository's own configuration may decide. A workspace is thrown away, so nothing in it
has to outlive a power cut; the git at the other end of a push does not read this, and keeps its own
rule."""


@dataclass(frozen=True, slots=True)
class Git:
    """git as an agent runs it. home: the agent's own, where its ssh key or credentials are.

    directory, work_tree: all that git looks at, wherever it stands and whatever a `.git` there
    says; the index is the one in directory.
    """

    config: Path
    path: str
    home: Path
    scratch: Path
    timeout_s: float
    leash: Leash
    directory: Path
    work_tree: Path | None = None
    credentials: Credentials | None = None
    protocols: tuple[str, ...] = PROTOCOLS

    def configure(self) -> None:
        """Write our configurations: one for work at home, one for going out."""
        out = _INCLUDE.format(home=self.home) + _CONFIG
        self.config.write_text(out + (self.credentials.config() if self.credentials else ""))
        self._config_at_home.write_text(_CONFIG)

    def at(self, directory: Path, work_tree: Path | None = None) -> Git:
        """The same git on that repository, and nothing else."""
        return replace(self, directory=directory, work_tree=work_tree)

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """The full command, as evidence shows it."""
        return ("git", *arguments)

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        stdin: bytes = b"",
        at: int | None = None,
        out: bool = False,
        environment: Mapping[str, str] | None = None,
        into: Path | None = None,
        max_file: int = 0,
    ) -> Ended:
        """Run git; what it says has no secret in it.

        at: the date of a commit that it makes, in seconds since 1970. out: it goes out to another
        repository. environment: besides ours. into: a file for what it prints, instead of the
        ending. max_file: bytes that any file may have which it writes; beyond them it is killed.
        """
        overrides = [part for setting in _OVER_THE_REPOSITORY for part in ("-c", setting)]
        argv: Sequence[str] = ["git", *overrides, *arguments]
        if into is not None:
            argv = ["sh", "-c", 'exec "$@" >"$0"', str(into), *argv]
        if max_file:
            argv = ["prlimit", f"--fsize={max_file}", "--", *argv]
        ended = command.run(
            argv,
            cwd=cwd or self.directory,
            environment={**self._environment(at, out=out), **(environment or {})},
            timeout_s=self.timeout_s,
            leash=self.leash,
            stdin=stdin,
        )
        if self.credentials is None:
            return ended
        return replace(ended, output=self.credentials.redact(ended.output))

    @property
    def _config_at_home(self) -> Path:
        return self.config.with_name(f"{self.config.name}-at-home")

    def _environment(self, at: int | None, *, out: bool) -> Mapping[str, str]:
        name, email = IDENTITY
        date = f"{int(time.time()) if at is None else at} +0000"
        variables = {
            "PATH": self.path,
            "HOME": str(self.home),
            "TMPDIR": str(self.scratch),
            "LANG": "C.UTF-8",
            "GIT_DIR": str(self.directory),
            "GIT_INDEX_FILE": str(self.directory / "index"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.config if out else self._config_at_home),
            "GIT_ALLOW_PROTOCOL": ":".join(each for each in self.protocols if each in PROTOCOLS)
            or "none",
            "GIT_NO_REPLACE_OBJECTS": "1",
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
        if out and self.credentials is not None:
            variables |= self.credentials.environment()
        if self.work_tree is not None:
            variables["GIT_WORK_TREE"] = str(self.work_tree)
        return variables
