"""Running a package's own tools directly in a plain checkout, as a person does."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import real_told
from real_packages import VENV, Direct
from real_told import Tests

COMMAND_S = 600


@dataclass(frozen=True)
class Told:
    """What the tools told. build: the exit code, None where nothing is built."""

    tests: Tests
    test_exit: int
    build: int | None
    findings: dict[str, int]


class Checkout:
    """A plain checkout with its surroundings. path: the PATH that agents have, too."""

    def __init__(self, folder: Path, tree: Path, path: str) -> None:
        self.tree = tree
        self._venv, self._home = folder / "venv", folder / "home"
        self._home.mkdir()
        self._environment = {"PATH": path, "HOME": str(self._home), "LANG": "C.UTF-8"}

    def prepare(self, direct: Direct) -> None:
        """Install what the tools need."""
        for argv in direct.prepare:
            code, said = self._run(argv)
            assert code == 0, f"{argv}: {said[-3000:]}"

    def prove(self, direct: Direct) -> Told:
        """Build, lint and test."""
        codes = [self._run(argv)[0] for argv in direct.build]
        found = {tool: real_told.findings(tool, self._run(argv)[1]) for tool, argv in direct.lint}
        tests, code = self.test(direct)
        return Told(tests, code, max(codes) if codes else None, found)

    def rebuild(self, direct: Direct) -> None:
        """Make what was changed count."""
        for argv in direct.rebuild:
            code, said = self._run(argv)
            assert code == 0, f"{argv}: {said[-3000:]}"

    def test(self, direct: Direct) -> tuple[Tests, int]:
        """Test alone, and the exit code."""
        code, said = self._run(direct.test)
        return real_told.tests(direct.test_tool, said), code

    def _run(self, argv: tuple[str, ...]) -> tuple[int, str]:
        """The exit code, and all that it printed."""
        placed = [word.replace(VENV, str(self._venv)) for word in argv]
        answer = subprocess.run(
            placed,
            cwd=self.tree,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        return answer.returncode, answer.stdout
