"""A short drill, by its command: a few classes on a small stack of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loom.stack.observe import tail

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("kill-dispatcher", "at-ingester.recorded", "at-agent.worked", "duplicated", "poison")


def drill(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `loom drill` with these words."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "loom.cli", "drill", *words],
        env=kept | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
    )


def ends_of_logs(kept: Path) -> str:
    """What each process said last."""
    return "\n\n".join(
        f"{file.name}:\n{tail(file, 15)}" for file in sorted(kept.glob("logs/*.log"))
    )


@pytest.mark.timeout(450)
def test_under_faults_nothing_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    chosen = [word for name in CLASSES for word in ("--class", name)]

    answer = drill("--small", "--seed", "1", *chosen, "--keep", str(tmp_path), "--json")

    assert answer.returncode == 0, answer.stdout + answer.stderr + ends_of_logs(tmp_path)
    report = json.loads(answer.stdout)
    told = json.dumps(report, indent=2) + answer.stderr
    assert (report["lost"], report["doubled"], report["unexpected"]) == (0, 0, 0), told
    assert report["accepted"] > len(CLASSES), told
    assert set(report["classes"]) == set(CLASSES)
    for name, figures in report["classes"].items():
        assert (figures["injected"], figures["survived"]) == (1, 1), f"{name}: {told}"
        assert figures["recovery_s"]["worst"] > 0
    # The agent died after the work and before the report, so that the work was done again.
    assert report["re_executed"] >= 1, told


def test_a_class_that_does_not_exist_is_named_with_those_that_do() -> None:
    answer = drill("--class", "earthquake")
    names = json.loads(drill("--list", "--json").stdout)

    assert answer.returncode == 2
    assert "earthquake" in answer.stderr
    assert {"kill-broker-majority", "partition-broker", "poison", "at-agent.worked"} <= set(names)
