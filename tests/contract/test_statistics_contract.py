"""What the ledger counts: one suite for the ledger in memory and the real one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from test_ledger_contract import INFRA, PROVEN, WORK, World, letter, real, said, world
from test_waiting_contract import end, file, one, run

from loom.domain.bead import NewBead
from loom.domain.lifecycle import State
from loom.domain.outbox import ClaimVerdict
from loom.domain.statistics import ProjectFlow
from loom.errors import Invalid, NotFound

__all__ = ["real", "world"]


def test_an_empty_ledger_counts_nothing(world: World) -> None:
    flow = world.control.flow()
    assert flow.projects == ()
    assert (flow.events_owed, flow.oldest_event_s, flow.publish_error) == (0, 0.0, "")
    assert flow.total() == ProjectFlow("")


def test_a_bead_is_counted_where_it_is_on_its_trip(world: World) -> None:
    world.project()
    bead = world.bead()

    def here() -> ProjectFlow:
        return world.control.flow().of("alpha")

    assert (here().open, here().owed, here().queued, here().filed) == (1, 1, 0, 1)
    world.dispatch()
    assert (here().open, here().owed, here().queued) == (1, 0, 1)
    world.claim(bead)
    assert (here().open, here().queued, here().in_progress, here().claimed) == (0, 0, 1, 1)
    end(world, bead)
    after = here()
    assert (after.in_progress, after.recorded, after.closed) == (0, 1, 1)


def test_what_waits_for_other_beads_is_owed_and_held(world: World) -> None:
    world.project()
    first = one(world)
    one(world, blocked_by=(first.id,))
    here = world.control.flow().of("alpha")
    assert (here.owed, here.held) == (2, 1)
    assert here.oldest_owed_s >= 0.0


def test_blocked_beads_and_open_dead_letters_are_counted(world: World) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    world.ingester.record_dead_letters([letter(bead, 1)])
    here = world.control.flow().of("alpha")
    assert (here.blocked, here.dead) == (1, 1)


def test_a_lease_that_ran_out_is_counted_as_overdue(world: World) -> None:
    world.project()
    world.claim(world.bead())
    world.advance(60)
    assert world.control.flow().of("alpha").overdue == 1


def test_counts_can_be_had_of_some_projects_alone(world: World) -> None:
    for name in ("alpha", "beta"):
        world.project(name)
        world.file("x", project=name)
    assert [p.project_id for p in world.control.flow(["beta"]).projects] == ["beta"]
    assert world.control.flow().total().open == 2
    assert sum(b.filed for b in world.control.series(600, 10, ["beta"]).buckets) == 1


def test_a_series_counts_what_was_filed_and_how_it_ended(world: World) -> None:
    world.project()
    good, bad, stopped = file(world, NewBead("a"), NewBead("b"), NewBead("c"))
    world.dispatch()
    run(world, good, PROVEN)
    run(world, bad, WORK)
    series = world.control.series(600, 10)
    last = [sum(getattr(b, n) for b in series.buckets) for n in ("filed", "succeeded", "failed")]
    assert last == [3, 1, 1]
    assert series.width_s == 60.0
    starts = [bucket.start for bucket in series.buckets]
    assert len(starts) == 10
    assert {(b - a).total_seconds() for a, b in pairwise(starts)} == {60.0}
    assert starts[0].timestamp() % 60 == 0
    ended = [bucket for bucket in series.buckets if bucket.attempts]
    assert sum(bucket.attempts for bucket in ended) == 2
    for bucket in ended:
        for spread in (bucket.pickup, bucket.run, bucket.trip):
            assert spread is not None
            assert 0.0 <= spread.half <= spread.most
    quiet = [bucket for bucket in series.buckets if not bucket.attempts]
    assert all((b.pickup, b.run, b.trip) == (None, None, None) for b in quiet)
    assert world.control.get_bead(stopped.id).state is State.OPEN


@pytest.mark.parametrize("wrong", [(0, 10), (10**7, 10), (60, 0), (60, 1000)])
def test_a_window_that_nobody_counts_over_is_invalid(world: World, wrong: tuple[int, int]) -> None:
    with pytest.raises(Invalid):
        world.control.series(*wrong)


def test_a_trip_tells_when_the_broker_had_the_task(world: World) -> None:
    world.project()
    bead = world.bead()
    before = world.control.trip(bead.id)
    assert (before.dispatched_at, before.dispatched_epoch) == (None, 0)
    assert before.owed_at is not None
    world.dispatch()
    sent = world.control.trip(bead.id)
    assert sent.dispatched_epoch == 1
    assert sent.dispatched_at is not None
    assert sent.owed_at is None
    assert world.claim(bead).verdict is ClaimVerdict.GRANTED
    assert world.report(said(bead, INFRA))
    again = world.control.trip(bead.id)
    assert again.available_at is not None
    assert again.owed_at is not None
    assert again.available_at > again.owed_at


def test_a_trip_names_the_beads_that_the_bead_is_linked_with(world: World) -> None:
    world.project()
    first = one(world)
    parent = one(world)
    bead = one(world, blocked_by=(first.id,), parent=parent.id)
    other = one(world, blocked_by=(bead.id,))
    child = one(world, parent=bead.id)
    found = {(r.kind, r.id) for r in world.control.trip(bead.id).relatives}
    assert found == {
        ("blocker", first.id), ("parent", parent.id), ("child", child.id), ("dependent", other.id),
    }  # fmt: skip


def test_there_is_no_trip_of_an_unknown_bead(world: World) -> None:
    with pytest.raises(NotFound):
        world.control.trip("bd-nobody")
