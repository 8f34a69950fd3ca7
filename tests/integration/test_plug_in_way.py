"""The documented plug-in: installed as its package, found, and worked by."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loom.errors import Invalid
from loom.rpc.generate import ROOT
from loom.testing.bench import bench
from workers.ways import registry


def test_a_way_of_another_package_is_found_once_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(ROOT / "docs/examples/loom-way-bump", tmp_path / "source")
    installer = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    installer += ["--no-build-isolation", "--target", str(tmp_path / "site"), str(source)]
    subprocess.run(installer, check=True, timeout=120)
    monkeypatch.syspath_prepend(tmp_path / "site")

    ready = bench(tmp_path / "bench", {"version": "1.1"}, files={"VERSION": "1.0\n"})
    assert "bump" in registry.installed()
    way = registry.load("bump")
    way.check(ready.bead.context, ready.project)
    way.work(ready)

    assert ready.git("diff", "--unified=0").endswith("-1.0\n+1.1\n")
    assert (ready.commit_message, way.commits) == ("Release 1.1", True)
    assert [step.output_tail for step in ready.steps] == ["VERSION: 1.0 -> 1.1"]
    with pytest.raises(Invalid, match=r"like 1\.2\.3"):
        way.check({"version": "next"}, ready.project)
