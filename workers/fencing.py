"""The fencing token of an attempt, kept in the repository itself: `refs/loom/<bead>/<epoch>`.

An agent may stand still between the ledger's last yes and its push, for as long as it likes. So the
push moves the branch and removes the attempt's token in one transaction of the repository, and a
later attempt removes every older token before it looks at the branch: from then on no older push
can land. It holds because an attempt places its token before it asks the ledger a last time.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from loom.telemetry import logs
from workers.command import Ended
from workers.git import Git

ROOT = "refs/loom"
ROUNDS = 3
"""How often older tokens are looked for again, after one of them changed under our hands."""

log = logs.get(__name__)


class Placed(Enum):
    """What became of a token."""

    YES = "yes"
    REFUSED = "refused"
    """The repository takes no such ref: a push of this attempt is not fenced by it."""
    FAILED = "failed"
    """It could not be asked, or it said something else; `Token.words` has what."""


class Token:
    """One attempt's token. words: what git said last."""

    def __init__(self, git: Git, checkout: Path, repository: str, bead_id: str, epoch: int) -> None:
        self._git, self._checkout, self._repository = git, checkout, repository
        self._folder, self._epoch = f"{ROOT}/{bead_id}", epoch
        self._ref = f"{self._folder}/{epoch}"
        self._value = ""
        self.words = ""

    def withdraw_older(self) -> Placed:
        """Remove the tokens of earlier epochs: their pushes fail from now on.

        One that is gone by itself has pushed: the branch is there to be seen.
        """
        for _ in range(ROUNDS):
            older = self._older()
            if older is None:
                return Placed.FAILED
            if not older:
                return Placed.YES
            leases = [f"--force-with-lease={ref}:{sha}" for ref, sha in older.items()]
            ended = self._push(*leases, "--", self._repository, *(f":{ref}" for ref in older))
            if ended.exit_code == 0:
                log.info("older_tokens_withdrawn", tokens=sorted(older))
                return Placed.YES
            if "[remote rejected]" in ended.output:
                log.warning("push_not_fenced", why=self.words)
                return Placed.REFUSED
        return Placed.FAILED

    def place(self, sha: str) -> Placed:
        """Put the token there, with an object that the repository has."""
        ended = self._push(
            f"--force-with-lease={self._ref}:", "--", self._repository, f"{sha}:{self._ref}"
        )
        if ended.exit_code == 0:
            self._value = sha
            return Placed.YES
        if "[remote rejected]" in ended.output:
            log.warning("push_not_fenced", why=self.words)
            return Placed.REFUSED
        return Placed.FAILED

    def give_up(self) -> None:
        """Remove the token, after a push that did not."""
        if self._value:
            lease = f"--force-with-lease={self._ref}:{self._value}"
            self._push(lease, "--", self._repository, f":{self._ref}")
            self._value = ""

    @property
    def options(self) -> tuple[str, ...]:
        """What a push has to say that goes together with the token's end; empty without one."""
        if not self._value:
            return ()
        return ("--atomic", f"--force-with-lease={self._ref}:{self._value}")

    @property
    def refspecs(self) -> tuple[str, ...]:
        """The token's end, as part of that push."""
        return (f":{self._ref}",) if self._value else ()

    def refused_in(self, output: str) -> bool:
        """Whether a push failed for the token: it is gone, or the repository keeps such refs."""
        # What git itself refuses it calls `(delete):<ref>`, what the repository refuses `:<ref>`.
        refused = (f"!\t(delete):{self._ref}\t", f"!\t:{self._ref}\t")
        return "does not support --atomic" in output or any(
            line.startswith(refused) for line in output.splitlines()
        )

    def _older(self) -> dict[str, str] | None:
        """The refs of earlier epochs and what they hold; None when the repository is away."""
        arguments = ("ls-remote", "--quiet", "--", self._repository, f"{self._folder}/*")
        ended = self._git.run(*arguments, cwd=self._checkout, out=True)
        self.words = ended.output
        if ended.exit_code != 0:
            return None
        older = {}
        for line in ended.output.splitlines():
            sha, _, ref = line.partition("\t")
            epoch = ref.removeprefix(f"{self._folder}/")
            if epoch.isdecimal() and int(epoch) < self._epoch:
                older[ref] = sha
        return older

    def _push(self, *arguments: str) -> Ended:
        options = ("push", "--porcelain", "--no-verify", "--no-recurse-submodules")
        ended = self._git.run(*options, *arguments, cwd=self._checkout, out=True)
        self.words = ended.output
        return ended
