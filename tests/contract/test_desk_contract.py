"""What people do at their desk: one suite for the ledger in memory and the real one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_ledger_contract import AGENT, PROVEN, World, letter, real, said, world

from loom.domain.audit import Intervention
from loom.domain.bead import Amendment, Bead, NewBead
from loom.domain.bulk import Act, Bulk, Done, Verdict
from loom.domain.lifecycle import Resolution, State
from loom.domain.listing import BeadFilter, BeadSort
from loom.domain.outbox import ClaimVerdict
from loom.domain.project import Project, ProjectChange, ProjectState
from loom.errors import IllegalTransition, Invalid, NotFound, Stale, TooLarge

__all__ = ["real", "world"]

BY = Intervention("ada", "because")
CLOSED, ACTIVE, PAUSED = ProjectState.CLOSED, ProjectState.ACTIVE, ProjectState.PAUSED


def change(world: World, version: int = 0, **what: Any) -> Project:
    done: Project = world.control.update_project(
        "alpha", ProjectChange(**what), "corr", expected_version=version, by=BY
    )
    return done


def shown(world: World, sort: BeadSort = BeadSort.NEWEST, **where: Any) -> list[str]:
    """The ids of a list, read two at a time."""
    ids: list[str] = []
    cursor = ""
    while True:
        page = world.control.list_beads(
            page_size=2, cursor=cursor, where=BeadFilter(**where), sort=sort
        )
        ids += [bead.id for bead in page.items]
        cursor = page.next_cursor
        if not cursor:
            return ids


def why(world: World, bead: Bead) -> list[str]:
    return [reason.code for reason in world.control.explain_bead(bead.id).reasons]


def test_every_field_of_a_project_can_be_edited(world: World) -> None:
    world.project()
    done = change(
        world, name="Alpha", repository="/srv/other.git", default_branch="trunk",
        test_command=("make", "test"), timeout_s=60, soft_timeout_s=30, weight=5,
        queue_window=3, max_in_progress=2, max_attempts=4,
    )  # fmt: skip

    assert done == world.control.get_project("alpha")
    assert (done.version, done.name, done.test_command) == (2, "Alpha", ("make", "test"))
    assert (done.timeout_s, done.soft_timeout_s, done.repository) == (60, 30, "/srv/other.git")
    assert change(world, test_command=()).test_command == ()


def test_an_edit_of_an_older_version_of_a_project_is_stale(world: World) -> None:
    world.project()
    assert change(world, version=1, weight=3).version == 2
    assert change(world, version=2, weight=3).version == 2

    with pytest.raises(Stale):
        change(world, version=1, weight=4)
    with pytest.raises(Invalid):
        change(world, soft_timeout_s=100_000)
    assert world.control.get_project("alpha").weight == 3


def test_the_trail_tells_who_changed_a_project(world: World) -> None:
    world.project()
    change(world, state=PAUSED)
    change(world, weight=7)
    change(world, state=CLOSED)
    change(world, state=ACTIVE)

    *lines, made = world.control.list_audit("alpha").items
    # The tests' world names nobody: then it is the caller.
    assert (made.action, made.actor) == ("project.create", "control")
    assert [line.action for line in reversed(lines)] == [
        "project.pause", "project.edit", "project.close", "project.reopen",
    ]  # fmt: skip
    assert {line.actor for line in lines} == {"ada"}


def test_a_closed_project_takes_no_beads_and_dispatches_nothing_until_it_is_reopened(
    world: World,
) -> None:
    world.project()
    waiting = world.bead()
    change(world, state=CLOSED)

    with pytest.raises(IllegalTransition, match="reopen"):
        world.bead()
    with pytest.raises(IllegalTransition, match="reopen"):
        change(world, state=PAUSED)
    assert world.tasks() == []
    assert why(world, waiting) == ["project_closed"]
    assert world.claim(waiting).verdict is ClaimVerdict.DEFERRED

    change(world, state=ACTIVE)
    assert [row.bead_id for row in world.tasks()] == [waiting.id]


def test_what_runs_in_a_project_that_is_closed_goes_on_to_its_end(world: World) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    world.claim(bead)
    change(world, state=CLOSED)

    world.report(said(bead, PROVEN))
    assert world.control.get_bead(bead.id).resolution is Resolution.SUCCEEDED


def test_the_words_of_a_bead_can_be_edited_before_somebody_begins_it(world: World) -> None:
    world.project()
    bead = world.bead()
    words = Amendment(title="Mend that", description="with care", context={"patch": "x"})
    done = world.control.amend_bead(bead.id, words, 1, by=BY)

    assert (done.title, done.description, done.context) == (
        "Mend that", "with care", {"patch": "x"},
    )  # fmt: skip
    assert done.version == 2
    assert world.control.list_audit(bead.id).items[0].actor == "ada"
    with pytest.raises(Stale):
        world.control.amend_bead(bead.id, Amendment(title="Other"), 1)
    with pytest.raises(Invalid):
        world.control.amend_bead(bead.id, Amendment(title=" "))
    with pytest.raises((Invalid, TooLarge)):
        world.control.amend_bead(bead.id, Amendment(context={"patch": "x" * 2_000_000}))
    world.dispatch()
    assert world.claim(bead).bead.title == "Mend that"
    with pytest.raises(IllegalTransition):
        world.control.amend_bead(bead.id, Amendment(title="Too late"))


def test_a_dependency_is_added_and_taken_off_by_itself(world: World) -> None:
    world.project()
    first, second, bead = world.file("a", "b", "c")
    world.control.amend_bead(bead.id, Amendment(wait_for=(first.id,)))
    added = world.control.amend_bead(bead.id, Amendment(wait_for=(second.id, first.id)))
    again = world.control.amend_bead(bead.id, Amendment(wait_for=(second.id,)))

    assert added.blocked_by == (first.id, second.id)
    assert again.version == added.version
    assert why(world, bead) == ["waits_for_beads"]
    with pytest.raises(Invalid, match="wait"):
        world.control.amend_bead(first.id, Amendment(wait_for=(bead.id,)))
    freed = world.control.amend_bead(bead.id, Amendment(not_for=(first.id, second.id)))
    assert freed.blocked_by == ()
    assert bead.id in [row.bead_id for row in world.tasks()]


def test_a_bead_that_somebody_took_is_given_to_no_agent_until_it_is_released(world: World) -> None:
    world.project()
    bead = world.bead()
    taken = world.control.assign_bead(bead.id, "ada", BY)

    assert (taken.assignee, taken.state, taken.version) == ("ada", State.OPEN, 2)
    assert world.control.assign_bead(bead.id, "ada", BY) == taken
    assert world.tasks() == []
    assert why(world, bead) == ["assigned"]
    with pytest.raises(IllegalTransition, match="ada has taken"):
        world.control.assign_bead(bead.id, "bob", BY)

    assert world.control.assign_bead(bead.id, "", BY).assignee == ""
    assert [row.bead_id for row in world.dispatch()] == [bead.id]
    assert world.claim(bead).verdict is ClaimVerdict.GRANTED
    with pytest.raises(IllegalTransition, match="under way"):
        world.control.assign_bead(bead.id, "ada", BY)
    assert [line.action for line in world.control.list_audit(bead.id).items] == [
        "bead.release", "bead.claim",
    ]  # fmt: skip


def test_a_bead_that_was_taken_while_its_message_stood_in_the_queue_comes_back(
    world: World,
) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    world.control.assign_bead(bead.id, "ada", BY)

    assert world.claim(bead).verdict is ClaimVerdict.DEFERRED
    assert world.tasks() == []
    world.control.assign_bead(bead.id, "", BY)
    assert [row.bead_id for row in world.tasks()] == [bead.id]


def test_a_bead_that_somebody_took_stays_held_when_what_it_waited_for_has_succeeded(
    world: World,
) -> None:
    world.project()
    first, bead = world.file("a", "b")
    world.control.amend_bead(bead.id, Amendment(wait_for=(first.id,)))
    world.control.assign_bead(bead.id, "ada", BY)
    world.dispatch()
    world.claim(first)
    world.report(said(first, PROVEN))

    assert world.tasks() == []
    assert why(world, bead) == ["assigned"]


def test_many_beads_are_cancelled_at_once_each_with_what_became_of_it(world: World) -> None:
    world.project()
    first, second, gone, done = world.file("a", "b", "c", "d")
    world.control.cancel_bead(gone.id, BY)
    world.dispatch()
    world.claim(done)
    world.report(said(done, PROVEN))
    ids = (first.id, gone.id, "bd-none", done.id, second.id)

    tried = world.control.act_on_beads(Bulk(Act.CANCEL, ids, dry_run=True), BY)
    assert world.control.get_bead(first.id).state is State.OPEN
    answer = world.control.act_on_beads(Bulk(Act.CANCEL, ids), BY)

    assert tried == answer
    assert [(each.bead_id, each.verdict, each.code) for each in answer.done] == [
        (first.id, Verdict.DONE, ""), (gone.id, Verdict.UNCHANGED, ""),
        ("bd-none", Verdict.MISSING, "not_found"),
        (done.id, Verdict.REFUSED, "illegal_transition"), (second.id, Verdict.DONE, ""),
    ]  # fmt: skip
    assert world.control.get_bead(second.id).resolution is Resolution.CANCELLED
    assert world.control.list_audit(first.id).items[0].action == "bead.cancel"
    assert world.tasks() == []


def test_blocked_beads_are_let_go_on_by_a_filter_with_their_dead_letters(world: World) -> None:
    world.project()
    beads = world.file("a", "b", "c")
    world.dispatch()
    world.ingester.record_dead_letters([letter(bead) for bead in beads[:2]])
    where = BeadFilter(projects=("alpha",), states=("blocked",))

    answer = world.control.act_on_beads(Bulk(Act.UNBLOCK, where=where), BY)

    assert answer.done == tuple(Done(bead.id, Verdict.DONE) for bead in beads[:2])
    assert not answer.more
    assert sorted(row.bead_id for row in world.tasks()) == sorted(b.id for b in beads[:2])
    letters = world.control.list_dead_letters("alpha").items
    assert {each.state.value for each in letters} == {"replayed"}


def test_the_priority_of_many_is_set_and_they_leave_in_that_order(world: World) -> None:
    world.project()
    first, second, third = world.file("a", "b", "c")
    world.control.act_on_beads(Bulk(Act.PRIORITY, (third.id,), priority=0), BY)

    assert [row.bead_id for row in world.tasks()] == [third.id, first.id, second.id]
    assert world.control.get_bead(third.id).version == 2
    answer = world.control.act_on_beads(Bulk(Act.PRIORITY, (third.id,), priority=0), BY)
    assert answer.done == (Done(third.id, Verdict.UNCHANGED),)


def test_beads_of_other_projects_than_are_asked_for_are_missing(world: World) -> None:
    world.project()
    world.project("beta")
    bead = world.bead("beta")
    where = BeadFilter(projects=("alpha",))

    answer = world.control.act_on_beads(Bulk(Act.CANCEL, (bead.id,), where), BY)

    assert answer.done[0].verdict is Verdict.MISSING
    assert world.control.get_bead(bead.id).state is State.OPEN


def test_acts_on_many_are_refused_without_a_reason_twice_or_too_many(world: World) -> None:
    for bulk, by in (
        (Bulk(Act.CANCEL, ("a",)), Intervention("ada", " ")),
        (Bulk(Act.CANCEL, ("a", "a")), BY),
        (Bulk(Act.CANCEL, tuple(f"b{n}" for n in range(1_001))), BY),
        (Bulk(Act.PRIORITY, ("a",), priority=9), BY),
        (Bulk(Act.CANCEL, where=BeadFilter(states=("odd",))), BY),
    ):
        with pytest.raises(Invalid):
            world.control.act_on_beads(bulk, by)


def test_a_list_comes_in_each_order_page_by_page(world: World) -> None:
    world.project()
    beads = [
        world.control.create_beads("alpha", [NewBead(f"n{n}", priority=p)], "corr").items[0]
        for n, p in enumerate((2, 0, 1, 0, 2))
    ]
    world.advance(1)
    touched = world.control.amend_bead(beads[1].id, Amendment(max_attempts=3))
    ids = [bead.id for bead in beads]

    assert shown(world, BeadSort.OLDEST) == ids
    assert shown(world, BeadSort.NEWEST) == ids[::-1]
    assert shown(world, BeadSort.LATEST)[0] == touched.id
    assert shown(world, BeadSort.STALEST)[-1] == touched.id
    by_priority = [ids[1], ids[3], ids[2], ids[0], ids[4]]
    assert shown(world, BeadSort.FIRST) == by_priority
    assert shown(world, BeadSort.LAST) == by_priority[::-1]
    one = world.control.list_beads(page_size=1, sort=BeadSort.FIRST)
    with pytest.raises(Invalid, match="order"):
        world.control.list_beads(cursor=one.next_cursor, sort=BeadSort.LAST)


def test_a_list_shows_what_its_filter_says(world: World) -> None:
    world.project()
    world.project("beta")
    a = world.control.create_beads("alpha", [NewBead("Mend THE sum", priority=0)], "c").items[0]
    b = world.bead("beta")
    child = world.control.create_beads("alpha", [NewBead("50%_done", parent=a.id)], "c").items[0]
    world.control.assign_bead(b.id, "ada", BY)
    world.dispatch()
    world.claim(child)
    world.control.cancel_bead(a.id, Intervention("ada", "no longer wanted"))

    assert shown(world, projects=("alpha", "beta"), sort=BeadSort.OLDEST) == [a.id, b.id, child.id]
    assert shown(world, projects=("beta",)) == [b.id]
    assert shown(world, states=("closed", "in_progress")) == [child.id, a.id]
    assert shown(world, resolution="cancelled") == [a.id]
    assert shown(world, priorities=(0,)) == [a.id]
    assert shown(world, parent=a.id) == [child.id]
    assert shown(world, text="the SUM") == [a.id]
    assert shown(world, text=b.id[3:]) == [b.id]
    assert shown(world, text="%_d") == [child.id]
    assert shown(world, reason="no longer") == [a.id]
    assert shown(world, assignee="ada") == [b.id]
    assert shown(world, agent=AGENT) == [child.id]
    assert shown(world, created_since=child.created_at) == [child.id]
    assert shown(world, created_until=b.created_at) == [a.id]
    assert shown(world, updated_since=datetime.now(UTC) + timedelta(days=1)) == []
    assert shown(world, projects=("gamma",)) == []


def test_a_filter_that_no_bead_could_pass_is_refused(world: World) -> None:
    for where in (
        {"projects": ("Not",)}, {"states": ("odd",)}, {"resolution": "odd"}, {"priorities": (7,)},
        {"parent": "!"}, {"text": "x" * 201}, {"reason": "\0"},
    ):  # fmt: skip
        with pytest.raises(Invalid):
            world.control.list_beads(where=BeadFilter(**where))


def test_what_is_not_there_cannot_be_taken(world: World) -> None:
    with pytest.raises(NotFound):
        world.control.assign_bead("bd-none", "ada", BY)
    with pytest.raises(Invalid):
        world.control.assign_bead("bd-none", "two\nlines", BY)
    with pytest.raises(Invalid):
        world.control.assign_bead("bd-none", "ada", replace(BY, reason=""))


def test_who_made_a_project_and_what_stands_in_the_audit_once(world: World) -> None:
    made = Project("gamma", "/r", name="Gamma")
    by = Intervention("ada", "", "corr-7")
    for _ in range(2):
        world.control.create_project(made, "c", idempotency=("k", "f"), by=by)

    (line,) = world.control.list_audit("gamma").items

    assert (line.actor, line.action, line.correlation_id) == ("ada", "project.create", "corr-7")
    assert dict(line.detail) == {"name": "Gamma", "repository": "/r"}
