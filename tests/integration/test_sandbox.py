"""The sandbox holds: a corpus of escapes is tried in it by an agent that is root, and by nobody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from loom.stack import reach

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "integration" / "sandbox_corpus.py"
PATIENCE_S = 100
FEWEST = {"nobody": 170, "root": 95}
"""How many escapes each tries at least, so that none gets lost unseen."""


@dataclass
class Who:
    """A user who runs the corpus: its command line up to the program, and its number."""

    name: str
    uid: int
    prefix: Sequence[str] = ()

    def start(self, folder: Path, mode: str) -> subprocess.Popen[str]:
        """Try the whole corpus in the folder."""
        place = folder / f"{self.name}-{mode}"
        place.mkdir(mode=0o700)
        os.chown(place, self.uid, -1)
        return subprocess.Popen(
            [*self.prefix, _python(self), "-P", str(CORPUS), str(place), mode],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def _python(who: Who) -> str:
    """An interpreter that the user may run: this one, or else the system's of the same version."""
    for name in (sys.executable, f"python3.{sys.version_info.minor}"):
        found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
        argv = [*who.prefix, found or name, "-c", ""]
        if (
            found
            and subprocess.run(argv, capture_output=True, cwd="/", check=False).returncode == 0
        ):
            return found
    pytest.fail(f"{who.name} may run no Python {sys.version_info.major}.{sys.version_info.minor}")


def _users() -> list[Who]:
    me = os.geteuid()
    if me != 0:
        return [Who("nobody", me)]
    setpriv = shutil.which("setpriv") or "/usr/bin/setpriv"
    # setpriv itself can still start what nobody can not.
    argv = (setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "env")
    return [Who("nobody", 65534, (*_reaching(), *argv)), Who("root", 0)]


def _reaching() -> list[str]:
    """What lets nobody reach this clone and its Python where they lie in a folder of root's."""
    needed = (
        ROOT / "loom",
        ROOT / "workers",
        ROOT / "tests",
        Path(sys.prefix),
        Path(sys.base_prefix),
    )
    return reach.command(reach.survey(needed))


@dataclass
class Tried:
    """What came of the corpus: of each try, how it got out, or nothing."""

    uid: int
    tries: dict[str, str]

    @property
    def got_out(self) -> dict[str, str]:
        """Those that did."""
        return {name: words for name, words in self.tries.items() if words}


def _end(process: subprocess.Popen[str]) -> Tried:
    said, complaints = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, complaints[-4000:]
    told = json.loads(said)
    return Tried(told["uid"], told["tried"])


@pytest.fixture(scope="module")
def tried() -> Iterator[dict[str, Tried]]:
    """The corpus as each user tried it, all at once; and `control`, without a sandbox."""
    with tempfile.TemporaryDirectory(prefix="loom-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        users = _users()
        running = {who.name: who.start(folder, "bubblewrap") for who in users}
        try:
            control = _end(users[0].start(folder, "none"))
            yield {name: _end(process) for name, process in running.items()} | {"control": control}
        finally:
            for process in running.values():
                process.terminate()
                process.communicate()


@pytest.mark.parametrize("who", [who.name for who in _users()])
def test_nothing_gets_out_of_the_sandbox(
    tried: dict[str, Tried], who: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tried[who]
    with capsys.disabled():
        print(f"\n{who}: {len(one.tries)} escapes tried, {len(one.got_out)} got out")
    assert one.got_out == {}
    assert len(one.tries) >= FEWEST[who]


def test_without_a_sandbox_the_same_tries_get_out(tried: dict[str, Tried]) -> None:
    control = tried["control"]
    assert set(control.got_out) == set(control.tries)


def test_the_documentation_tells_how_many_are_tried(tried: dict[str, Tried]) -> None:
    told = (ROOT / "docs" / "security.md").read_text()
    assert f"{len(tried['nobody'].tries)} escapes tried, 0 got out" in told
