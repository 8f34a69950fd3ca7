"""The rules of the tree that no linter holds."""

import re
import subprocess
import sys
from pathlib import Path

from loom.rpc.generate import ROOT, generate

TOP = {
    "loom", "workers", "migrations", "proto", "docker", "compose.yaml", "tests", "celeryconfig.py",
    "setup.cfg", "README.md", "pyproject.toml", "Makefile", ".ci", "requirements.txt",
    "requirements-test.txt", "LICENSE", "docs", "bench", "deploy", ".gitignore", ".dockerignore",
}  # fmt: skip


def tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listing.stdout.splitlines()


def test_the_top_level_holds_what_the_architecture_names():
    assert {Path(name).parts[0] for name in tracked()} <= TOP


def test_the_generated_code_is_what_proto_generates(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    generate(tmp_path)
    for made in sorted((tmp_path / "loom/rpc/v1").iterdir()):
        kept = ROOT / "loom/rpc/v1" / made.name
        assert kept.read_text() == made.read_text(), f"{kept} is out of date: make proto"


def test_the_contract_passes_buf():
    buf = Path(sys.executable).parent / "buf"
    run = subprocess.run([buf, "lint", ROOT / "proto"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_compose_yaml_follows_the_schema_of_compose():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    run = subprocess.run(
        [*check, ROOT / "compose.yaml"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_names_of_the_broker_are_spelled_in_the_topology_alone():
    name = re.compile(r"""["']loom\.(tasks|results|events|logs|metrics|dead|unrouted)\b""")
    offenders = [
        f"{path}:{number}"
        for path in tracked()
        if path.endswith(".py") and path.startswith(("loom/", "workers/"))
        and path != "loom/messaging/topology.py"
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if name.search(line)
    ]  # fmt: skip
    assert offenders == []


def test_no_module_has_a_name_that_says_nothing():
    vague = re.compile(r"(^|/)(utils?|helpers?|common|misc|manager|base)(\.py|/)")
    assert [path for path in tracked() if vague.search(path)] == []
