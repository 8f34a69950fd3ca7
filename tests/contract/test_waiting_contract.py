"""What beads wait for: one suite for the ledger in memory and the real one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_ledger_contract import INFRA, PROVEN, WORK, World, letter, real, said, world

from loom.domain.audit import Intervention
from loom.domain.bead import Amendment, Bead, NewBead
from loom.domain.evidence import Outcome, Step, TestReport
from loom.domain.lifecycle import Resolution, State
from loom.domain.outbox import ClaimVerdict, OutboxRow, ResultVerdict
from loom.domain.project import ProjectChange, ProjectState
from loom.domain.rules import Limits, Network, Rules, Strategy
from loom.errors import IllegalTransition, Invalid, NotFound, Stale

__all__ = ["real", "world"]

HOUR = 3600.0
PAUSED, DRAINING, ACTIVE = ProjectState.PAUSED, ProjectState.DRAINING, ProjectState.ACTIVE


def file(world: World, *beads: NewBead, project: str = "alpha") -> list[Bead]:
    return list(world.control.create_beads(project, beads, "corr").items)


def one(world: World, project: str = "alpha", **more: Any) -> Bead:
    (bead,) = file(world, NewBead("mend it", **more), project=project)
    return bead


def change(world: World, project: str = "alpha", **what: Any) -> Any:
    return world.control.update_project(project, ProjectChange(**what), "corr")


def amend(world: World, bead: Bead, **what: Any) -> Bead:
    amended: Bead = world.control.amend_bead(bead.id, Amendment(**what))
    return amended


def sent(rows: Sequence[OutboxRow]) -> list[str]:
    return [row.bead_id for row in rows]


def end(world: World, bead: Bead, outcome: Any = PROVEN) -> None:
    epoch = world.control.get_bead(bead.id).epoch
    assert world.report(said(bead, outcome, epoch=epoch)) == [ResultVerdict.APPLIED]


def run(world: World, bead: Bead, outcome: Any = PROVEN) -> None:
    """See a bead through, whatever else is owed."""
    assert world.claim(bead).verdict is ClaimVerdict.GRANTED
    end(world, bead, outcome)


def why(world: World, bead: Bead) -> list[str]:
    return [reason.code for reason in world.control.explain_bead(bead.id).reasons]


def in_an_hour() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)


# Rules.

RULES = Rules(
    network=Network.PREPARE, command=("mend",), recipe={"detect": ["test"]}, limits=Limits(cpu_s=9)
)
NO_TESTS = Outcome(
    succeeded=True,
    steps=(Step("test", ("true",), 0, 0.5, tests=TestReport("pytest", 0, 0, 0, 0)),),
)


def test_a_project_has_rules_and_an_agent_gets_them_with_its_claim(world: World) -> None:
    assert world.project(rules=RULES).rules == RULES
    assert world.control.get_project("alpha").rules == RULES
    assert world.project("beta").rules == Rules()
    assert world.claim(world.bead()).project.rules == RULES


def test_a_change_of_rules_leaves_the_others_and_null_takes_one_back(world: World) -> None:
    world.project(rules=RULES)
    changed = change(world, rules={"strategy": "direct", "limits": {"disk_mb": 7}}).rules
    assert changed == replace(RULES, strategy=Strategy.DIRECT, limits=Limits(cpu_s=9, disk_mb=7))
    assert change(world, rules={"recipe": None, "limits": None}).rules == replace(
        changed, recipe={}, limits=Limits()
    )
    assert change(world, weight=5).rules.strategy is Strategy.DIRECT


@pytest.mark.parametrize(
    "wrong", [{"network": "some"}, {"colour": 1}, {"limits": 3}, {"recipe": {"step": 3}}]
)
def test_a_rule_that_cannot_be_is_invalid_and_changes_nothing(
    world: World, wrong: dict[str, Any]
) -> None:
    world.project(rules=RULES)
    with pytest.raises(Invalid):
        change(world, rules={"submodules": True} | wrong)
    assert world.control.get_project("alpha").rules == RULES


def test_no_tests_prove_a_bead_only_where_its_project_allows_it(world: World) -> None:
    world.project()
    world.project("beta", rules=Rules(allow_no_tests=True))
    for project, verdict in (
        ("alpha", ResultVerdict.UNPROVEN), ("beta", ResultVerdict.APPLIED),
    ):  # fmt: skip
        bead = one(world, project)
        assert world.claim(bead).verdict is ClaimVerdict.GRANTED
        assert world.report(said(bead, NO_TESTS)) == [verdict]


# Pause and drain.


def test_a_project_says_its_state_share_and_limits(world: World) -> None:
    assert world.project().state is ACTIVE
    changed = change(world, state=PAUSED, weight=30, max_in_progress=2, max_attempts=4)
    assert (changed.state, changed.weight) == (PAUSED, 30)
    assert (changed.max_in_progress, changed.max_attempts) == (2, 4)
    assert world.control.get_project("alpha") == changed
    assert change(world, weight=5).max_in_progress == 2, "what is not named stays as it is"


@pytest.mark.parametrize(
    "wrong", [{"weight": 0}, {"weight": 101}, {"max_attempts": 101}, {"queue_window": 0}]
)
def test_a_limit_out_of_its_bounds_is_invalid(world: World, wrong: dict[str, int]) -> None:
    world.project()
    with pytest.raises(Invalid):
        change(world, **wrong)


def test_a_change_of_no_project_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        change(world, "nowhere", weight=2)


def test_a_paused_project_accepts_and_starts_nothing_until_it_is_resumed(world: World) -> None:
    world.project()
    change(world, state=PAUSED)
    bead = one(world)
    assert world.tasks() == []
    assert why(world, bead) == ["project_paused"]
    change(world, state=ACTIVE)
    assert sent(world.tasks()) == [bead.id]


def test_a_message_that_was_queued_before_the_pause_is_owed_again(world: World) -> None:
    world.project()
    bead = one(world)
    (first,) = world.dispatch()
    change(world, state=PAUSED)
    assert why(world, bead) == ["project_paused", "in_queue"]
    assert world.claim(bead).verdict is ClaimVerdict.DEFERRED
    assert world.claim(bead).verdict is ClaimVerdict.DEFERRED, "of a message that came twice"
    assert why(world, bead) == ["project_paused"]
    assert world.dispatch() == []
    change(world, state=ACTIVE)
    (again,) = world.dispatch()
    assert (again.bead_id, again.epoch) == (bead.id, first.epoch)
    assert again.message_id != first.message_id
    assert world.claim(bead).verdict is ClaimVerdict.GRANTED


def test_a_claim_before_its_row_is_settled_loses_nothing_to_a_pause(world: World) -> None:
    world.project()
    bead = one(world)
    (row,) = world.tasks()
    change(world, state=PAUSED)
    assert world.claim(bead).verdict is ClaimVerdict.DEFERRED
    assert world.dispatcher.settle_outbox("d", [row.id]) == (0, 0), "that row is owed no longer"
    change(world, state=ACTIVE)
    assert sent(world.tasks()) == [bead.id]


def test_what_runs_when_a_project_is_paused_goes_on_to_its_end(world: World) -> None:
    world.project()
    bead = one(world)
    claim = world.claim(bead)
    change(world, state=PAUSED)
    agents = world.agents["alpha"]
    assert agents.renew_lease(bead.id, claim.epoch, "agent-alpha@host") > 0
    end(world, bead)
    assert world.control.get_bead(bead.id).resolution is Resolution.SUCCEEDED


def test_a_takeover_in_a_paused_project_waits_until_it_is_resumed(world: World) -> None:
    world.project()
    bead = one(world)
    world.dispatch()
    world.claim(bead)
    change(world, state=PAUSED)
    assert world.claim(bead, redelivered=True).verdict is ClaimVerdict.HELD
    world.advance(31)
    assert world.engine.expire_leases() == (1, 1, 0)
    world.advance(301)
    assert world.tasks() == []
    change(world, state=ACTIVE)
    assert sent(world.tasks()) == [bead.id]


def test_a_draining_project_finishes_what_was_begun_and_begins_nothing(world: World) -> None:
    world.project()
    begun, fresh = file(world, NewBead("begun"), NewBead("fresh"))
    world.dispatch()
    world.claim(begun)
    change(world, state=DRAINING)
    end(world, begun, INFRA)
    world.advance(301)
    assert world.claim(fresh).verdict is ClaimVerdict.DEFERRED
    assert why(world, fresh) == ["project_draining"]
    (row,) = world.tasks()
    assert (row.bead_id, row.attempt) == (begun.id, 2)
    assert world.claim(begun, epoch=2).verdict is ClaimVerdict.GRANTED
    change(world, state=ACTIVE)
    assert sent(world.tasks()) == [fresh.id]


# Caps.


def test_no_more_is_sent_than_the_cap_lets_run(world: World) -> None:
    world.project(max_in_progress=2)
    beads = world.file("a", "b", "c")
    assert sent(world.dispatch()) == [b.id for b in beads[:2]]
    assert world.dispatch() == [], "what was sent counts"
    world.claim(beads[0])
    assert world.dispatch() == [], "and so does what runs"
    assert why(world, beads[2]) == ["cap_reached"]
    world.claim(beads[1])
    assert why(world, beads[2]) == ["cap_reached"]
    end(world, beads[0])
    assert sent(world.dispatch()) == [beads[2].id]


def test_a_claim_beyond_the_cap_is_put_off_and_owed_again(world: World) -> None:
    world.project()
    first, second = world.file("a", "b")
    world.dispatch()
    world.claim(first)
    change(world, max_in_progress=1)
    assert world.claim(second).verdict is ClaimVerdict.DEFERRED
    assert world.dispatch() == []
    end(world, first)
    assert sent(world.dispatch()) == [second.id]
    assert world.claim(second).verdict is ClaimVerdict.GRANTED


def test_a_takeover_takes_no_second_place_under_a_cap(world: World) -> None:
    world.project(max_in_progress=1)
    bead = one(world)
    world.dispatch()
    world.claim(bead)
    taken = world.agents["alpha"].claim_bead(bead.id, 1, "agent-alpha@other", redelivered=True)
    assert taken.verdict is ClaimVerdict.GRANTED


# Shares.


def test_projects_leave_in_the_proportion_of_their_weights(world: World) -> None:
    world.project(weight=30)
    world.project("beta", weight=10)
    world.file(*"abcdefghijkl")
    world.file(*"abcdefghijkl", project="beta")
    assert Counter(r.project_id for r in world.tasks(limit=16)) == {"alpha": 6, "beta": 2}


def test_shares_hold_over_leases_of_one_row_and_nobody_starves(world: World) -> None:
    world.project(weight=30)
    world.project("beta", weight=10)
    world.file(*"abcdefghijkl")
    world.file(*"abcdefghijkl", project="beta")
    turns = [row.project_id for _ in range(24) for row in world.tasks(limit=1)]
    assert Counter(turns[:12]) == {"alpha": 9, "beta": 3}


def test_who_was_idle_gets_no_credit_for_it(world: World) -> None:
    world.project(weight=10)
    world.project("beta", weight=10)
    world.file(*"abcdefgh")
    world.tasks(limit=8)
    world.file(*"ijkl")
    world.file(*"abcd", project="beta")
    turns = [row.project_id for row in world.tasks(limit=8)][:4]
    assert Counter(turns) == {"alpha": 2, "beta": 2}


# Priorities that age.


def test_a_bead_that_has_waited_goes_before_a_fresh_one_of_higher_priority(world: World) -> None:
    world.project()
    old = one(world, priority=3)
    world.advance(3 * HOUR + 60)
    fresh = one(world, priority=0)
    assert sent(world.tasks()) == [old.id, fresh.id]


def test_until_then_priority_decides(world: World) -> None:
    world.project()
    old = one(world, priority=3)
    world.advance(3 * HOUR - 60)
    fresh = one(world, priority=0)
    explained = world.control.explain_bead(old.id)
    assert explained.position == 2
    assert 0 < explained.effective_priority < 0.1
    assert sent(world.tasks()) == [fresh.id, old.id]


def test_a_new_priority_is_a_new_place(world: World) -> None:
    world.project()
    first, second = world.file("a", "b")
    amend(world, second, priority=0)
    assert sent(world.tasks()) == [second.id, first.id]


# Due times.


def test_a_bead_is_not_sent_before_it_is_due(world: World) -> None:
    world.project()
    bead = one(world, not_before=in_an_hour())
    assert bead.not_before is not None
    assert world.control.get_bead(bead.id) == bead
    assert world.tasks() == []
    assert why(world, bead) == ["not_due"]
    world.advance(HOUR)
    assert sent(world.tasks()) == [bead.id]


def test_a_due_time_can_be_taken_away_and_put_off(world: World) -> None:
    world.project()
    bead = one(world, not_before=in_an_hour())
    amend(world, bead, due_now=True)
    (row,) = world.dispatch()
    assert row.bead_id == bead.id
    amend(world, bead, not_before=in_an_hour())
    assert world.claim(bead).verdict is ClaimVerdict.DEFERRED
    assert world.dispatch() == []
    world.advance(HOUR)
    assert sent(world.dispatch()) == [bead.id]


def test_a_due_time_that_never_comes_is_invalid(world: World) -> None:
    world.project()
    with pytest.raises(Invalid):
        one(world, not_before=datetime(9999, 1, 1, tzinfo=UTC))


# Blockers.


def test_a_bead_waits_for_its_blockers_and_is_let_go_by_the_last(world: World) -> None:
    world.project()
    first, second = world.file("a", "b")
    waiting = one(world, blocked_by=(first.id, second.id))
    assert waiting.blocked_by == (first.id, second.id)
    assert world.control.get_bead(waiting.id) == waiting
    assert waiting.id not in sent(world.dispatch())
    run(world, first)
    assert why(world, waiting) == ["waits_for_beads"]
    assert world.dispatch() == []
    run(world, second)
    assert sent(world.dispatch()) == [waiting.id]


def test_blockers_that_succeed_in_one_batch_let_go_at_once(world: World) -> None:
    world.project()
    world.project("beta")
    first = one(world)
    second = one(world, "beta")
    waiting = one(world, "beta", blocked_by=(first.id, second.id))
    for bead in (first, second):
        world.claim(bead)
    assert set(world.report(said(first, PROVEN), said(second, PROVEN))) == {ResultVerdict.APPLIED}
    assert waiting.id in sent(world.dispatch())


def test_beads_of_one_request_may_wait_for_each_other(world: World) -> None:
    world.project()
    file(
        world, NewBead("c", id="c", blocked_by=("b",)), NewBead("b", id="b", blocked_by=("a",)),
        NewBead("a", id="a"),
    )  # fmt: skip
    for id_ in "abc":
        assert sent(world.dispatch()) == [id_]
        run(world, world.control.get_bead(id_))


def test_a_blocker_that_has_succeeded_blocks_nothing(world: World) -> None:
    world.project()
    done = one(world)
    run(world, done)
    world.dispatch()
    waiting = one(world, blocked_by=(done.id,))
    assert sent(world.dispatch()) == [waiting.id]


def test_a_bead_whose_blocker_failed_keeps_waiting_until_it_is_taken_off(world: World) -> None:
    world.project()
    bad = one(world)
    waiting = one(world, blocked_by=(bad.id,))
    run(world, bad, WORK)
    world.dispatch()
    (reason,) = world.control.explain_bead(waiting.id).reasons
    assert reason.code == "blocker_did_not_succeed"
    assert f"{bad.id} (failed)" in reason.sentence
    assert f"--not-blocked-by {bad.id}" in reason.remedy
    assert amend(world, waiting, blocked_by=()).version == waiting.version + 1
    assert sent(world.dispatch()) == [waiting.id]


def test_a_parent_waits_for_its_children(world: World) -> None:
    world.project()
    parent = one(world)
    child = one(world, parent=parent.id)
    assert child.parent == parent.id
    assert sent(world.dispatch()) == [child.id]
    assert why(world, parent) == ["waits_for_beads"]
    run(world, child)
    assert sent(world.dispatch()) == [parent.id]


def test_a_child_of_a_parent_that_was_sent_puts_the_parent_off(world: World) -> None:
    world.project()
    parent = one(world)
    world.dispatch()
    child = one(world, parent=parent.id)
    assert world.claim(parent).verdict is ClaimVerdict.DEFERRED
    assert sent(world.dispatch()) == [child.id]
    run(world, child)
    assert sent(world.dispatch()) == [parent.id]


def test_a_parent_that_has_begun_can_get_no_child(world: World) -> None:
    world.project()
    parent = one(world)
    world.claim(parent)
    with pytest.raises(IllegalTransition):
        one(world, parent=parent.id)


def test_a_child_that_failed_can_be_taken_off_its_parent(world: World) -> None:
    world.project()
    parent = one(world)
    child = one(world, parent=parent.id)
    run(world, child, WORK)
    assert why(world, parent) == ["blocker_did_not_succeed"]
    amend(world, child, parent="")
    assert parent.id in sent(world.dispatch())


@pytest.mark.parametrize("link", [{"blocked_by": ("nobody",)}, {"parent": "nobody"}])
def test_an_unknown_id_is_refused_and_nothing_is_filed(world: World, link: dict[str, Any]) -> None:
    world.project()
    with pytest.raises(Invalid, match="nobody"):
        file(world, NewBead("a"), NewBead("b", **link))
    assert world.control.list_beads().items == ()


@pytest.mark.parametrize(
    "beads",
    [
        [NewBead("a", id="a", blocked_by=("a",))],
        [NewBead("a", id="a", blocked_by=("b",)), NewBead("b", id="b", blocked_by=("a",))],
        [NewBead("a", id="a", blocked_by=("b",)), NewBead("b", id="b", parent="a"),
         NewBead("c", id="c", blocked_by=("a",), parent="b")],
        [NewBead("a", id="a", parent="b"), NewBead("b", id="b", parent="a")],
    ],
)  # fmt: skip
def test_beads_that_would_wait_for_themselves_are_refused(
    world: World, beads: list[NewBead]
) -> None:
    world.project()
    with pytest.raises(Invalid):
        file(world, *beads)


def test_a_circle_through_beads_that_were_filed_before_is_refused_by_name(world: World) -> None:
    world.project()
    top = one(world, id="top")
    middle = one(world, id="middle", blocked_by=("top",))
    with pytest.raises(Invalid, match=r"top -> new -> middle -> top|new -> middle -> top -> new"):
        one(world, id="new", blocked_by=("middle",), parent="top")
    with pytest.raises(Invalid, match=r"top -> middle -> top"):
        amend(world, top, blocked_by=(middle.id,))
    assert amend(world, middle, blocked_by=()).blocked_by == ()
    assert amend(world, top, blocked_by=("middle",)).blocked_by == ("middle",)


def test_a_blocked_bead_that_is_unblocked_still_waits_for_the_others(world: World) -> None:
    world.project()
    waiting = one(world)
    world.dispatch()
    world.ingester.record_dead_letters([letter(waiting)])
    first = one(world)
    amend(world, waiting, blocked_by=(first.id,))
    world.control.unblock_bead(waiting.id, Intervention("ada", "mended", "corr"))
    assert why(world, waiting) == ["waits_for_beads"]
    assert sent(world.dispatch()) == [first.id]
    run(world, first)
    assert sent(world.dispatch()) == [waiting.id]


def test_a_blocker_that_is_to_be_tried_again_still_blocks(world: World) -> None:
    world.project()
    first = one(world)
    waiting = one(world, blocked_by=(first.id,))
    run(world, first, INFRA)
    assert world.control.get_bead(first.id).state is State.OPEN
    assert waiting.id not in sent(world.dispatch())


def test_an_amendment_of_an_older_version_or_of_what_has_begun_is_refused(world: World) -> None:
    world.project()
    bead = one(world)
    amend(world, bead, priority=1)
    with pytest.raises(Stale):
        world.control.amend_bead(bead.id, Amendment(priority=0), bead.version)
    world.claim(bead)
    with pytest.raises(IllegalTransition):
        amend(world, bead, priority=3)
    with pytest.raises(NotFound):
        world.control.amend_bead("nobody", Amendment(priority=0))


# Limits on attempts.


def lose(world: World, bead: Bead) -> None:
    """Let one attempt of the bead fail for reasons that are not its own."""
    epoch = world.control.get_bead(bead.id).epoch + 1
    assert world.claim(bead, epoch=epoch).verdict is ClaimVerdict.GRANTED
    end(world, bead, INFRA)


@pytest.mark.parametrize(("of_project", "of_bead", "attempts"), [(2, 0, 2), (2, 7, 7), (0, 1, 1)])
def test_a_bead_gets_as_many_attempts_as_it_or_its_project_says(
    world: World, of_project: int, of_bead: int, attempts: int
) -> None:
    world.project(max_attempts=of_project)
    bead = one(world, max_attempts=of_bead)
    for _ in range(attempts - 1):
        lose(world, bead)
        assert world.control.get_bead(bead.id).state is State.OPEN
    lose(world, bead)
    spent = world.control.get_bead(bead.id)
    assert spent.state is State.BLOCKED
    assert "no space left" in spent.reason
    assert why(world, bead) == ["blocked"]


# Why.


def test_why_follows_a_bead_on_its_way(world: World) -> None:
    world.project()
    ahead, bead = world.file("a", "b")
    explained = world.control.explain_bead(bead.id)
    assert (explained.code, explained.position) == ("in_line", 2)
    assert "1 bead" in explained.reasons[0].sentence
    rows = world.dispatcher.lease_outbox("d", 1000)
    assert why(world, bead) == ["being_sent"]
    world.dispatcher.settle_outbox("d", [row.id for row in rows])
    assert why(world, bead) == ["no_agent"]
    world.claim(ahead)
    assert why(world, bead) == ["in_queue"]
    world.claim(bead)
    assert why(world, bead) == ["running"]
    end(world, bead)
    assert why(world, bead) == ["succeeded"]


def test_why_tells_of_a_full_window_a_retry_and_a_broker_that_takes_nothing(world: World) -> None:
    world.project(queue_window=1)
    first, second = world.file("a", "b")
    (row,) = world.tasks()
    world.dispatcher.settle_outbox("d", [], [(row.id, "no route")])
    (reason,) = world.control.explain_bead(first.id).reasons
    assert reason.code == "not_published"
    assert "no route" in reason.sentence
    world.advance(61)
    world.dispatch()
    assert why(world, second) == ["no_agent", "window_full"]
    run(world, first, INFRA)
    assert why(world, first) == ["retry_delay"]


def test_why_names_everything_that_holds_a_bead_up(world: World) -> None:
    world.project(max_in_progress=1)
    running = one(world)
    world.claim(running)
    change(world, state=PAUSED)
    bead = one(world, blocked_by=(running.id,), not_before=in_an_hour())
    expected = ["waits_for_beads", "not_due", "project_paused", "cap_reached"]
    assert why(world, bead) == expected


def test_why_of_no_bead_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.control.explain_bead("nobody")
