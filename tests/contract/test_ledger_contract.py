"""One suite for the ledger in memory and the real one: gRPC, PgBouncer and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from emptying import empty

from loom.database import migrate
from loom.domain.bead import MAX_BATCH, Bead, NewBead
from loom.domain.evidence import (
    Commit,
    FailureClass,
    Outcome,
    Step,
    TestFailure,
    TestReport,
)
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import Resolution, State
from loom.domain.outbox import Claim, ClaimVerdict, OutboxKind, OutboxRow, ResultVerdict
from loom.domain.project import Project
from loom.domain.reconciliation import Depth, Reconciliation
from loom.errors import Conflict, IdempotencyKeyReused, Invalid, NotFound, Stale, TooLarge
from loom.messaging.deadletter import DeadLetter
from loom.messaging.result import ResultMessage, report
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure
from loom.testing.ledger import FakeLedger

PROVEN = Outcome(
    succeeded=True,
    steps=(Step("test", ("true",), 0, 0.5, "ok"),),
    commits=(Commit("c0ffee", "agent/bead"),),
)
WORK = Outcome(succeeded=False, failure_class=FailureClass.WORK, reason="2 tests failed")
INFRA = Outcome(succeeded=False, failure_class=FailureClass.INFRA, reason="no space left")
PROJECTS = ("alpha", "beta")
AGENT = "agent-alpha@host"


@dataclass
class World:
    """A ledger, as each caller sees it, and its time."""

    control: Any
    dispatcher: Any
    ingester: Any
    engine: Any
    agents: dict[str, Any]
    advance: Callable[[float], None]
    connectors: Any = None

    def project(self, project_id: str = "alpha", **rules: Any) -> Project:
        made = Project(id=project_id, repository="/srv/repo.git", **rules)
        (project,) = self.control.create_project(made, "corr").items
        return project

    def file(self, *titles: str, project: str = "alpha", priority: int = 2) -> list[Bead]:
        beads = [NewBead(title, priority=priority) for title in titles]
        return list(self.control.create_beads(project, beads, "corr").items)

    def bead(self, project: str = "alpha") -> Bead:
        (bead,) = self.file("mend it", project=project)
        return bead

    def claim(self, bead: Bead, epoch: int = 1, **how: Any) -> Claim:
        return self.agents[bead.project_id].claim_bead(bead.id, epoch, AGENT, **how)

    def tasks(self, owner: str = "d", limit: int = 1000) -> list[OutboxRow]:
        rows = self.dispatcher.lease_outbox(owner, limit)
        return [row for row in rows if row.kind is OutboxKind.TASK]

    def dispatch(self, owner: str = "d") -> list[OutboxRow]:
        rows = self.dispatcher.lease_outbox(owner, 1000)
        self.dispatcher.settle_outbox(owner, [row.id for row in rows])
        return [row for row in rows if row.kind is OutboxKind.TASK]

    def report(self, *messages: ResultMessage) -> list[ResultVerdict]:
        answers = self.ingester.record_results([(message, "") for message in messages])
        assert [a.message_id for a in answers] == [m.message_id for m in messages]
        return [answer.verdict for answer in answers]


def said(bead: Bead, outcome: Outcome, epoch: int = 1, **other: Any) -> ResultMessage:
    words: dict[str, Any] = {
        "message_id": new_message_id(), "project_id": bead.project_id, "bead_id": bead.id,
        "agent_id": AGENT, "correlation_id": "corr", "timestamp": datetime.now(UTC),
    }  # fmt: skip
    return report(outcome, epoch=epoch, **(words | other))


def letter(bead: Bead, epoch: int = 1, **other: Any) -> DeadLetter:
    words: dict[str, Any] = {
        "message_id": new_message_id(), "queue": f"loom.tasks.{bead.project_id}",
        "project_id": bead.project_id, "bead_id": bead.id, "epoch": epoch, "reason": "malformed",
        "detail": "not JSON", "correlation_id": "corr", "headers": "{}", "deaths": "[]",
        "body": b"\x00\xff{", "fingerprint": "f",
    }  # fmt: skip
    return DeadLetter(**(words | other))


TABLES = (
    "project, bead, attempt, outbox, inbox, event, dead_letter, idempotency, query_audit, replay, "
    "audit, audit_chain, audit_head, agent, person, session, access_token, log_chunk, attempt_log, "
    "comment, origin, webhook, webhook_delivery"
)
# Time cannot be moved on in a database, but everything in it can be moved back.
MOVE_BACK = """
UPDATE attempt SET lease_until = lease_until - make_interval(secs => %(s)s)
 WHERE outcome = 'running';
UPDATE outbox SET available_at = available_at - make_interval(secs => %(s)s),
                  leased_until = leased_until - make_interval(secs => %(s)s),
                  rank = rank - make_interval(secs => %(s)s);
UPDATE bead SET created_at = created_at - make_interval(secs => %(s)s),
                not_before = not_before - make_interval(secs => %(s)s),
                dispatched_at = dispatched_at - make_interval(secs => %(s)s);
UPDATE attempt SET finished_at = finished_at - make_interval(secs => %(s)s);
UPDATE log_chunk SET recorded_at = recorded_at - make_interval(secs => %(s)s);
UPDATE replay SET advanced_at = advanced_at - make_interval(secs => %(s)s),
                  canary_quiet_since = canary_quiet_since - make_interval(secs => %(s)s);
UPDATE session SET created_at = created_at - make_interval(secs => %(s)s),
                   expires_at = expires_at - make_interval(secs => %(s)s),
                   last_seen_at = last_seen_at - make_interval(secs => %(s)s);
UPDATE access_token SET expires_at = expires_at - make_interval(secs => %(s)s);
UPDATE webhook SET resting_until = resting_until - make_interval(secs => %(s)s);
UPDATE webhook_delivery SET due_at = due_at - make_interval(secs => %(s)s),
                            leased_until = leased_until - make_interval(secs => %(s)s);
UPDATE agent SET started_at = started_at - make_interval(secs => %(s)s),
                 last_seen = last_seen - make_interval(secs => %(s)s),
                 changed_at = changed_at - make_interval(secs => %(s)s),
                 ended_at = ended_at - make_interval(secs => %(s)s);
"""


@pytest.fixture(scope="module")
def real(
    infrastructure: Infrastructure, request: pytest.FixtureRequest
) -> Iterator[tuple[World, Callable[[], None]]]:
    name = request.path.stem  # of the file that imports this
    settings = infrastructure.make_database(name)
    owner = infrastructure.migration_named(name)
    migrate.upgrade(owner)
    with (
        running_database(settings, PROJECTS) as database,
        psycopg.connect(
            host=owner.host, port=owner.port, dbname=owner.name, user=owner.user,
            password=owner.password.get_secret_value(), autocommit=True,
        ) as sql,
    ):  # fmt: skip

        def advance(seconds: float) -> None:
            for statement in MOVE_BACK.split(";")[:-1]:
                sql.execute(statement, {"s": seconds})

        world = World(
            control=database.client("control"),
            dispatcher=database.client("dispatcher"),
            ingester=database.client("ingester"),
            engine=database.client("engine"),
            agents={project: database.client(f"agent-{project}") for project in PROJECTS},
            advance=advance,
            connectors=database.client("connectors"),
        )
        yield world, lambda: empty(sql, TABLES)


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "real":
        made, empty = request.getfixturevalue("real")
        empty()
        return made
    fake = FakeLedger()
    return World(fake, fake, fake, fake, dict.fromkeys(PROJECTS, fake), fake.advance, fake)


# Projects.


def test_a_project_has_its_defaults_filled_in(world: World) -> None:
    project = world.project()
    assert (project.name, project.default_branch) == ("alpha", "main")
    assert project.timeout_s == 900
    assert project.soft_timeout_s == 0
    assert project.queue_window == 32
    assert world.control.get_project("alpha") == project


def test_a_project_keeps_its_time_limits(world: World) -> None:
    limits = {"timeout_s": 60, "soft_timeout_s": 45}
    world.control.create_project(Project("alpha", "/r", **limits), "corr")
    kept = world.control.get_project("alpha")
    assert (kept.timeout_s, kept.soft_timeout_s) == (60, 45)


def test_a_second_project_of_one_id_is_a_conflict_that_names_it(world: World) -> None:
    world.project()
    with pytest.raises(Conflict) as refused:
        world.project()
    assert refused.value.data == {"project_id": "alpha"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "Not A Slug"},
        {"repository": "  "},
        {"timeout_s": 100_000},
        {"timeout_s": 60, "soft_timeout_s": 60},
        {"queue_window": 20_000},
        {"test_command": ("pytest", "\0")},
    ],
)
def test_a_project_that_breaks_a_rule_is_invalid(world: World, wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"id": "alpha", "repository": "/r"} | wrong
    with pytest.raises(Invalid):
        world.control.create_project(Project(**fields), "corr")
    assert world.control.list_projects().items == ()


def test_projects_are_listed_in_pages_in_the_order_of_their_ids(world: World) -> None:
    for project_id in ("c", "a", "b"):
        world.project(project_id)
    first = world.control.list_projects(page_size=2)
    second = world.control.list_projects(page_size=2, cursor=first.next_cursor)
    assert [p.id for p in first.items + second.items] == ["a", "b", "c"]
    assert second.next_cursor == ""


def test_a_project_that_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.control.get_project("nowhere")


# Filing beads.


def test_beads_are_filed_in_order_with_ids_and_what_they_carry(world: World) -> None:
    world.project()
    asked = [
        NewBead("first", description="d", context={"patch": "±", "n": [1, None]}, priority=0),
        NewBead("second", id="my-own.id"),
    ]
    filed = world.control.create_beads("alpha", asked, "corr")
    assert not filed.replayed
    assert [b.title for b in filed.items] == ["first", "second"]
    assert filed.items[0].id.startswith("bd-")
    assert filed.items[1].id == "my-own.id"
    assert filed.items[0].context == {"patch": "±", "n": [1, None]}
    for bead in filed.items:
        assert (bead.state, bead.epoch, bead.version) == (State.OPEN, 0, 1)
        assert world.control.get_bead(bead.id) == bead


def test_every_bead_filed_is_owed_a_task_message_and_an_event(world: World) -> None:
    world.project()
    (bead,) = world.control.create_beads(
        "alpha", [NewBead("one", context={"x": 1})], "corr", "00-trace"
    ).items
    rows = world.dispatcher.lease_outbox("d", 100)
    (task,) = [row for row in rows if row.kind is OutboxKind.TASK]
    assert (task.bead_id, task.epoch, task.attempt) == (bead.id, 1, 1)
    assert (task.type, task.correlation_id, task.traceparent) == (
        "task.assigned", "corr", "00-trace",
    )  # fmt: skip
    assert task.payload == {"title": "one", "description": "", "context": {"x": 1}}
    events = {row.type: row for row in rows if row.kind is OutboxKind.EVENT}
    assert set(events) == {"project.created", "bead.created"}
    assert events["bead.created"].payload["title"] == "one"
    assert events["bead.created"].bead_id == bead.id


def test_beads_of_an_unknown_project_are_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.bead()


def test_an_id_that_is_taken_refuses_the_whole_request_by_name(world: World) -> None:
    world.project()
    world.control.create_beads("alpha", [NewBead("x", id="taken")], "corr")
    with pytest.raises(Conflict) as refused:
        world.control.create_beads("alpha", [NewBead("y"), NewBead("z", id="taken")], "corr")
    assert refused.value.data == {"bead_id": "taken"}
    assert len(world.control.list_beads().items) == 1


def test_an_id_twice_in_one_request_is_a_conflict_that_names_it(world: World) -> None:
    world.project()
    with pytest.raises(Conflict) as refused:
        world.control.create_beads("alpha", [NewBead("a", id="i"), NewBead("b", id="i")], "corr")
    assert refused.value.data == {"bead_id": "i"}
    assert world.control.list_beads().items == ()


@pytest.mark.parametrize(
    "wrong",
    [
        NewBead(""),
        NewBead("x" * 501),
        NewBead("x", id="../etc"),
        NewBead("x", priority=4),
        NewBead("x\0"),
        NewBead("x", context={"k": "\0"}),
        NewBead("x", context={"\0": 1}),
        NewBead("x", context={"n": float("nan")}),
        NewBead("x", context={"half": "\ud800"}),
    ],
)
def test_a_bead_that_breaks_a_rule_is_invalid_and_nothing_is_filed(
    world: World, wrong: NewBead
) -> None:
    world.project()
    with pytest.raises(Invalid):
        world.control.create_beads("alpha", [NewBead("good"), wrong], "corr")
    assert world.control.list_beads().items == ()


def test_a_bead_that_no_message_could_carry_is_too_large(world: World) -> None:
    world.project()
    with pytest.raises(TooLarge):
        world.control.create_beads("alpha", [NewBead("x", context={"p": "x" * 600_000})], "corr")


def test_a_request_files_one_to_a_thousand_beads(world: World) -> None:
    world.project()
    for count in (0, MAX_BATCH + 1):
        with pytest.raises(Invalid):
            world.control.create_beads("alpha", [NewBead("x")] * count, "corr")
    filed = world.control.create_beads("alpha", [NewBead("x")] * MAX_BATCH, "corr")
    assert len({bead.id for bead in filed.items}) == MAX_BATCH


# Idempotency.


def test_a_repeated_request_answers_as_the_first_did(world: World) -> None:
    world.project()
    first = world.control.create_beads("alpha", [NewBead("x")], "c", idempotency=("k", "f"))
    again = world.control.create_beads("alpha", [NewBead("x")], "c", idempotency=("k", "f"))
    assert (first.replayed, again.replayed) == (False, True)
    assert again.items == first.items
    assert len(world.control.list_beads().items) == 1


def test_a_repeated_project_answers_as_the_first_did(world: World) -> None:
    made = Project(id="alpha", repository="/r")
    first = world.control.create_project(made, "c", idempotency=("k", "f"))
    again = world.control.create_project(made, "c", idempotency=("k", "f"))
    assert again.items == first.items
    assert again.replayed


def test_a_key_of_another_request_is_refused(world: World) -> None:
    world.project()
    world.control.create_beads("alpha", [NewBead("x")], "c", idempotency=("k", "f"))
    with pytest.raises(IdempotencyKeyReused):
        world.control.create_beads("alpha", [NewBead("y")], "c", idempotency=("k", "g"))
    assert len(world.control.list_beads().items) == 1


def test_a_refused_request_leaves_its_key_free(world: World) -> None:
    with pytest.raises(NotFound):
        world.control.create_beads("alpha", [NewBead("x")], "c", idempotency=("k", "f"))
    world.project()
    filed = world.control.create_beads("alpha", [NewBead("x")], "c", idempotency=("k", "f"))
    assert not filed.replayed


# Lists.


def test_beads_are_listed_newest_first_and_pages_are_stable_under_new_ones(world: World) -> None:
    world.project()
    beads = world.file("1", "2", "3", "4", "5")
    first = world.control.list_beads("alpha", page_size=2)
    world.file("6", "7")
    second = world.control.list_beads("alpha", page_size=2, cursor=first.next_cursor)
    third = world.control.list_beads("alpha", page_size=2, cursor=second.next_cursor)
    listed = first.items + second.items + third.items
    assert [b.id for b in listed] == [b.id for b in reversed(beads)]
    assert third.next_cursor == ""


def test_beads_are_filtered_by_project_state_and_resolution(world: World) -> None:
    world.project()
    world.project("beta")
    failed, open_ = world.file("a", "b")
    world.file("c", project="beta")
    world.claim(failed)
    world.report(said(failed, WORK))
    of_alpha = world.control.list_beads("alpha").items
    assert {b.id for b in of_alpha} == {failed.id, open_.id}
    assert [b.id for b in world.control.list_beads("alpha", states=["open"]).items] == [open_.id]
    assert [b.id for b in world.control.list_beads(resolution="failed").items] == [failed.id]
    assert len(world.control.list_beads(states=["open", "closed"]).items) == 3


@pytest.mark.parametrize("cursor", ["%%%", "bm90IGpzb24", "WzEsMl0", "WyJ4IiwieSJd", "é"])
def test_a_cursor_that_no_list_gave_is_invalid(world: World, cursor: str) -> None:
    with pytest.raises(Invalid):
        world.control.list_beads(cursor=cursor)


def test_a_page_or_filter_out_of_bounds_is_invalid(world: World) -> None:
    for wrong in ({"page_size": 501}, {"states": ["asleep"]}, {"resolution": "maybe"}):
        with pytest.raises(Invalid):
            world.control.list_beads(**wrong)


# The outbox.


def test_a_leased_row_goes_to_nobody_else_until_its_lease_ends(world: World) -> None:
    world.project()
    world.bead()
    (task,) = world.tasks("one")
    assert world.tasks("two") == []
    world.advance(16)
    assert [row.id for row in world.tasks("two")] == [task.id]
    assert world.dispatcher.settle_outbox("one", [task.id]) == (0, 0)
    assert world.dispatcher.settle_outbox("two", [task.id]) == (1, 0)


def test_a_published_row_is_owed_no_longer(world: World) -> None:
    world.project()
    world.bead()
    assert len(world.dispatch()) == 1
    world.advance(1000)
    assert world.dispatch() == []


def test_an_unsettled_row_is_owed_again_after_a_while(world: World) -> None:
    world.project()
    world.bead()
    (task,) = world.tasks()
    assert world.dispatcher.settle_outbox("d", [], [(task.id, "returned: no queue")]) == (0, 1)
    assert world.tasks() == []
    world.advance(61)
    assert [row.id for row in world.tasks()] == [task.id]


def test_tasks_leave_by_priority_then_age(world: World) -> None:
    world.project()
    late, later = world.file("late", "later", priority=2)
    (urgent,) = world.file("urgent", priority=0)
    assert [row.bead_id for row in world.tasks()] == [urgent.id, late.id, later.id]


def test_projects_take_turns_however_much_one_has_filed(world: World) -> None:
    world.project()
    world.project("beta")
    world.file(*"abcdefgh")
    world.file("x", "y", project="beta")
    tasks = world.tasks(limit=8)
    assert [row.project_id for row in tasks] == ["alpha", "beta", "alpha", "beta"]


def test_tasks_and_events_share_the_limit_and_neither_waits_for_the_other(world: World) -> None:
    world.project()
    world.file(*"abcdef")
    kinds = [row.kind for row in world.dispatcher.lease_outbox("d", 6)]
    assert kinds.count(OutboxKind.TASK) == 3
    assert kinds.count(OutboxKind.EVENT) == 3


def test_no_more_of_a_project_is_on_the_broker_than_its_window(world: World) -> None:
    world.project(queue_window=2)
    beads = world.file("a", "b", "c", "d")
    assert [row.bead_id for row in world.tasks()] == [b.id for b in beads[:2]]
    assert world.tasks() == [], "leased rows are on their way to the broker"


def test_a_claim_makes_room_in_the_window(world: World) -> None:
    world.project(queue_window=2)
    beads = world.file("a", "b", "c", "d")
    assert len(world.dispatch()) == 2
    assert world.dispatch() == [], "what stands in the queue fills the window"
    world.claim(beads[0])
    assert [row.bead_id for row in world.dispatch()] == [beads[2].id]


def test_a_claim_before_its_row_is_settled_does_not_fill_the_window(world: World) -> None:
    world.project(queue_window=1)
    first, second = world.file("a", "b")
    (row,) = world.tasks()
    world.claim(first)
    world.dispatcher.settle_outbox("d", [row.id])
    assert [row.bead_id for row in world.tasks()] == [second.id]


def test_a_lease_needs_an_owner_and_a_limit(world: World) -> None:
    for wrong in (("", 1), ("d", 0)):
        with pytest.raises(Invalid):
            world.dispatcher.lease_outbox(*wrong)


# Claims and leases.


def test_a_claim_opens_an_attempt_under_a_lease(world: World) -> None:
    project = world.project(test_command=("make", "test"))
    bead = world.bead()
    claim = world.claim(bead)
    assert claim.verdict is ClaimVerdict.GRANTED
    assert (claim.epoch, claim.attempt, claim.project) == (1, 1, project)
    assert 29 < claim.lease_s <= 30
    assert claim.bead is not None
    assert claim.bead == world.control.get_bead(bead.id)
    assert (claim.bead.state, claim.bead.epoch) == (State.IN_PROGRESS, 1)
    (attempt,) = world.control.list_attempts(bead.id)
    assert (attempt.agent_id, attempt.outcome, attempt.epoch) == (AGENT, "running", 1)


def test_the_same_claim_again_gets_the_same_grant(world: World) -> None:
    world.project()
    bead = world.bead()
    first = world.claim(bead, request_id="r")
    again = world.claim(bead, request_id="r", redelivered=True)
    assert (again.verdict, again.epoch, again.attempt) == (first.verdict, 1, 1)
    assert len(world.control.list_attempts(bead.id)) == 1


def test_a_claim_of_what_another_holds_is_held(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    assert world.claim(bead) == Claim(ClaimVerdict.HELD)


def test_a_redelivered_message_takes_the_claim_over_under_a_new_epoch(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    claim = world.claim(bead, redelivered=True)
    assert (claim.verdict, claim.epoch, claim.attempt) == (ClaimVerdict.GRANTED, 2, 2)
    outcomes = [a.outcome for a in world.control.list_attempts(bead.id)]
    assert outcomes == ["superseded", "running"]
    assert world.report(said(bead, PROVEN, epoch=1)) == [ResultVerdict.STALE]
    assert world.report(said(bead, PROVEN, epoch=2)) == [ResultVerdict.APPLIED]


def test_a_claim_tells_of_the_attempt_before_it_in_short(world: World) -> None:
    world.project()
    bead = world.bead()
    assert world.claim(bead).previous is None
    failures = tuple(TestFailure(f"t{number}", "x" * 3_000) for number in range(60))
    tests = TestReport("junit", 60, 0, 60, 0, failures)
    steps = (Step("checkout", (), 0, 0.1, "much"), Step("test", ("make",), 2, 1.0, tests=tests))
    failed = replace(INFRA, steps=steps, output="y" * 5_000 + "end")
    assert world.report(said(bead, failed)) == [ResultVerdict.APPLIED]
    world.advance(301)
    again = world.claim(bead, 2)
    told = again.previous
    assert told is not None
    assert (told.epoch, told.outcome, told.failure_class) == (1, "failed", FailureClass.INFRA)
    assert told.reason == INFRA.reason
    assert (len(told.output), told.output[-4:]) == (4_000, "yend")
    (test,) = told.steps
    assert test.tests is not None
    assert [len(each.message) for each in test.tests.failures] == [2_000] * 50
    taken = world.claim(bead, 2, redelivered=True)
    assert taken.previous is not None
    assert (taken.previous.epoch, taken.previous.outcome) == (2, "superseded")


def test_a_takeover_asked_twice_is_granted_once(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    first = world.claim(bead, redelivered=True, request_id="r")
    again = world.claim(bead, redelivered=True, request_id="r")
    assert first.epoch == again.epoch == 2


def test_a_claim_of_an_ended_or_older_epoch_is_stale(world: World) -> None:
    world.project()
    bead = world.bead()
    assert world.claim(bead, epoch=5).verdict is ClaimVerdict.STALE
    world.claim(bead)
    world.claim(bead, redelivered=True)
    assert world.claim(bead, epoch=1, redelivered=True).verdict is ClaimVerdict.STALE
    world.report(said(bead, PROVEN, epoch=2))
    assert world.claim(bead, epoch=3).verdict is ClaimVerdict.STALE


def test_a_claim_of_no_bead_is_unknown(world: World) -> None:
    verdict = world.agents["alpha"].claim_bead("nothing", 1, AGENT).verdict
    assert verdict is ClaimVerdict.UNKNOWN


def test_a_renewed_lease_outlives_its_first_end(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.advance(20)
    assert world.agents["alpha"].renew_lease(bead.id, 1, AGENT) == pytest.approx(30)
    world.advance(20)
    assert world.engine.expire_leases() == (0, 0, 0)
    world.agents["alpha"].renew_lease(bead.id, 1, AGENT)


@pytest.mark.parametrize("reason", ["ended", "other agent", "other epoch", "no bead", "closed"])
def test_a_lease_that_is_not_held_cannot_be_renewed(world: World, reason: str) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    bead_id, epoch, agent = bead.id, 1, AGENT
    if reason == "ended":
        world.advance(31)
    elif reason == "other agent":
        agent = "agent-alpha@elsewhere"
    elif reason == "other epoch":
        epoch = 2
    elif reason == "no bead":
        bead_id = "nothing"
    else:
        world.report(said(bead, PROVEN))
    with pytest.raises(Stale):
        world.agents["alpha"].renew_lease(bead_id, epoch, agent)


# Results.


def test_a_proven_success_closes_the_bead_with_its_evidence(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    assert world.report(said(bead, PROVEN)) == [ResultVerdict.APPLIED]
    closed = world.control.get_bead(bead.id)
    assert (closed.state, closed.resolution) == (State.CLOSED, Resolution.SUCCEEDED)
    assert closed.commits == PROVEN.commits
    assert closed.closed_at is not None
    (attempt,) = world.control.list_attempts(bead.id)
    assert (attempt.outcome, attempt.steps) == ("succeeded", PROVEN.steps)
    assert attempt.finished_at is not None


def test_failed_work_closes_the_bead_as_failed_with_its_reason(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    assert world.report(said(bead, WORK)) == [ResultVerdict.APPLIED]
    closed = world.control.get_bead(bead.id)
    assert (closed.state, closed.resolution) == (State.CLOSED, Resolution.FAILED)
    assert closed.reason == "2 tests failed"
    assert world.control.list_attempts(bead.id)[0].failure_class is FailureClass.WORK


def test_failed_surroundings_owe_another_attempt_until_the_budget_is_spent(world: World) -> None:
    world.project()
    bead = world.bead()
    for epoch in range(1, 6):
        (task,) = world.dispatch()
        assert (task.epoch, task.attempt) == (epoch, epoch)
        world.claim(bead, epoch)
        assert world.report(said(bead, INFRA, epoch)) == [ResultVerdict.APPLIED]
        world.advance(301)
    blocked = world.control.get_bead(bead.id)
    assert blocked.state is State.BLOCKED
    assert "no space left" in blocked.reason
    assert world.dispatch() == []


def test_the_same_result_twice_is_a_duplicate_in_one_batch_or_two(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    message = said(bead, WORK)
    assert world.report(message, message) == [ResultVerdict.APPLIED, ResultVerdict.DUPLICATE]
    assert world.report(message) == [ResultVerdict.DUPLICATE]


def test_a_second_result_of_an_ended_attempt_is_stale_and_changes_nothing(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.report(said(bead, WORK))
    before = world.control.get_bead(bead.id)
    late = said(bead, PROVEN)
    assert world.report(late) == [ResultVerdict.STALE]
    assert world.report(late) == [ResultVerdict.DUPLICATE], "it is kept in the inbox"
    assert world.control.get_bead(bead.id) == before


def test_a_result_of_another_agent_is_stale(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    assert world.report(said(bead, PROVEN, agent_id="agent-alpha@x")) == [ResultVerdict.STALE]
    assert world.control.get_bead(bead.id).state is State.IN_PROGRESS


def test_a_result_that_names_nothing_the_ledger_has_is_unknown(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    unknown = [
        said(bead, PROVEN, bead_id="nothing"),
        said(bead, PROVEN, project_id="beta"),
        said(bead, PROVEN, epoch=7),
    ]
    assert world.report(*unknown) == [ResultVerdict.UNKNOWN] * 3
    assert world.report(*unknown) == [ResultVerdict.UNKNOWN] * 3, "they are judged anew"


def test_a_success_without_proof_is_unproven_and_changes_nothing(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    before = world.control.get_bead(bead.id)
    bare = said(bead, Outcome(succeeded=True))
    assert world.report(bare) == [ResultVerdict.UNPROVEN]
    assert world.report(bare) == [ResultVerdict.UNPROVEN], "it is judged anew"
    assert world.control.get_bead(bead.id) == before


def test_progress_is_told_and_moves_nothing(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    before = world.control.get_bead(bead.id)
    progress = said(bead, Outcome(succeeded=False, output="half way"))
    progress = progress.model_copy(update={"type": "task.progress"})
    assert world.report(progress) == [ResultVerdict.APPLIED]
    assert world.control.get_bead(bead.id) == before
    events = {row.type: row for row in world.dispatcher.lease_outbox("d", 100)}
    assert events["attempt.progress"].payload["output"] == "half way"


def test_results_of_many_beads_are_judged_each_for_itself_in_order(world: World) -> None:
    world.project()
    beads = world.file(*(str(n) for n in range(20)))
    for bead in beads:
        world.claim(bead)
    outcomes = [PROVEN if n % 2 else WORK for n in range(20)]
    messages = [said(b, o) for b, o in zip(beads, outcomes, strict=True)]
    messages.insert(5, said(beads[0], PROVEN, bead_id="nothing"))
    verdicts = world.report(*messages)
    assert verdicts[5] is ResultVerdict.UNKNOWN
    assert verdicts.count(ResultVerdict.APPLIED) == 20
    assert len(world.control.list_beads(resolution="succeeded").items) == 10


def test_every_change_of_state_is_told(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.report(said(bead, INFRA))
    world.claim(bead, 2)
    world.report(said(bead, PROVEN, epoch=2))
    rows = world.dispatcher.lease_outbox("d", 100)
    told = [r.type for r in rows if r.kind is OutboxKind.EVENT and r.bead_id == bead.id]
    assert told == [
        "bead.created", "bead.claimed", "attempt.ended", "bead.retried",
        "bead.claimed", "attempt.ended", "bead.closed",
    ]  # fmt: skip


# Leases that ran out.


def test_an_attempt_whose_lease_ran_out_is_lost_and_another_is_owed(world: World) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    world.claim(bead)
    world.advance(31)
    assert world.engine.expire_leases() == (1, 1, 0)
    assert world.engine.expire_leases() == (0, 0, 0)
    assert world.control.get_bead(bead.id).state is State.OPEN
    assert world.control.list_attempts(bead.id)[0].outcome == "lost"
    world.advance(301)
    (task,) = world.dispatch()
    assert (task.epoch, task.attempt) == (2, 2)
    assert world.report(said(bead, PROVEN, epoch=1)) == [ResultVerdict.STALE]


def test_a_bead_that_loses_every_agent_is_blocked(world: World) -> None:
    world.project()
    bead = world.bead()
    counts = []
    for epoch in range(1, 6):
        assert world.claim(bead, epoch).verdict is ClaimVerdict.GRANTED
        world.advance(31)
        counts.append(world.engine.expire_leases())
    assert counts == [(1, 1, 0)] * 4 + [(1, 0, 1)]
    assert "unblock" in world.control.get_bead(bead.id).reason


def test_leases_that_ran_out_are_ended_up_to_the_limit(world: World) -> None:
    world.project()
    for bead in world.file("a", "b", "c"):
        world.claim(bead)
    world.advance(31)
    assert world.engine.expire_leases(limit=2) == (2, 2, 0)
    assert world.engine.expire_leases(limit=2) == (1, 1, 0)


# Dead letters.


def test_a_dead_letter_is_recorded_once_and_blocks_the_bead_that_waits_for_it(
    world: World,
) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    dead = letter(bead)
    assert world.ingester.record_dead_letters([dead, dead]) == (1, 1)
    assert world.ingester.record_dead_letters([dead]) == (0, 0)
    blocked = world.control.get_bead(bead.id)
    assert blocked.state is State.BLOCKED
    assert "malformed" in blocked.reason
    (kept,) = world.control.list_dead_letters("alpha").items
    assert (kept.body, kept.reason, kept.bead_id) == (b"\x00\xff{", "malformed", bead.id)


@pytest.mark.parametrize(
    "other", [{"epoch": 2}, {"epoch": 0}, {"project_id": "beta"}, {"bead_id": ""}, {"bead_id": "n"}]
)
def test_a_dead_letter_of_anything_else_blocks_nothing(world: World, other: dict[str, Any]) -> None:
    world.project()
    bead = world.bead()
    assert world.ingester.record_dead_letters([letter(bead, **other)]) == (1, 0)
    assert world.control.get_bead(bead.id).state is State.OPEN


@pytest.mark.parametrize("queue", ["loom.tasks.beta", "loom.results"])
def test_what_comes_of_one_project_moves_no_bead_of_another(world: World, queue: str) -> None:
    world.project()
    world.project("beta")
    opened, running = world.bead(), world.bead()
    world.claim(running)
    running = world.control.get_bead(running.id)
    foreign = [letter(bead, project_id="beta", queue=queue) for bead in (opened, running)]
    assert world.ingester.record_dead_letters(foreign) == (2, 0)
    assert world.report(said(running, PROVEN, project_id="beta")) == [ResultVerdict.UNKNOWN]
    assert world.control.get_bead(opened.id) == opened
    assert world.control.get_bead(running.id) == running


def test_a_dead_letter_of_a_claimed_bead_leaves_it_to_its_agent(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    assert world.ingester.record_dead_letters([letter(bead)]) == (1, 0)
    assert world.control.get_bead(bead.id).state is State.IN_PROGRESS


def test_dead_letters_are_listed_newest_first_in_pages(world: World) -> None:
    world.project()
    bead = world.bead()
    for number in range(3):
        world.ingester.record_dead_letters([letter(bead, epoch=0, detail=str(number))])
    first = world.control.list_dead_letters(page_size=2)
    second = world.control.list_dead_letters(page_size=2, cursor=first.next_cursor)
    assert [item.detail for item in first.items + second.items] == ["2", "1", "0"]
    assert world.control.list_dead_letters("beta").items == ()
    assert second.next_cursor == ""


def test_attempts_of_no_bead_are_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.control.list_attempts("nothing")
    with pytest.raises(NotFound):
        world.control.get_bead("nothing")
    world.project()
    assert world.control.list_attempts(world.bead().id) == ()


# Reconciliation.


def reconciled(
    world: World, ready: int, unacked: int | None = 0, *, repair: bool = False, grace_s: float = 0.0
) -> Reconciliation:
    depths = [Depth("loom.tasks.alpha", ready, unacked), Depth("loom.dead.alpha")]
    return world.engine.reconcile(depths, repair=repair, grace_s=grace_s)


def test_a_ledger_and_a_broker_that_agree_have_nothing_unaccounted_for(world: World) -> None:
    world.project()
    world.file("one", "two", "three")
    world.dispatch()
    world.bead()
    done = reconciled(world, ready=3, repair=True)
    (account,) = done.accounts
    assert (account.held.owed, account.held.dispatched, account.held.overdue) == (1, 3, 3)
    assert (done.unaccounted, account.differences, done.mended.reowed) == (0, (), 0)


def test_messages_that_the_broker_lost_are_owed_again_and_claimed_once(world: World) -> None:
    world.project(queue_window=2)
    beads = world.file("one", "two")
    world.dispatch()
    assert world.tasks() == [], "the window is full"
    assert reconciled(world, ready=0).unaccounted == 2
    assert reconciled(world, ready=0, repair=True).mended.reowed == 2
    again = world.dispatch()
    assert sorted((row.bead_id, row.epoch, row.attempt) for row in again) == sorted(
        (bead.id, 1, 1) for bead in beads
    )
    assert reconciled(world, ready=2).unaccounted == 0
    assert world.claim(beads[0]).verdict is ClaimVerdict.GRANTED
    assert world.claim(beads[0]).verdict is ClaimVerdict.HELD


def test_what_is_owed_again_already_is_not_owed_twice(world: World) -> None:
    world.project()
    world.bead()
    world.dispatch()
    assert reconciled(world, ready=0, repair=True).mended.reowed == 1
    second = reconciled(world, ready=0, repair=True)
    assert (second.unaccounted, second.mended.reowed) == (0, 0)
    assert len(world.tasks()) == 1


def test_a_running_attempt_holds_its_message_and_hides_no_lost_one(world: World) -> None:
    world.project()
    first, _ = world.file("one", "two")
    world.dispatch()
    world.claim(first)
    assert reconciled(world, ready=1, unacked=1).unaccounted == 0
    assert reconciled(world, ready=0, unacked=1).unaccounted == 1


def test_a_bead_that_was_dispatched_within_the_grace_is_not_looked_for(world: World) -> None:
    world.project()
    world.bead()
    world.dispatch()
    assert reconciled(world, ready=0, grace_s=3600).unaccounted == 0
    with pytest.raises(Invalid):
        reconciled(world, ready=0, grace_s=-1)


def test_without_counts_of_a_queue_nothing_of_its_project_is_taken_for_lost(world: World) -> None:
    world.project()
    world.bead()
    world.dispatch()
    done = world.engine.reconcile([], repair=True, grace_s=0)
    assert (done.unaccounted, done.mended.reowed) == (0, 0)
    assert done.accounts[0].differences == ("its queue was not read",)


def test_leases_that_nobody_ended_are_ended_by_a_repair(world: World) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    world.claim(bead)
    world.advance(31)
    assert reconciled(world, ready=0, unacked=1, repair=True).mended.expired == 1
    assert world.control.get_bead(bead.id).state is State.OPEN


def test_a_bead_owed_again_is_told_of_in_the_journal(world: World) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    reconciled(world, ready=0, repair=True)
    rows = world.dispatcher.lease_outbox("d", 1000)
    told = [row for row in rows if row.type == "bead.reowed"]
    assert [row.bead_id for row in told] == [bead.id]
    assert "lost" in told[0].payload["reason"]
