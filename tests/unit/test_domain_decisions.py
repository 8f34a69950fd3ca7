"""Ids, evidence and retries: decisions on values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain.evidence import Commit, FailureClass, Outcome, Step, unproven
from loom.domain.identity import check_bead_id, check_project_id, new_bead_id
from loom.domain.lifecycle import Move
from loom.domain.retry import BASE_S, BUDGET, CAP_S, after_failure, backoff_s
from loom.errors import BY_CODE, MEANINGS, Invalid

PASSED = Step("test", ("true",), 0, 0.1)


@pytest.mark.parametrize("good", ["a", "0", "my-project", "x" * 63])
def test_a_slug_is_a_project_id(good):
    assert check_project_id(good) == good


@pytest.mark.parametrize(
    "bad", ["", "-a", "A", "a_b", "a.b", "x" * 64, "a\n", "a b", "ü", "../a", "a/b"]
)
def test_anything_else_is_refused_as_a_project_id(bad):
    with pytest.raises(Invalid) as refusal:
        check_project_id(bad)
    assert refusal.value.data == {"field": "project_id"}


@pytest.mark.parametrize("good", ["bd-1", "loom-a3f.2", "a_b", "x" * 100])
def test_a_tracker_id_is_a_bead_id(good):
    assert check_bead_id(good) == good


@pytest.mark.parametrize(
    "bad",
    ["", ".a", "a..b", "a.", "a.lock", "a/b", "A", "a b", "a\n", "x" * 101, "a~1", "a^", "@{"],
)
def test_what_git_would_not_take_in_a_ref_is_no_bead_id(bad):
    with pytest.raises(Invalid):
        check_bead_id(bad)


def test_fresh_ids_are_legal_distinct_and_sort_by_time():
    ids = [new_bead_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert [check_bead_id(i)[:13] for i in ids] == sorted(i[:13] for i in ids)


def test_success_is_proven_by_a_test_step_and_exit_codes_of_zero():
    assert unproven(Outcome(True, steps=(PASSED,))) == ""


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome(True), "no step left evidence"),
        (Outcome(True, steps=(Step("checkout", (), 0, 0.1),)), "no test step ran"),
        (Outcome(True, steps=(Step("test", (), 1, 0.1),)), "step test ended with exit code 1"),
        (Outcome(True, steps=(Step("test", (), None, 9.0),)), "ended with exit code None"),
        (Outcome(True, steps=(PASSED, Step("push", (), 0, 0.1))), "names no commit"),
    ],
)
def test_a_claim_of_success_without_proof_says_what_is_missing(outcome, why):
    assert why in unproven(outcome)


def test_a_push_with_its_commit_is_proven():
    steps = (PASSED, Step("commit", (), 0, 0.1), Step("push", (), 0, 0.1))
    assert unproven(Outcome(True, steps=steps, commits=(Commit("a" * 40, "agent/x"),))) == ""


def test_work_that_fails_is_not_tried_again():
    assert after_failure(FailureClass.WORK, 1, "tests fail", 0.5).move is Move.FAIL


def test_infra_failures_are_tried_again_until_their_budget_and_then_block_with_a_reason():
    budget = BUDGET[FailureClass.INFRA]
    for attempts in range(1, budget):
        assert after_failure(FailureClass.INFRA, attempts, "no disk", 0.5).move is Move.RETRY
    last = after_failure(FailureClass.INFRA, budget, "no disk", 0.5)
    assert last.move is Move.BLOCK
    assert "no disk" in last.reason
    assert "unblock" in last.reason


@given(st.integers(0, 60), st.floats(0, 1, exclude_max=True))
def test_backoff_never_passes_its_cap_nor_the_exponential_bound(attempts, jitter):
    assert 0 <= backoff_s(attempts, jitter) <= min(CAP_S, BASE_S * 2**attempts)


def test_every_error_has_one_meaning_and_every_meaning_an_error():
    assert set(BY_CODE) == set(MEANINGS)
