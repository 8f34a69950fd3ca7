"""A drill's folder: its own while it runs, nobody's afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from loom.drill.folder import OWNER, PREFIX, folder, sweep
from loom.stack.home import Home
from loom.stack.lifecycle import environment


def test_a_drill_leaves_no_folder_and_keeps_what_it_is_told_to_keep(tmp_path: Path) -> None:
    with folder(tmp_path, tmp_path / "kept") as made:
        (made / "accountant.jsonl").write_text("{}\n")
        (made / "home" / "logs").mkdir(parents=True)
        (made / "home" / "logs" / "engine.log").write_text("well\n")

    assert not made.exists()
    assert (tmp_path / "kept" / "accountant.jsonl").read_text() == "{}\n"
    assert (tmp_path / "kept" / "logs" / "engine.log").read_text() == "well\n"


def test_what_a_killed_drill_left_is_ended_and_removed(tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}left"
    home = Home(left / "home")
    home.run.mkdir(parents=True)
    gone = subprocess.Popen(["true"])
    gone.wait(30)
    (left / OWNER).write_text(f"{gone.pid} 1")
    stray = subprocess.Popen(
        [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"],
        env=environment(home), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert stray.stdout is not None
    stray.stdout.readline()

    assert sweep(tmp_path) == [left]

    assert stray.wait(30) != 0
    stray.stdout.close()
    assert not left.exists()


def test_the_folder_of_a_drill_that_runs_is_left_alone(tmp_path: Path) -> None:
    with folder(tmp_path) as made:
        assert sweep(tmp_path) == []
        assert made.exists()
