"""What is detected in a repository, told by the names and contents of a few files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain.evidence import StepKind
from loom.domain.recipe import OUTPUTS, RecipeStep
from loom.domain.rules import Network
from workers.detect.detect import detect
from workers.detect.found import Found, Ground
from workers.detect.tree import MAX_DEPTH, Tree

TESTED = "def test_it(): ..."


def found(files: Mapping[str, str], *installed: str, network: Network = Network.NEVER) -> Found:
    return detect(Ground(Tree.of(files), lambda program: program in installed, network))


def steps(files: Mapping[str, str], kind: StepKind = StepKind.TEST, *installed: str) -> list[str]:
    return [step.name for step in found(files, *installed).steps if step.kind is kind]


def only(found: Found, kind: StepKind) -> RecipeStep:
    (step,) = [step for step in found.steps if step.kind is kind]
    return step


def package(**more: Any) -> dict[str, str]:
    return {"package.json": json.dumps(more)}


def test_an_empty_repository_has_nothing() -> None:
    assert found({"README.md": "hello"}, "ruff", "go") == Found()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"pytest.ini": ""}, "there is pytest.ini"),
        ({"pyproject.toml": "[tool.pytest.ini_options]\naddopts='-q'"}, "[tool.pytest]"),
        ({"setup.cfg": "[tool:pytest]\n"}, "setup.cfg has [tool:pytest]"),
        ({"tox.ini": "[tox]\n[pytest]\n"}, "tox.ini has [pytest]"),
        ({"tests/conftest.py": ""}, "there is tests/conftest.py"),
        ({"tests/test_a.py": "import pytest\n"}, "tests/test_a.py imports pytest"),
        ({"t/test_a.py": "import unittest", "requirements-dev.txt": "pytest>=7"}, "need pytest"),
        ({"t/test_a.py": "", "tox.ini": "[testenv]\ndeps=\n  pytest\n"}, "need pytest"),
        ({"test_a.py": TESTED}, "test_a.py has functions called test"),
    ],
)
def test_pytest_is_run_directly_wherever_anything_points_to_it(
    files: dict[str, str], why: str
) -> None:
    step = only(found(files), StepKind.TEST)

    assert step.argv[:3] == ("python3", "-m", "pytest")
    assert why in step.why
    assert "--junitxml=$LOOM_EXCHANGE/pytest.xml" in step.argv
    assert step.reports == ("$LOOM_EXCHANGE/pytest.xml",)


@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        (["test_a.py"], ("discover", "-v")),
        (["tests/test_a.py"], ("discover", "-v", "-s", "tests")),
        (["tests/__init__.py", "tests/test_a.py"], ("discover", "-v", "-s", "tests", "-t", ".")),
        (["a/test_a.py", "b/test_b.py"], ("discover", "-v")),
        (["a_test.py"], ("discover", "-v", "-p", "*_test.py")),
    ],
)
def test_unittest_is_run_where_its_tests_lie(names: list[str], arguments: tuple[str, ...]) -> None:
    files = dict.fromkeys(names, "import unittest")

    assert only(found(files), StepKind.TEST).argv == ("python3", "-m", "unittest", *arguments)


def test_tox_and_nox_are_run_only_where_nothing_runs_the_tests_directly() -> None:
    assert steps({"tox.ini": "[tox]"}) == ["tox"]
    assert steps({"noxfile.py": "", "setup.py": ""}) == ["nox"]
    assert steps({"tox.ini": "[tox]", "test_a.py": TESTED}) == ["pytest"]


def test_make_is_run_only_for_what_nothing_else_is_found_for() -> None:
    makefile = {"Makefile": ".PHONY: check\nbuild:\n\ttrue\ncheck: build\n\ttrue\nCC := cc\n"}

    assert [step.argv for step in found(makefile).steps] == [("make", "build"), ("make", "check")]
    assert steps(makefile | {"test_a.py": TESTED}) == ["pytest"]
    assert found({"Makefile": "CC := cc\nclean:\n"}) == Found()


def test_a_src_layout_is_found_by_its_tests_though_nothing_installs_it() -> None:
    files = {"src/shop/__init__.py": "", "tests/test_a.py": TESTED}

    assert only(found(files), StepKind.TEST).environment["PYTHONPATH"] == "src"
    prepared = only(found(files, network=Network.PREPARE), StepKind.TEST)
    assert "PYTHONPATH" not in prepared.environment


def test_with_the_network_python_gets_a_venv_with_the_project_and_what_its_tests_need() -> None:
    files = {
        "pyproject.toml": """
            [project]
            name = "shop"
            [project.optional-dependencies]
            test = ["pytest"]
            [dependency-groups]
            dev = ["attrs", {include-group = "more"}, "--index-url=x"]
            more = ["six", {include-group = "dev"}]
            [tool.ruff]
        """,
        "requirements-test.txt": "hypothesis",
        "tests/test_a.py": TESTED,
    }

    made = found(files, network=Network.PREPARE)

    prepare = [step.argv for step in made.steps if step.kind is StepKind.PREPARE]
    assert prepare[0] == ("python3", "-m", "venv", "$LOOM_EXCHANGE/venv")
    assert prepare[1][-2:] == ("-r", "requirements-test.txt")
    assert prepare[2][-6:] == ("-e", ".[test]", "attrs", "six", "pytest", "ruff")
    assert only(made, StepKind.TEST).argv[0] == "$LOOM_EXCHANGE/venv/bin/python"
    assert only(made, StepKind.LINT).argv[0] == "$LOOM_EXCHANGE/venv/bin/ruff"


@pytest.mark.parametrize(
    ("files", "needed"),
    [
        ({"setup.py": ""}, ("build", "setuptools", "wheel")),
        ({"setup.cfg": "[metadata]\nname=a"}, ("build", "setuptools", "wheel")),
        (
            {"pyproject.toml": '[build-system]\nrequires=["flit_core<4", "-r x"]'},
            ("build", "flit_core<4"),
        ),
    ],
)
def test_with_the_network_python_is_built_by_what_it_names(
    files: dict[str, str], needed: tuple[str, ...]
) -> None:
    made = found(files, network=Network.PREPARE)

    python = "$LOOM_EXCHANGE/venv/bin/python"
    assert only(made, StepKind.BUILD).argv == (
        python, "-m", "build", "--no-isolation", "--outdir", "$LOOM_EXCHANGE/dist",
    )  # fmt: skip
    prepare = [step for step in made.steps if step.name == "pip-build"]
    assert prepare[0].argv[-len(needed) :] == needed
    assert not found(files).has(StepKind.BUILD)


@pytest.mark.parametrize(
    "files",
    [
        {"setup.py": "setup(ext_modules=[Extension('a', ['a.c'])])"},
        {"pyproject.toml": "[build-system]\n[[tool.setuptools.ext-modules]]\nname='a'"},
    ],
)
def test_what_is_compiled_for_the_tests_is_compiled_anew_after_the_work(
    files: dict[str, str],
) -> None:
    made = found(files, network=Network.PREPARE)

    names = [step.name for step in made.steps if step.kind is StepKind.BUILD]
    assert names == ["python-build", "python-compile"]
    assert made.steps[-1].argv[-3:] == ("--no-build-isolation", "-e", ".")


def test_an_application_that_cannot_be_installed_is_not_built() -> None:
    files = {"requirements.txt": "six", "pyproject.toml": "[tool.ruff]", "test_a.py": TESTED}

    assert not found(files, network=Network.PREPARE).has(StepKind.BUILD)


def test_without_the_network_nothing_is_prepared_and_it_says_so() -> None:
    files = package(devDependencies={"jest": "1"}) | {
        "requirements.txt": "attrs", "test_a.py": TESTED, "package-lock.json": "{}",
        "go.mod": "", "go.sum": "", "Cargo.toml": "", "Cargo.lock": "", "pom.xml": "",
    }  # fmt: skip

    made = found(files, "go")

    assert not made.has(StepKind.PREPARE)
    whats = {out.what for out in made.left_out if "rules.network" in out.why}
    assert whats == {
        "a venv with requirements.txt", "npm ci --no-audit --no-fund", "go mod download",
        "cargo fetch", "maven's dependencies",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"ruff.toml": "", "setup.py": ""}, "ruff"),
        ({"pyproject.toml": "[tool.ruff]\nline-length=9"}, "ruff"),
        ({"setup.cfg": "[flake8]\n"}, "flake8"),
        ({"tox.ini": "[flake8]\n"}, "flake8"),
        ({".flake8": ""}, "flake8"),
        ({"mypy.ini": "[mypy]\n"}, "mypy"),
        ({"pyproject.toml": "[tool.mypy]\nstrict=true"}, "mypy"),
        (package(name="x") | {"eslint.config.mjs": ""}, "eslint"),
        (package(eslintConfig={}), "eslint"),
        ({"go.mod": "", ".golangci.yml": ""}, "golangci-lint"),
        ({"Cargo.toml": "", "clippy.toml": ""}, "clippy"),
    ],
)
def test_a_linter_runs_where_it_is_configured_and_there_and_is_only_told_of_otherwise(
    files: dict[str, str], name: str
) -> None:
    program = "cargo-clippy" if name == "clippy" else name
    (step,) = [step for step in found(files, program).steps if step.name == name]

    assert (step.kind, step.advisory, step.output) == (StepKind.LINT, True, name)
    assert name not in steps(files, StepKind.LINT)
    (told,) = [out for out in found(files).left_out if out.what == name]
    assert f"{program} is not on the agent's PATH" in told.why


def test_golangci_lint_gets_the_option_of_its_version() -> None:
    for text, option in (("version: '2'", "--output.json.path=stdout"), ("", "--out-format=json")):
        made = found({"go.mod": "", ".golangci.yml": text}, "golangci-lint")
        assert only(made, StepKind.LINT).argv == ("golangci-lint", "run", option)


@pytest.mark.parametrize(
    ("files", "argv"),
    [
        ({}, ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund")),
        ({"package-lock.json": ""}, ("npm", "ci", "--no-audit", "--no-fund")),
        ({"pnpm-lock.yaml": ""}, ("pnpm", "install", "--frozen-lockfile")),
        ({"yarn.lock": ""}, ("yarn", "install", "--frozen-lockfile")),
        ({"yarn.lock": "", ".yarnrc.yml": ""}, ("yarn", "install", "--immutable")),
    ],
)
def test_the_lock_file_decides_what_installs_a_package(
    files: dict[str, str], argv: tuple[str, ...]
) -> None:
    made = found(package(dependencies={"a": "1"}) | files, network=Network.PREPARE)

    assert only(made, StepKind.PREPARE).argv == argv


@pytest.mark.parametrize(
    ("script", "more", "output"),
    [
        ("jest", ("--", "--json", "--outputFile=$LOOM_EXCHANGE/jest.json"), "jest"),
        ("tsc && cross-env A=1 nyc mocha t/", ("--", "--reporter=tap"), "tap"),
        ("FORCE_COLOR=0 ./node_modules/.bin/ava", ("--", "--tap"), "tap"),
        ("tape test/*.js", (), "tap"),
        ("node --test", (), "tap"),
        ("node check.js", (), ""),
        ("mocha && node check.js", (), ""),
        ("c8 --100 node --test && tsd", (), "tap"),
        ("tape a.js && tap b.js", (), ""),
        ("tape a.js | faucet", (), ""),
        ("echo 'open", (), ""),
    ],
)
def test_a_test_script_is_made_to_report_so_that_it_can_be_counted(
    script: str, more: tuple[str, ...], output: str
) -> None:
    step = only(found(package(scripts={"test": script})), StepKind.TEST)

    assert step.argv == ("npm", "run", "--silent", "test", *more)
    assert step.output == output


@pytest.mark.parametrize(
    ("scripts", "more", "output"),
    [
        ({"test": "npm run lint && npm run unit", "unit": "tape t.js"}, (), "tap"),
        ({"test": "npm run unit && tsd", "unit": "c8 node --test"}, (), "tap"),
        (
            {"test": "eslint . && npm run -s unit", "unit": "mocha"},
            ("--", "--", "--reporter=tap"),
            "tap",
        ),
        ({"test": "npm run unit && tsd", "unit": "mocha"}, (), ""),
        ({"test": "npm test"}, (), ""),
        ({"test": "npm run a b", "a": "tape"}, (), ""),
    ],
)
def test_the_tool_is_found_through_the_scripts_that_a_script_runs(
    scripts: dict[str, str], more: tuple[str, ...], output: str
) -> None:
    step = only(found(package(scripts=scripts)), StepKind.TEST)

    assert step.argv == ("npm", "run", "--silent", "test", *more)
    assert step.output == output
    assert ("NODE_OPTIONS" in step.environment) == ("node" in str(scripts))


def test_eslint_is_found_through_the_scripts_that_run_it() -> None:
    scripts = {"lint": "npm run eslint", "eslint": "eslint ."}

    step = only(found(package(scripts=scripts)), StepKind.LINT)

    assert step.argv[-4:] == ("--", "--", "-f", "json")
    assert step.output == "eslint"


def test_npms_placeholder_is_no_test() -> None:
    script = 'echo "Error: no test specified" && exit 1'
    made = found(package(scripts={"test": script, "build": "tsc", "lint": "eslint ."}))

    assert [step.argv for step in made.steps] == [
        ("npm", "run", "build"),
        ("npm", "run", "--silent", "lint", "--", "-f", "json"),
    ]
    assert "placeholder" in made.left_out[0].why


def test_go_and_rust_are_built_and_tested_by_their_own_tools() -> None:
    go, rust = found({"go.mod": ""}, "go"), found({"Cargo.toml": ""})

    assert [step.name for step in go.steps] == ["go-build", "go-vet", "go-test"]
    assert only(go, StepKind.TEST).argv == ("go", "test", "-json", "./...")
    assert only(go, StepKind.TEST).environment["GOPROXY"] == "off"
    assert [step.name for step in rust.steps] == ["cargo-build", "cargo-test"]
    assert only(rust, StepKind.TEST).environment["CARGO_NET_OFFLINE"] == "true"


def test_a_wrapper_goes_first_unless_only_the_installed_tool_can_run() -> None:
    maven, gradle = {"pom.xml": "", "mvnw": ""}, {"build.gradle.kts": "", "gradlew": ""}

    def program(files: dict[str, str], *installed: str, network: Network) -> str:
        return only(found(files, *installed, network=network), StepKind.TEST).argv[0]

    for files, tool, wrapper in ((maven, "mvn", "./mvnw"), (gradle, "gradle", "./gradlew")):
        assert program(files, tool, network=Network.PREPARE) == wrapper
        assert program(files, tool, network=Network.NEVER) == tool
        assert program(files, network=Network.NEVER) == wrapper
    assert "--offline" in only(found(maven), StepKind.TEST).argv
    assert "--offline" not in only(found(maven, network=Network.ALWAYS), StepKind.TEST).argv
    assert only(found(gradle), StepKind.TEST).reports == ("**/build/test-results/**/TEST-*.xml",)


def test_several_languages_are_all_tested() -> None:
    files = package(scripts={"test": "jest"}) | {"test_a.py": TESTED, "go.mod": ""}

    assert steps(files) == ["pytest", "npm-test", "go-test"]


BROKEN = st.text(max_size=40) | st.sampled_from(
    ["[" * 3000, "{", "[tool]\npytest=1", '{"scripts": 3}', '{"scripts": {"test": 3}}',
     '{"packageManager": 3, "devDependencies": []}', "[mypy", "[dependency-groups]\ntest=3",
     "[tool:pytest]\n%(x)s", "\0", "[project.optional-dependencies]\ntest='x'"]
)  # fmt: skip
FILES = st.sampled_from(
    ["pyproject.toml", "setup.cfg", "tox.ini", "setup.py", "test_a.py", "package.json", "go.mod",
     ".golangci.yml", "Cargo.toml", "pom.xml", "build.gradle", "Makefile", "mypy.ini"]
)  # fmt: skip


@given(st.dictionaries(FILES, BROKEN, max_size=6), st.sampled_from(list(Network)))
def test_whatever_the_files_hold_there_is_a_recipe(files: dict[str, str], network: Network) -> None:
    made = detect(Ground(Tree.of(files), lambda _program: True, network))

    assert all(step.argv and step.why for step in made.steps)
    assert all(step.output in ("", *OUTPUTS) for step in made.steps)
    assert all(step.advisory is (step.kind is StepKind.LINT) for step in made.steps)


def test_a_checkout_is_looked_at_without_following_a_link_or_opening_a_pipe(tmp_path: Path) -> None:
    root, outside = tmp_path / "checkout", tmp_path / "secret.toml"
    outside.write_text("[tool.pytest]\nx = 1")
    (root / "node_modules/x").mkdir(parents=True)
    (root / "node_modules/x/package.json").write_text("{}")
    (root / "pyproject.toml").symlink_to(outside)
    (root / "away").symlink_to(tmp_path)
    os.mkfifo(root / "Makefile")
    deep = root.joinpath(*["d"] * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    (deep / "test_a.py").write_text(TESTED)
    (root / "d/test_b.py").write_text(TESTED)

    tree = Tree.at(root)

    assert tree.names == {"d/test_b.py"}
    assert tree.links == {"pyproject.toml", "away"}
    assert tree.read("d/test_b.py") == TESTED


def test_a_file_that_became_a_link_or_a_pipe_says_nothing(tmp_path: Path) -> None:
    for name in ("a", "b", "sub/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("[x]")
    tree = Tree.at(tmp_path)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/c").write_text("secret")
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to(tmp_path / "secret/c")
    (tmp_path / "b").unlink()
    os.mkfifo(tmp_path / "b")
    (tmp_path / "sub/c").unlink()
    (tmp_path / "sub").rmdir()
    (tmp_path / "sub").symlink_to(tmp_path / "secret")

    assert [tree.read(name) for name in ("a", "b", "sub/c")] == ["", "", ""]
