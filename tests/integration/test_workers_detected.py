"""Recipes that are detected for make, tox and nox really run, by an attempt in the sandbox."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from agent_stand import CHECK, MEND, git, make_repository

from loom.domain.bead import Bead
from loom.domain.lifecycle import State
from loom.domain.project import Project
from workers.attempt import Attempt
from workers.command import Leash
from workers.lease import Lease
from workers.live import Silent
from workers.means import Means

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
"""Where the tools are that the tests are installed with."""
DETECTED = {
    "make-check": ("Makefile", "check:\n\tpython3 check.py\n"),
    "tox": (
        "tox.ini",
        "[tox]\nskipsdist = true\nenvlist = py\n\n"
        "[testenv]\nskip_install = true\ncommands = python check.py\n",
    ),
    "nox": (
        "noxfile.py",
        'import nox\n\n\n@nox.session(venv_backend="none")\n'
        'def checks(session):\n    session.run("python3", "check.py")\n',
    ),
}


@pytest.mark.parametrize(
    ("step", "succeeds"), [("make-check", False), *((step, True) for step in DETECTED)]
)
def test_a_detected_tool_proves_what_is_right_and_fails_what_is_not(
    tmp_path: Path, step: str, *, succeeds: bool
) -> None:
    repository = make_repository(tmp_path / "upstream")
    seed, (name, text) = tmp_path / "upstream" / "seed", DETECTED[step]
    (seed / name).write_text(text)
    (seed / "check.py").write_text(CHECK)
    git("add", ".", cwd=seed)
    git("commit", "--quiet", "--message=Check it", cwd=seed)
    git("push", "--quiet", str(repository), "main", cwd=seed)
    bead = Bead(
        id="bd-1", project_id="demo", title="Mend the sums", state=State.IN_PROGRESS, epoch=1,
        version=2, correlation_id="corr-1", created_at=CREATED, updated_at=CREATED,
        context={"patch": MEND} if succeeds else {},
    )  # fmt: skip
    means = Means(
        root=tmp_path / "workspaces", mirrors=tmp_path / "mirrors", home=tmp_path / "home",
        path=PATH, git_timeout_s=60.0,
    )  # fmt: skip
    leash = Leash()
    with Lease(lambda: 60.0, 60.0, time.monotonic(), leash.pull) as lease:
        outcome = Attempt(
            bead, Project("demo", str(repository)), 1,
            lease=lease, leash=leash, means=means, live=Silent(),
        ).run()  # fmt: skip
    steps = {each.name: each for each in outcome.steps}
    assert step in steps, outcome
    assert outcome.succeeded is succeeds, outcome
    assert ("sums right" if succeeds else "2 + 2 = 0") in steps[step].output_tail
