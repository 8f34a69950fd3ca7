"""Imports and exports: one suite for the ledger in memory and the real one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_ledger_contract import PROVEN, World, real, said, world

from loom.clients.comments import Subject
from loom.domain.audit import Intervention
from loom.domain.bead import Amendment, Bead, NewBead
from loom.domain.imports.issue import Source
from loom.domain.imports.reading import Line, write
from loom.domain.imports.verdict import Action, Verdict
from loom.domain.lifecycle import Resolution, State
from loom.errors import Invalid, NotFound

__all__ = ["real", "world"]

BY = Intervention("ada", "import from bd", "corr")
AT = "2025-03-01T10:00:00.123456789-08:00"


def issue(id_: str, **fields: Any) -> dict[str, Any]:
    """An issue as bd writes it."""
    words = {
        "id": id_, "title": f"Issue {id_}", "status": "open", "priority": 1, "issue_type": "task",
        "created_at": AT, "updated_at": AT,
    }  # fmt: skip
    return words | fields


def closed(id_: str, **fields: Any) -> dict[str, Any]:
    ended = {"closed_at": "2025-03-02T10:00:00Z", "close_reason": "Fixed in 1.2"}
    return issue(id_, status="closed", **(ended | fields))


def blocked(id_: str, *by: str, kind: str = "blocks", **fields: Any) -> dict[str, Any]:
    links = [
        {
            "issue_id": id_, "depends_on_id": other, "type": kind, "created_at": AT,
            "created_by": "ada",
        }
        for other in by
    ]  # fmt: skip
    return issue(id_, dependencies=links, **fields)


def bring(world: World, *records: dict[str, Any], **how: Any) -> list[Verdict]:
    source = how.pop("source", Source.BD)
    project = how.pop("project", "alpha")
    lines = [Line(at, record) for at, record in enumerate(records, 1)]
    return list(world.control.import_beads(project, source, lines, BY, **how))


def actions(verdicts: list[Verdict]) -> list[str]:
    return [each.action.value for each in verdicts]


def given_back(world: World, source: Source = Source.BD) -> list[dict[str, Any]]:
    page = world.control.list_exports("alpha")
    # Through JSON, as it leaves.
    return [json.loads(json.dumps(write(source, view))) for view in page.items]


def bead(world: World, id_: str) -> Bead:
    found: Bead = world.control.get_bead(id_)
    return found


def test_an_imported_bead_keeps_its_id_words_and_priority_and_is_held(world: World) -> None:
    world.project()
    asked = issue("bd-a1b2", description="Look.", design="So.", priority=4, labels=["ui"])
    (verdict,) = bring(world, asked)
    assert (verdict.action, verdict.bead_id) == (Action.CREATE, "bd-a1b2")
    made = bead(world, "bd-a1b2")
    assert (made.title, made.description, made.priority) == ("Issue bd-a1b2", "Look.", 3)
    assert made.context == {"design": "So."}
    assert made.state is State.BLOCKED
    assert world.tasks() == [], "nothing runs by surprise"
    why = world.control.explain_bead("bd-a1b2")
    assert why.code == "blocked"
    assert "imported from bd, where it is open" in why.reasons[0].sentence
    assert given_back(world) == [asked]


def test_importing_again_changes_nothing(world: World) -> None:
    world.project()
    comment = {"id": 7, "issue_id": "x-1", "author": "bob", "text": "Why?", "created_at": AT}
    records = [issue("x-1", comments=[comment]), blocked("x-2", "x-1"), closed("x-3")]
    assert actions(bring(world, *records)) == ["create"] * 3
    before = [bead(world, id_) for id_ in ("x-1", "x-2", "x-3")]
    assert actions(bring(world, *records)) == ["same"] * 3
    assert actions(bring(world, *given_back(world))) == ["same"] * 3
    assert [bead(world, id_) for id_ in ("x-1", "x-2", "x-3")] == before
    assert len(world.control.list_comments(Subject(bead_id="x-1")).items) == 1


def test_a_dry_run_says_what_would_be_done_and_does_nothing(world: World) -> None:
    world.project()
    (verdict,) = bring(world, issue("x-1"), dry_run=True)
    assert verdict.action is Action.CREATE
    assert world.control.list_beads().items == ()


def test_closed_work_is_recorded_and_proves_nothing(world: World) -> None:
    world.project()
    bring(world, closed("x-1"))
    made = bead(world, "x-1")
    assert (made.state, made.resolution) == (State.CLOSED, Resolution.RECORDED)
    assert made.reason == "imported from bd, where it was closed: Fixed in 1.2"
    assert made.closed_at is not None
    assert made.closed_at.isoformat().startswith("2025-03-02T10:00:00")
    assert made.created_at < made.closed_at
    assert world.control.list_beads(resolution="recorded").items == (made,)


def test_who_waits_for_recorded_work_waits_no_more(world: World) -> None:
    world.project()
    bring(world, closed("x-1"), blocked("x-2", "x-1"), blocked("x-3", "x-2"), run=True)
    assert bead(world, "x-2").blocked_by == ("x-1",)
    assert [row.bead_id for row in world.tasks()] == ["x-2"]
    assert world.control.explain_bead("x-3").code == "waits_for_beads"


def test_only_what_is_ready_there_runs_when_asked_for(world: World) -> None:
    world.project()
    records = [
        issue("x-1"), issue("x-2", status="in_progress", assignee="bob"),
        issue("x-3", status="deferred", defer_until="2031-01-01T00:00:00Z"),
        issue("x-4", issue_type="epic"), issue("x-5", status="waiting-on-legal"),
    ]  # fmt: skip
    bring(world, *records, run=True)
    assert [row.bead_id for row in world.tasks()] == ["x-1"]
    assert "bob has it in progress" in bead(world, "x-2").reason
    assert bead(world, "x-3").not_before is not None
    assert given_back(world) == records
    assert actions(bring(world, *records, run=True)) == ["same"] * 5


def test_what_was_held_is_let_go_by_a_later_run(world: World) -> None:
    world.project()
    bring(world, issue("x-1"))
    (verdict,) = bring(world, issue("x-1"), run=True)
    assert (verdict.action, verdict.changes) == (Action.UPDATE, ("state",))
    assert [row.bead_id for row in world.tasks()] == ["x-1"]


def test_a_held_bead_is_let_go_by_a_person_and_runs(world: World) -> None:
    world.project()
    bring(world, issue("x-1"))
    world.control.unblock_bead("x-1", BY)
    assert [row.bead_id for row in world.tasks()] == ["x-1"]
    world.claim(bead(world, "x-1"))
    world.report(said(bead(world, "x-1"), PROVEN))
    (record,) = given_back(world)
    assert (record["status"], record["close_reason"]) == ("closed", "succeeded")
    assert actions(bring(world, record)) == ["same"]
    assert actions(bring(world, issue("x-1"))) == ["same"], "the old file tells nothing new"


def test_what_the_source_changes_is_taken_over(world: World) -> None:
    world.project()
    bring(world, issue("x-1"), issue("x-2"))
    comment = {"id": 1, "author": "bob", "text": "Soon.", "created_at": AT}
    changed = [
        issue("x-1", title="Other", priority=0, labels=["new"], comments=[comment]),
        blocked("x-2", "x-1"),
    ]
    verdicts = bring(world, *changed)
    assert [set(each.changes) for each in verdicts] == [
        {"title", "priority", "comments"},
        {"links"},
    ]
    assert (bead(world, "x-1").title, bead(world, "x-1").priority) == ("Other", 0)
    assert bead(world, "x-2").blocked_by == ("x-1",)
    assert given_back(world) == changed
    assert actions(bring(world, *changed)) == ["same", "same"]


def test_what_was_closed_there_is_closed_here(world: World) -> None:
    world.project()
    bring(world, issue("x-1"), blocked("x-2", "x-1"), run=True)
    assert [row.bead_id for row in world.tasks()] == ["x-1"]
    bring(world, closed("x-1"), blocked("x-2", "x-1"), run=True)
    assert bead(world, "x-1").resolution is Resolution.RECORDED
    assert "x-2" in [row.bead_id for row in world.tasks("other")]


def test_what_was_closed_there_while_agents_worked_at_it_is_a_conflict(world: World) -> None:
    world.project()
    bring(world, issue("x-1"), run=True)
    world.claim(bead(world, "x-1"))
    (verdict,) = bring(world, closed("x-1"))
    assert verdict.action is Action.CONFLICT
    assert bead(world, "x-1").state is State.IN_PROGRESS


def test_what_was_changed_here_and_there_is_a_conflict_and_stays(world: World) -> None:
    world.project()
    bring(world, issue("x-1"))
    world.control.amend_bead("x-1", Amendment(priority=0))
    (verdict,) = bring(world, issue("x-1", priority=2))
    assert verdict.action is Action.CONFLICT
    assert "priority was changed here and there" in verdict.remarks[0]
    assert bead(world, "x-1").priority == 0
    agreed = issue("x-1", priority=0)
    assert actions(bring(world, agreed) + bring(world, agreed)) == ["update", "same"]


def test_what_was_changed_here_alone_stays_and_is_given_back(world: World) -> None:
    world.project()
    bring(world, issue("x-1", labels=["ui"]), issue("x-2"))
    world.control.amend_bead("x-1", Amendment(priority=0, blocked_by=("x-2",)))
    world.control.add_comment(Subject(bead_id="x-1"), "eve", "Mine.", "corr")
    record = given_back(world)[0]
    assert (record["priority"], record["labels"]) == (0, ["ui"])
    assert [each["depends_on_id"] for each in record["dependencies"]] == ["x-2"]
    assert [each["author"] for each in record["comments"]] == ["eve"]
    assert actions(bring(world, *given_back(world))) == ["same", "same"]
    assert actions(bring(world, issue("x-1", labels=["ui"]))) == ["same"]


def test_what_was_reopened_there_stays_closed_and_is_told(world: World) -> None:
    world.project()
    bring(world, closed("x-1"))
    (verdict,) = bring(world, issue("x-1"))
    assert bead(world, "x-1").state is State.CLOSED
    assert "loom bead refile x-1" in verdict.remarks[0]


def test_a_parent_waits_for_its_children(world: World) -> None:
    world.project()
    bring(world, issue("x-1", issue_type="epic"), blocked("x-1.1", "x-1", kind="parent-child"))
    assert bead(world, "x-1.1").parent == "x-1"
    world.control.unblock_bead("x-1", BY)
    assert world.control.explain_bead("x-1").code == "waits_for_beads"


def test_a_missing_blocker_is_told_kept_and_linked_when_it_comes(world: World) -> None:
    world.project()
    waits = blocked("x-2", "x-9")
    (verdict,) = bring(world, waits, run=True)
    assert "it names x-9, which is neither in the file nor here" in verdict.remarks[0]
    assert (bead(world, "x-2").blocked_by, bead(world, "x-2").state) == ((), State.BLOCKED)
    assert "x-9" in bead(world, "x-2").reason
    assert given_back(world) == [waits]
    assert actions(bring(world, waits)) == ["same"]
    bring(world, issue("x-9"), run=True)
    assert (bead(world, "x-2").blocked_by, bead(world, "x-2").state) == (("x-9",), State.OPEN)
    assert [row.bead_id for row in world.tasks()] == ["x-9"]
    assert actions(bring(world, issue("x-9"), waits)) == ["same", "same"]


def test_a_circle_is_told_and_opened_at_its_last_link(world: World) -> None:
    world.project()
    records = [blocked("x-1", "x-3"), blocked("x-2", "x-1"), blocked("x-3", "x-2")]
    verdicts = bring(world, *records)
    assert [len(each.remarks) for each in verdicts] == [0, 0, 1]
    assert (
        "x-3 -> x-2 -> x-1 -> x-3" in verdicts[2].remarks[0] or "circle" in verdicts[2].remarks[0]
    )
    assert bead(world, "x-3").blocked_by == ()
    assert given_back(world) == records
    assert actions(bring(world, *records)) == ["same"] * 3


def test_a_record_that_breaks_a_rule_does_not_keep_the_others_out(world: World) -> None:
    world.project()
    wrong = [
        issue("x-1", title=""), issue("x-2", priority=9), issue("x-3", title="\0"), {"title": "x"},
        issue("x-4", comments=[{"text": "no moment"}]), issue("x-5"), issue("x-5"),
        issue("x-6", status="tombstone"), issue("x-7", created_at="yesterday"),
    ]  # fmt: skip
    verdicts = bring(world, *wrong)
    assert actions(verdicts) == [
        "invalid", "invalid", "invalid", "invalid", "invalid", "create", "invalid", "skip",
        "invalid",
    ]  # fmt: skip
    assert "line 6 has x-5 already" in verdicts[6].remarks[0]


def test_an_id_that_another_project_has_gets_another_and_is_given_back_as_it_was(
    world: World,
) -> None:
    world.project()
    world.project("beta")
    world.control.create_beads("beta", [NewBead("taken", id="x-1")], "corr")
    records = [issue("x-1"), blocked("x-2", "x-1"), issue("PROJ-42")]
    verdicts = bring(world, *records)
    assert [each.bead_id for each in verdicts] == ["alpha-x-1", "x-2", "alpha-proj-42"]
    assert bead(world, "x-2").blocked_by == ("alpha-x-1",)
    assert given_back(world) == records
    assert actions(bring(world, *given_back(world))) == ["same"] * 3


def test_a_bead_that_was_filed_here_is_known_in_its_own_export(world: World) -> None:
    world.project()
    first, second = world.control.create_beads(
        "alpha", [NewBead("one", id="one", description="d"), NewBead("two", blocked_by=("one",))],
        "corr",
    ).items  # fmt: skip
    world.control.add_comment(Subject(bead_id="one"), "eve", "Mine.", "corr")
    for source in Source:
        records = given_back(world, source)
        assert actions(bring(world, *records, source=source)) == ["same", "same"], source
    (verdict,) = bring(world, issue("one"))
    assert verdict.action is Action.CONFLICT
    assert [bead(world, each.id) for each in (first, second)] == [first, second]


def test_an_imported_comment_belongs_to_nobody_here(world: World) -> None:
    world.project()
    bring(world, issue("x-1", comments=[{"author": "ada", "text": "Then.", "created_at": AT}]))
    (comment,) = world.control.list_comments(Subject(bead_id="x-1")).items
    assert (comment.source, comment.author) == ("bd", "ada")
    assert comment.created_at.isoformat().startswith("2025-03-01T18:00:00.123456")


def test_where_a_bead_came_from_can_be_asked(world: World) -> None:
    world.project()
    bring(world, issue("x-1", labels=["ui"]))
    origin = world.control.get_origin("x-1")
    assert (origin.source, origin.external_id, origin.record["labels"]) == (
        Source.BD, "x-1", ["ui"],
    )  # fmt: skip
    assert world.control.get_origin(world.bead().id) is None
    with pytest.raises(NotFound):
        world.control.get_origin("nowhere")


def test_exports_come_in_pages(world: World) -> None:
    world.project()
    bring(world, *(issue(f"x-{n}") for n in range(5)))
    found, cursor = [], ""
    for _ in range(3):
        page = world.control.list_exports("alpha", 2, cursor)
        found += [view.bead.id for view in page.items]
        cursor = page.next_cursor
    assert (found, cursor) == ([f"x-{n}" for n in range(5)], "")


def test_an_import_needs_a_project_and_some_records(world: World) -> None:
    with pytest.raises(NotFound):
        bring(world, issue("x-1"))
    with pytest.raises(NotFound):
        world.control.list_exports("alpha")
    world.project()
    with pytest.raises(Invalid):
        bring(world)
