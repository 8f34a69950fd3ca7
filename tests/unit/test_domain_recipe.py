"""A recipe as a person writes it: what it says, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain import recipe_file
from loom.domain.evidence import StepKind
from loom.domain.recipe import OUTPUTS, Recipe, RecipeStep
from loom.domain.recipe_file import MAX_BYTES, MAX_STEPS, Written, parse, parse_toml
from loom.errors import Invalid

WHOLE = """
version = 1
artifacts = ["dist/*.whl"]
detect = ["lint"]

[environment]
LEVEL = "1"

[[step]]
kind = "test"
run = ["python3", "-m", "pytest", "--junitxml=$LOOM_EXCHANGE/junit.xml"]
output = "pytest"
reports = ["$LOOM_EXCHANGE/junit.xml"]
timeout_s = 600
soft_timeout_s = 590.5

[[step]]
kind = "test"
name = "types"
run = ["make", "types"]
advisory = true
why = "they change often"
environment = { LEVEL = "2" }
"""


def step(**more: Any) -> dict[str, Any]:
    return {"kind": "test", "run": ["make"]} | more


def test_a_recipe_says_its_steps_what_is_detected_and_what_is_kept() -> None:
    first = RecipeStep(
        StepKind.TEST,
        "test",
        ("python3", "-m", "pytest", "--junitxml=$LOOM_EXCHANGE/junit.xml"),
        why=".loom.toml names it",
        timeout_s=600.0,
        soft_timeout_s=590.5,
        output="pytest",
        reports=("$LOOM_EXCHANGE/junit.xml",),
        environment={"LEVEL": "1"},
    )
    second = RecipeStep(
        StepKind.TEST, "types", ("make", "types"), why="they change often", advisory=True,
        environment={"LEVEL": "2"},
    )  # fmt: skip

    assert parse_toml(WHOLE) == Written(
        (first, second), frozenset({StepKind.LINT}), ("dist/*.whl",)
    )


def test_an_empty_recipe_is_one() -> None:
    assert parse({}) == parse_toml("") == Written()


def test_steps_without_a_name_are_called_by_their_kind() -> None:
    named = parse({"step": [step(), step(name="test-2"), step(), step(kind="lint")]})

    assert [each.name for each in named.steps] == ["test", "test-2", "test-3", "lint"]


def test_the_exchange_folder_is_put_in_wherever_it_is_named() -> None:
    made = RecipeStep(
        StepKind.TEST, "t", ("a", "--x=$LOOM_EXCHANGE/r"), reports=("${LOOM_EXCHANGE}/r",),
        environment={"HERE": "$LOOM_EXCHANGE"},
    ).at("/run/x")  # fmt: skip

    assert (made.argv, made.reports) == (("a", "--x=/run/x/r"), ("/run/x/r",))
    assert made.environment == {"HERE": "/run/x"}


def test_a_recipe_gives_the_steps_that_its_bead_asks_for() -> None:
    steps = parse({"step": [step(), step(kind="lint")]}).steps
    recipe = Recipe(steps, "bead", frozenset({StepKind.TEST}))

    assert [each.name for each in recipe.of_kind(StepKind.TEST)] == ["test"]
    assert recipe.of_kind(StepKind.LINT) == ()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], r"\.loom\.toml has to be an object; it is a list"),
        ({"version": 2}, "version: has to be 1; it is 2"),
        ({"steps": []}, r"\.loom\.toml: steps: nobody knows this key: did you mean step\?"),
        ({"zzz": 1}, "the keys are version, step, detect, artifacts, environment"),
        ({"step": {}}, "step: has to be a list; it is an object"),
        ({"step": ["make"]}, "step 1: has to be an object; it is text"),
        ({"step": [{"kind": "test"}]}, "step 1.run: is needed"),
        ({"step": [step(), step(run="make all")]}, r'step 2.run: .*no shell.*\["make", "all"\]'),
        ({"step": [step(run="'")]}, "step 1.run: has to be a list of strings"),
        ({"step": [step(run=[])]}, "step 1.run: has to have an entry"),
        ({"step": [step(run=["", "x"])]}, "step 1.run: has to begin with the name of a program"),
        ({"step": [step(run=["make", 1])]}, "step 1.run 2: has to be text; it is a number"),
        ({"step": [step(run=["x" * 9_000])]}, "step 1.run 1: has more than 8192 characters"),
        ({"step": [step(run=["x"] * 257)]}, "step 1.run: has 257 entries; the limit is 256"),
        ({"step": [step(kind="deploy")]}, "step 1.kind: has to be 'prepare', 'build', 'lint' or"),
        ({"step": [step(comand=1)]}, "step 1.comand: nobody knows this key"),
        ({"step": [step(reprts=[])]}, "step 1.reprts: .* did you mean reports?"),
        ({"step": [step(name="a b")]}, "step 1.name: has to be 1 to 64 letters"),
        ({"step": [step(name="push")]}, "step 1.name: push is a step of Loom's own"),
        ({"step": [step(name="lint")]}, "step 1.name: lint is another kind than test"),
        ({"step": [step(name="a"), step(name="a")]}, "step 2.name: a is the name of an earlier"),
        ({"step": [step(timeout_s=0)]}, "step 1.timeout_s: has to be over 0; it is 0"),
        ({"step": [step(timeout_s=10**400)]}, "step 1.timeout_s: "),
        ({"step": [step(timeout_s=86_401)]}, "at most 86400; it is 86401"),
        ({"step": [step(timeout_s="9")]}, "step 1.timeout_s: has to be a number; it is text"),
        ({"step": [step(timeout_s=9, soft_timeout_s=9)]}, "step 1.soft_timeout_s is 9: .* below"),
        ({"step": [step(advisory="no")]}, "step 1.advisory: has to be true or false; it is text"),
        ({"step": [step(output="junit")]}, "step 1.output: has to be one of pytest"),
        ({"step": [step(environment={"A=B": ""})]}, "'A=B' is no name of a variable"),
        ({"step": [step(environment={"LOOM_X": ""})]}, "LOOM_X is Loom's own variable"),
        ({"step": [step(environment={"A": 1})]}, "step 1.environment.A: has to be text"),
        ({"step": [step()] * (MAX_STEPS + 1)}, f"step: has 51 entries; the limit is {MAX_STEPS}"),
        ({"detect": ["test"], "step": [step()]}, "detect names test, and the step test is of"),
        ({"detect": ["work"]}, "detect 1: has to be 'prepare', 'build', 'lint' or 'test'"),
    ],
)
def test_a_wrong_recipe_is_refused_saying_where_what_is_and_what_has_to_be(
    document: Any, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        parse(document)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "~/x", "", " ", ".git/config", "a/.git/x", "a\\b",
     "$LOOM_EXCHANGE/../x", "$LOOM_EXCHANGE//x", "x" * 501, "\0"],
)  # fmt: skip
def test_a_report_or_artifact_outside_of_the_checkout_is_refused(path: str) -> None:
    for document in ({"artifacts": [path]}, {"step": [step(reports=[path])]}):
        with pytest.raises(Invalid):
            parse(document)


def test_every_fault_is_told_up_to_a_few() -> None:
    wrong = {"kind": 1, "run": 1, "name": 1, "why": 1, "advisory": 1, "output": 1}

    with pytest.raises(Invalid, match=r"step 1\.kind: .*; step 1\.run: .*\(and 1 more\)"):
        parse({"step": [wrong]})


@pytest.mark.parametrize(
    ("text", "words"),
    [("a = ", "is no TOML: "), ("a = " + "[" * 9_000, "is no TOML"), ("a=1\na=2", "is no TOML"),
     ("#" * (MAX_BYTES + 1), f"has over {MAX_BYTES} bytes")],
)  # fmt: skip
def test_what_is_no_toml_is_invalid(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        parse_toml(text)


def test_the_example_in_the_documentation_is_a_recipe_and_every_output_is_told_there() -> None:
    text = (Path(__file__).parents[2] / "docs/recipes.md").read_text()
    _before, _, rest = text.partition("```toml\n")

    assert len(parse_toml(rest.partition("```")[0]).steps) == 3
    assert all(f"`{output}`" in text for output in OUTPUTS)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=6,
)
STEP = st.fixed_dictionaries(
    {"kind": st.sampled_from(["test", "lint", "x"]) | VALUES, "run": st.just(["a"]) | VALUES},
    optional={name: VALUES for name in recipe_file.StepIn.model_fields if name not in "kind run"},
)
RECIPE = st.fixed_dictionaries(
    {}, optional={"step": st.lists(STEP | VALUES, max_size=3) | VALUES}
    | dict.fromkeys(("version", "detect", "artifacts", "environment", "x"), VALUES),
)  # fmt: skip


@given(RECIPE | VALUES)
def test_any_document_is_a_recipe_or_invalid(document: Any) -> None:
    try:
        written = parse(document)
    except Invalid as fault:
        assert fault.detail.startswith(".loom.toml")
        return
    names = [each.name for each in written.steps]
    assert len(set(names)) == len(names)


@given(st.text(max_size=80))
def test_any_text_is_a_recipe_or_invalid(text: str) -> None:
    try:
        parse_toml(text)
    except Invalid as fault:
        assert fault.detail.startswith(".loom.toml")
