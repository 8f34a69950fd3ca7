"""The actions in a bead's context, and the placeholders of a project's command."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain import actions, placeholders
from loom.domain.actions import MAX_ACTIONS, MAX_WORK_BYTES, TYPES, RunCommand, WriteFile
from loom.errors import Invalid

WHOLE = [
    {"type": "write_file", "path": "a/b", "content": "", "mode": "755"},
    {"type": "delete_file", "path": "a"},
    {"type": "move_file", "path": "a", "to": "b"},
    {"type": "apply_patch", "patch": "--- a\n"},
    {"type": "run_command", "argv": ["make"], "timeout_s": 5, "expect_exit": 2},
    {"type": "run_tests"},
    {"type": "run_linter"},
    {"type": "build"},
    {"type": "git_commit", "message": "Mend it"},
    {"type": "git_push"},
    {"type": "note", "text": "Look"},
    {"type": "file_bead", "title": "More", "context": {"x": 1}, "priority": 0},
]


def test_every_type_of_action_is_read() -> None:
    read = actions.read(WHOLE)
    assert tuple(each.type for each in read) == TYPES
    assert read[0] == WriteFile(type="write_file", path="a/b", content="", mode="755")
    assert read[4] == RunCommand(type="run_command", argv=["make"], timeout_s=5, expect_exit=2)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "context.actions: Input should be a valid list"),
        ({}, "context.actions: Input should be a valid list"),
        ([], "context.actions: List should have at least 1 item"),
        (["run_tests"], "context.actions.0: has to be an object"),
        ([{}], "context.actions.0: has no type, which is one of write_file"),
        ([{"type": "run_tests"}, {"type": "rm"}], "context.actions.1: its type is not one of"),
        ([{"type": "write_file", "path": "x"}], "context.actions.0.write_file.content: is needed"),
        ([{"type": "git_push", "to": "x"}], "context.actions.0.git_push.to: nobody knows"),
        ([{"type": "delete_file", "path": "../x"}], "'../x' is not a path below the checkout"),
        ([{"type": "delete_file", "path": ".git/config"}], "belongs to git"),
        ([{"type": "apply_patch", "patch": " \n"}], "apply_patch.patch: has to say something"),
        ([{"type": "run_command", "argv": []}], "run_command.argv: List should have at least 1"),
        ([{"type": "run_command", "argv": "ls"}], "run_command.argv: Input should be a valid list"),
        ([{"type": "run_command", "argv": ["ls", "\0"]}], "to hold no NUL"),
        ([{"type": "run_command", "argv": ["x"], "expect_exit": 256}], "less than or equal to 255"),
        ([{"type": "run_command", "argv": ["x"], "advisory": True, "expect_exit": 1}], "leave out"),
        ([{"type": "run_command", "argv": ["x"], "timeout_s": 0}], "greater than or equal to 1"),
        ([{"type": "note", "text": "\ud800"}], "context.actions.0.note.text: Input should be"),
        ([{"type": "file_bead", "title": "a\nb"}], "file_bead.title: has to be one line"),
        ([{"type": "write_file", "path": "x", "content": "", "mode": "777"}], "'644' or '755'"),
        ([{"type": "note", "text": "x"}] * (MAX_ACTIONS + 1), f"the limit is {MAX_ACTIONS}"),
        (
            [{"type": "write_file", "path": "x", "content": "é" * (MAX_WORK_BYTES // 4 + 1)}] * 2,
            f"bytes in all; the limit is {MAX_WORK_BYTES}",
        ),
    ],
)  # fmt: skip
def test_an_action_that_cannot_be_done_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        actions.read(value)
    assert words in refused.value.detail


@pytest.mark.parametrize(
    "types", [("git_commit", "run_tests"), ("git_push", "git_commit"), ("git_commit", "git_commit")]
)
def test_a_commit_is_of_all_that_was_done(types: tuple[str, ...]) -> None:
    with pytest.raises(
        Invalid, match=rf"1 \({types[1]}\) comes after {types[0]}: a bead makes one"
    ):
        actions.read([{"type": name} for name in types])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(TYPES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "path", "argv", "patch", "x"]), inner, max_size=4
        )
    ),
)


@given(ANYTHING)
def test_whatever_stands_there_is_read_or_refused(value: Any) -> None:
    try:
        assert actions.read(value)
    except Invalid as refused:
        assert refused.detail.startswith("context.actions")


def test_placeholders_are_filled_in_within_their_arguments() -> None:
    argv = ("run", "--bead={bead_file}", "{checkout}/x", "{{bead_id}}", "a {bead_id} b")
    values = dict.fromkeys(placeholders.PLACEHOLDERS, "-") | {
        "bead_file": "/t/bead.json", "checkout": "/w o", "bead_id": "{checkout}; rm",
    }  # fmt: skip
    assert placeholders.fill(argv, values) == (
        "run", "--bead=/t/bead.json", "/w o/x", "{bead_id}", "a {checkout}; rm b",
    )  # fmt: skip


@pytest.mark.parametrize(
    "word",
    ["{", "}", "{}", "{0}", "{home}", "{bead_id!r}", "{bead_id:9}", "{bead_id.x}", "{bead_id[0]}"],
)
def test_a_placeholder_that_nobody_knows_is_refused(word: str) -> None:
    with pytest.raises(Invalid, match=r"rules\.command\.1: .*a brace itself is doubled"):
        placeholders.check(("run", word))


@pytest.mark.parametrize("argv", [(), ("",), (" ", "x")])
def test_a_command_without_a_program_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match="names no program"):
        placeholders.check(argv)
