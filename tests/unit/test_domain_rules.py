"""A project's rules: what may be said of them, and that they come through every wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.clients.representation import project_from_json, project_to_json
from loom.domain import rulebook
from loom.domain.project import Project, ProjectChange
from loom.domain.rules import Limits, Network, Rules, Strategy
from loom.errors import Invalid
from loom.rpc import codec, waiting

STRICT = Rules(
    network=Network.PREPARE,
    strategy=Strategy.DIRECT,
    allow_no_tests=True,
    submodules=True,
    protocols=("ssh",),
    scan_secrets=False,
    command=("mend", "--bead", "{bead_file}"),
    recipe={"version": 1, "step": [{"kind": "test", "run": ["make", "check"]}]},
    limits=Limits(cpu_s=60, memory_mb=512),
)


def test_nothing_said_is_every_default() -> None:
    assert rulebook.read({}) == Rules()


def test_rules_come_back_from_the_ledger_the_wire_and_the_api_as_they_were() -> None:
    project = Project("shop", "/srv/shop.git", rules=STRICT)

    assert rulebook.of_json(json.loads(json.dumps(rulebook.to_json(STRICT)))) == STRICT
    assert codec.project_from_pb(codec.project_to_pb(project)).rules == STRICT
    assert project_from_json(project_to_json(project)).rules == STRICT


def test_what_is_said_goes_over_what_was_and_null_back_to_the_default() -> None:
    changed = rulebook.read({"network": None, "limits": {"cpu_s": None, "disk_mb": 99}}, STRICT)

    assert changed.network is Network.NEVER
    assert changed.limits == Limits(memory_mb=512, disk_mb=99)
    assert changed.command == STRICT.command
    assert rulebook.read({"limits": None}, STRICT).limits == Limits()


def test_a_change_of_rules_comes_through_the_wire_and_is_applied() -> None:
    change = ProjectChange(rules={"allow_no_tests": None, "limits": {"memory_mb": 64}})
    sent = waiting.project_change_from_pb(waiting.project_change_to_pb("shop", change, "c", ""))

    assert sent == change
    after = sent.apply(Project("shop", "/srv/shop.git", rules=STRICT)).rules
    assert not after.allow_no_tests
    assert (after.limits.memory_mb, after.limits.cpu_s) == (64, 60)


def test_a_rule_of_a_later_loom_is_left_out_where_loom_speaks_to_itself() -> None:
    later = rulebook.to_json(STRICT) | {"colour": "red"}
    later["limits"]["threads"] = 3
    later["recipe"] = {"version": 2}

    assert rulebook.load(json.dumps(later)).limits == STRICT.limits


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"netwrk": "never"}, "rules: netwrk: nobody knows this key: did you mean network?"),
        ({"network": "some"}, "network: has to be 'never', 'prepare' or 'always'; it is 'some'"),
        ({"allow_no_tests": "yes"}, "allow_no_tests: has to be true or false; it is text"),
        ({"protocols": ["ext"]}, "protocols 1: has to be 'file'"),
        ({"command": "mend --all"}, r'command: .*one for each argument.*\["mend", "--all"\]'),
        ({"command": [" "]}, "command: has to begin with the name of a program"),
        ({"limits": {"memory": 3}}, "limits.memory: nobody knows this key: did you mean memory_mb"),
        ({"limits": {"memory_mb": 1}}, "limits.memory_mb: has to be at least 16; it is 1"),
        ({"limits": 3}, "limits: has to be an object; it is a number"),
        ({"recipe": {"step": [{"kind": "test"}]}}, "recipe: step 1.run: is needed"),
        ({"recipe": {"step": [{"kind": "test", "run": ["\0"]}]}}, "recipe: step 1.run 1: .*NUL"),
        ([], "rules has to be an object; it is a list"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_saying_what_is_wrong(rules: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        rulebook.read(rules)


@pytest.mark.parametrize("text", ["{", "3", "[" * 5000, '{"limits": 3}'])
def test_what_is_no_object_of_rules_is_invalid_on_the_wire_too(text: str) -> None:
    with pytest.raises(Invalid):
        rulebook.load(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([*rulebook.RulesIn.model_fields, "memory_mb", "step", "x"])


@given(st.dictionaries(NAMES, JSON, max_size=5) | JSON)
def test_anything_else_is_rules_or_invalid(value: Any) -> None:
    try:
        rules = rulebook.read(value)
    except Invalid:
        return
    assert rulebook.of_json(rulebook.to_json(rules)) == rules
