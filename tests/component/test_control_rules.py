"""A project's rules and recipe, over HTTP and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from control_api import BEARER, PROJECT, Api, problem
from test_cli_commands import Shell

from loom.cli import cli
from loom.domain import rulebook
from loom.domain.rules import Rules

SHOP = "/api/v1/projects/shop"
DEFAULT = rulebook.to_json(Rules())


@pytest.fixture
def api() -> Api:
    made = Api()
    assert made.post("/api/v1/projects", PROJECT).status_code == 201
    return made


@pytest.fixture
def shell(api: Api) -> Shell:
    return Shell(api)


def patched(api: Api, rules: Any) -> Any:
    return api.client.patch(SHOP, json={"rules": rules}, headers=BEARER | {"If-Match": "*"})


def rules_of(api: Api, project: str = "shop") -> dict[str, Any]:
    return dict(api.get(f"/api/v1/projects/{project}").get_json()["rules"])


def test_a_project_has_the_strictest_rules_unless_it_is_made_with_others(api: Api) -> None:
    given = {"network": "prepare", "command": ["mend"], "limits": {"memory_mb": 512}}
    answer = api.post("/api/v1/projects", PROJECT | {"id": "mill", "rules": given})

    assert answer.status_code == 201, answer.text
    assert rules_of(api) == DEFAULT
    limits = {"limits": DEFAULT["limits"] | {"memory_mb": 512}}
    assert rules_of(api, "mill") == DEFAULT | given | limits


def test_a_patch_changes_the_rules_that_it_names_and_null_takes_one_back(api: Api) -> None:
    recipe = {"step": [{"kind": "test", "run": ["make"]}]}
    assert patched(api, {"recipe": recipe, "limits": {"cpu_s": 9}}).status_code == 200
    assert patched(api, {"strategy": "direct", "recipe": None}).status_code == 200

    limits = DEFAULT["limits"] | {"cpu_s": 9}
    assert rules_of(api) == DEFAULT | {"strategy": "direct", "limits": limits}


@pytest.mark.parametrize(
    ("rules", "field", "words"),
    [
        ([], "rules", "has to be an object"),
        ({"netwrk": "never"}, "rules.netwrk", "did you mean network?"),
        ({"network": "some"}, "rules.network", "has to be 'never', 'prepare' or 'always'"),
        ({"limits": {"memory": 1}}, "rules.limits.memory", "did you mean memory_mb?"),
        ({"limits": {"memory_mb": "1"}}, "rules.limits.memory_mb", "it is text"),
        ({"command": "mend it"}, "rules.command", '["mend", "it"]'),
        ({"protocols": ["ext"]}, "rules.protocols.0", "'https' or 'ssh'"),
        ({"recipe": {"step": [{"kind": "test"}]}}, "rules.recipe", "step 1.run: is needed"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_naming_the_field(
    steady: Api, rules: Any, field: str, words: str
) -> None:
    made = steady.post("/api/v1/projects", PROJECT | {"id": "mill", "rules": rules})

    for answer in (made, patched(steady, rules)):
        (fault,) = problem(answer, 422, "invalid")["errors"]
        assert fault["field"] == field
        assert words in fault["message"]
    assert rules_of(steady) == DEFAULT


def test_rules_are_set_on_the_command_line_and_shown(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('[[step]]\nkind = "test"\nrun = ["make", "check"]\n')

    made = shell.document(
        "project", "add", "mine", "/srv/mine.git", "--network", "prepare", "--limit", "memory=2G",
        "--limit", "cpu=10m", "--limit", "processes=99", "--command", "mend --bead '{bead_file}'",
    )["rules"]  # fmt: skip
    changed = shell.document(
        "project", "set", "mine", "--recipe", str(tmp_path / "recipe.toml"), "--allow-no-tests",
        "--strategy", "direct", "--submodules", "--no-scan-secrets", "--command", "",
        "--protocol", "https", "--protocol", "ssh",
    )["rules"]  # fmt: skip

    limits = {"memory_mb": 2048, "cpu_s": 600, "processes": 99}
    assert isinstance(made, dict)
    assert made["limits"] == DEFAULT["limits"] | limits
    assert (made["network"], made["command"]) == ("prepare", ["mend", "--bead", "{bead_file}"])
    assert changed == made | {
        "recipe": {"step": [{"kind": "test", "run": ["make", "check"]}]},
        "allow_no_tests": True, "strategy": "direct", "submodules": True, "scan_secrets": False,
        "command": [], "protocols": ["https", "ssh"],
    }  # fmt: skip
    shown = shell.run("project", "show", "mine").output
    for words in ("are allowed", "direct", "memory 2048 MB", "cpu 600 s", '"make", "check"'):
        assert words in shown


@pytest.mark.parametrize("limit", ["memory", "memory=2", "memory=2X", "cpu=1d", "x=1", "disk=-1G"])
def test_a_limit_that_is_none_is_not_understood(steady: Api, limit: str) -> None:
    result = Shell(steady).run("project", "set", "shop", "--limit", limit)

    assert (result.exit_code, "is no limit" in result.output) == (2, True)


def test_a_recipe_file_that_is_wrong_is_refused_before_anything_is_sent(
    steady: Api, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text("stp = 1")

    result = Shell(steady).run("project", "set", "shop", "--recipe", str(tmp_path / "r.toml"))

    assert result.exit_code == 1
    assert "r.toml: stp: nobody knows this key: did you mean step?" in result.output


# The recipe that a checkout would get.


def inspected(*words: str) -> Result:
    return CliRunner().invoke(cli, ["project", "inspect", *words])


def test_inspect_shows_what_would_run_and_why_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\n")
    (tmp_path / "go.sum").touch()
    (tmp_path / "go.mod").touch()

    shown = inspected(str(tmp_path))
    document = json.loads(inspected(str(tmp_path), "--json").output)

    assert shown.exit_code == 0
    assert "recipe: detected" in shown.output
    assert "test_it.py imports pytest" in shown.output
    assert "left out: go mod download: the project allows no network" in shown.output
    assert document["source"] == "detected"
    assert [step["name"] for step in document["steps"]][-2:] == ["pytest", "go-test"]
    online = json.loads(inspected(str(tmp_path), "--network", "prepare", "--json").output)
    assert online["steps"][0]["argv"] == ["python3", "-m", "venv", "$LOOM_EXCHANGE/venv"]


def test_inspect_shows_the_repositorys_own_recipe_with_what_it_keeps(tmp_path: Path) -> None:
    (tmp_path / ".loom.toml").write_text(
        'artifacts = ["out/*"]\n[[step]]\nkind = "test"\nrun = ["make", "a b"]\nadvisory = true\n'
    )

    shown = inspected(str(tmp_path)).output

    for words in ("recipe: .loom.toml", "make 'a b'", "test (advisory)", "keeps: out/*"):
        assert words in shown


def test_inspect_ends_with_1_where_no_test_would_run_and_2_where_the_recipe_is_wrong(
    tmp_path: Path,
) -> None:
    empty = inspected(str(tmp_path))
    (tmp_path / ".loom.toml").write_text("[[step]]\nkind = 1\n")
    wrong, told = inspected(str(tmp_path)), inspected(str(tmp_path), "--json")

    assert (empty.exit_code, "no test would run: nothing says" in empty.output) == (1, True)
    assert (wrong.exit_code, told.exit_code) == (2, 2)
    assert ".loom.toml: step 1.kind: has to be 'prepare'" in wrong.output
    assert "step 1.run: is needed" in json.loads(told.output)["error"]
    assert inspected(str(tmp_path / "none")).exit_code == 2


def test_inspect_takes_a_projects_rules_from_the_api(shell: Shell, tmp_path: Path) -> None:
    recipe = {"step": [{"kind": "test", "run": ["make", "ours"]}]}
    patched(shell.api, {"recipe": recipe})

    document = shell.document("project", "inspect", str(tmp_path), "--project", "shop")

    assert document["source"] == "project"
    assert [step["argv"] for step in document["steps"]] == [["make", "ours"]]  # type: ignore[attr-defined]
