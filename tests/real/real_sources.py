"""The sources of a package: from its registry, held to their checksum, and put under git."""

from __future__ import annotations

import difflib
import hashlib
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from real_packages import Package

FETCH_S = 300


@dataclass(frozen=True)
class Source:
    """tree: the files as they were published, under git. repository: a bare clone of it."""

    tree: Path
    repository: Path


def fetch(package: Package, folder: Path, owner: str) -> Source:
    """Download by the registry's own client, as this machine has it set up, and put under git.

    owner: the user who has to read the repository, if this is root.
    """
    archive = _download(package, folder / "archive")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert found == package.archive, f"{archive.name} is not the one that is known: {found}"
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    # As any user, so that what the archive says of owners is not taken over.
    _run("tar", "--extract", "--no-same-owner", f"--file={archive}", cwd=unpacked)
    (tree,) = unpacked.iterdir()
    repository = folder / f"{package.id}.git"
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@loom.invalid")
    _run("git", "init", "--quiet", "--initial-branch=main", cwd=tree)
    _run("git", "add", "--all", "--force", ".", cwd=tree)
    message = f"{package.name} {package.version}"
    _run("git", *who, "commit", "--quiet", f"--message={message}", cwd=tree)
    _run("git", "clone", "--quiet", "--bare", str(tree), str(repository), cwd=folder)
    if os.geteuid() == 0:
        user = pwd.getpwnam(owner)
        for place, folders, files in os.walk(repository):
            for name in (".", *folders, *files):
                os.lchown(Path(place, name), user.pw_uid, user.pw_gid)
    return Source(tree, repository)


def check_out(source: Source, folder: Path) -> Path:
    """A plain checkout of it, as a person has one."""
    _run("git", "clone", "--quiet", str(source.tree), str(folder), cwd=source.tree)
    return folder


def broken(package: Package, source: Source) -> tuple[str, str]:
    """The file that is broken, with all its text, and the patch that does it."""
    name, old, new = package.breaks
    before = (source.tree / name).read_text()
    assert old in before, f"{name} of {package.name} does not have {old!r}"
    after = before.replace(old, new, 1)
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return after, "".join(lines)


def _download(package: Package, folder: Path) -> Path:
    folder.mkdir()
    wanted = f"{package.name}{'==' if package.registry == 'pypi' else '@'}{package.version}"
    if package.registry == "pypi":
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        _run(*pip, "--no-deps", "--no-binary", package.name, wanted, cwd=folder)
    else:
        _run("npm", "pack", "--silent", wanted, cwd=folder)
    (archive,) = folder.iterdir()
    return archive


def _run(*argv: str, cwd: Path) -> None:
    answer = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=FETCH_S, check=False
    )
    assert answer.returncode == 0, f"{' '.join(argv)}: {answer.stdout}{answer.stderr}"
