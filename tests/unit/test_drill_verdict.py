"""The verdict of a drill: what the accountant's record and the world make together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from loom.domain.bead import Bead
from loom.domain.evidence import Commit
from loom.domain.lifecycle import Resolution, State
from loom.drill.book import Answer, Filing, Letter, Page, Sort
from loom.drill.commits import Found
from loom.drill.ledger import Tables
from loom.drill.verdict import Seen, Verdict, judge
from loom.messaging.topology import RESULTS_QUEUE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = Tables(closed={}, said={}, letters={}, owed=0, running=0)
SHA = "a" * 40


def bead(nonce: str = "n-1", **changes: object) -> Bead:
    """A bead that succeeded with a commit."""
    done = Bead(
        id=f"bd-{nonce}", project_id="drill", title=nonce, state=State.CLOSED, epoch=1, version=3,
        correlation_id="c", created_at=NOW, updated_at=NOW, resolution=Resolution.SUCCEEDED,
        commits=(Commit(SHA, f"agent/bd-{nonce}"),),
    )  # fmt: skip
    return replace(done, **changes)  # type: ignore[arg-type]


def filing(sort: Sort = Sort.PATCH, answer: Answer = Answer.ACCEPTED, nonce: str = "n-1") -> Page:
    """A record of one bead."""
    id_ = f"bd-{nonce}" if answer is Answer.ACCEPTED else ""
    return Page({nonce: Filing(nonce, sort, during=4, answer=answer, bead_id=id_)})


def world(*beads: Bead, **changes: object) -> Seen:
    """What there is when these beads went well, each with its one commit, closing and run."""
    pushed = [b for b in beads if b.commits]
    seen = Seen(
        beads=beads,
        commits=[Found(f"agent/{b.id}", b.commits[0].sha, (b.id,)) for b in pushed],
        tips={b.id: b.commits[0].sha for b in pushed},
        runs={b.title: 1 for b in beads},
        depths={},
        tables=replace(NOTHING, closed={b.id: 1 for b in beads if b.state is State.CLOSED}),
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def findings(verdict: Verdict) -> tuple[int, int, int]:
    return len(verdict.lost), len(verdict.doubled), len(verdict.unexpected)


def test_a_bead_that_went_well_leaves_nothing_to_find() -> None:
    verdict = judge(filing(), world(bead()), ())

    assert findings(verdict) == (0, 0, 0)
    assert (verdict.accepted, verdict.sound) == (1, True)


def test_an_accepted_bead_that_is_not_there_is_lost() -> None:
    verdict = judge(filing(), world(), ())

    assert findings(verdict) == (1, 0, 0)
    assert not verdict.sound
    assert verdict.during == {4}


@pytest.mark.parametrize("state", [State.OPEN, State.IN_PROGRESS])
def test_an_accepted_bead_that_nothing_moves_any_more_is_lost(state: State) -> None:
    stuck = bead(state=state, resolution=None, commits=())

    assert findings(judge(filing(), world(stuck), ())) == (1, 0, 0)


def test_a_timed_out_request_is_indeterminate_whether_its_bead_is_there_or_not() -> None:
    asked = filing(answer=Answer.INDETERMINATE)

    for seen in (world(), world(bead())):
        verdict = judge(asked, seen, ())
        assert findings(verdict) == (0, 0, 0)
        assert (verdict.accepted, verdict.indeterminate) == (0, 1)


def test_a_refused_bead_that_is_there_is_unexpected() -> None:
    assert findings(judge(filing(answer=Answer.REFUSED), world(bead()), ())) == (0, 0, 1)


def test_one_request_that_made_two_beads_is_doubled() -> None:
    twin = bead(id="bd-twin", commits=(Commit("b" * 40, "agent/bd-twin"),))

    assert findings(judge(filing(), world(bead(), twin), ())) == (0, 1, 0)


def test_two_commits_of_one_bead_are_doubled() -> None:
    seen = world(bead())
    again = Found("agent/bd-n-1", "c" * 40, ("bd-n-1",))

    verdict = judge(filing(), replace(seen, commits=[*seen.commits, again]), ())

    assert findings(verdict) == (0, 1, 0)


def test_a_bead_closed_twice_in_the_journal_is_doubled() -> None:
    seen = world(bead(), tables=replace(NOTHING, closed={"bd-n-1": 2}))

    assert findings(judge(filing(), seen, ())) == (0, 1, 0)


def test_a_success_whose_commit_is_gone_is_lost_work() -> None:
    assert findings(judge(filing(), world(bead(), commits=[], tips={}), ())) == (1, 0, 0)


def test_a_branch_that_is_elsewhere_than_its_bead_says_is_unexpected() -> None:
    assert findings(judge(filing(), world(bead(), tips={"bd-n-1": "d" * 40}), ())) == (0, 0, 1)


def test_a_failed_bead_with_a_commit_is_unexpected() -> None:
    failed = bead(resolution=Resolution.FAILED)

    assert findings(judge(filing(Sort.FAIL), world(failed), ())) == (0, 0, 1)


def test_a_bead_that_ended_otherwise_than_it_had_to_is_unexpected() -> None:
    failed = bead(resolution=Resolution.FAILED, commits=())

    verdict = judge(filing(Sort.VERIFY), world(failed), ())

    assert findings(verdict) == (0, 0, 1)
    assert "had to end succeeded" in verdict.unexpected[0]


def test_a_closed_bead_whose_command_never_ran_is_unexpected() -> None:
    assert findings(judge(filing(), world(bead(), runs={}), ())) == (0, 0, 1)


def test_runs_beyond_the_first_are_counted_and_are_no_fault() -> None:
    verdict = judge(filing(), world(bead(), runs={"n-1": 3}), ())

    assert verdict.re_executed == 2
    assert findings(verdict) == (0, 0, 0)


def test_a_bead_that_nobody_filed_is_unexpected() -> None:
    assert findings(judge(Page(), world(bead()), ())) == (0, 0, 1)


def test_an_unreadable_message_has_to_be_one_dead_letter() -> None:
    page = Page(letters=[Letter("m-1", RESULTS_QUEUE)])

    def recorded(times: int) -> Seen:
        letters = {("m-1", RESULTS_QUEUE): times} if times else {}
        return world(tables=replace(NOTHING, letters=letters))

    assert findings(judge(page, recorded(0), ())) == (1, 0, 0)
    assert findings(judge(page, recorded(1), ())) == (0, 0, 0)
    assert findings(judge(page, recorded(2), ())) == (0, 1, 0)


def test_a_dead_letter_that_was_readable_is_unexpected() -> None:
    seen = world(tables=replace(NOTHING, letters={("m-2", RESULTS_QUEUE): 1}))

    assert findings(judge(Page(), seen, ())) == (0, 0, 1)


def test_what_is_left_over_is_unexpected() -> None:
    tables = replace(NOTHING, owed=2, running=1)

    verdict = judge(Page(), world(depths={RESULTS_QUEUE: 3}, tables=tables), (RESULTS_QUEUE,))

    assert findings(verdict) == (0, 0, 3)
