"""What befalls an agent: killed, stopped, cut off or robbed of its lease."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from agent_stand import MEND, PATIENCE_S, Gate, Stand, git, stand_up
from marathon import Marathon

from loom.broker.declare import declare
from loom.database.migrate import upgrade
from loom.domain.lifecycle import Resolution, State
from loom.messaging.topology import CORE, of_project
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure
from loom.testing.relay import Relay

LEASE_S = 5.0


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own."""
    settings = infrastructure.make_database("workers_troubles")
    upgrade(infrastructure.migration_named("workers_troubles"))
    short = settings.model_copy(update={"lease_s": LEASE_S})
    folder = tmp_path_factory.mktemp("workers")
    with running_database(short, projects=("demo",)) as database:
        made = stand_up(infrastructure, "workers-troubles", database, folder)
        yield made
        made.close()


@pytest.fixture
def marathon(stand: Stand, request: pytest.FixtureRequest) -> Iterator[Marathon]:
    """A command of this test's own."""
    with Marathon(stand.folder, request.node.name) as made:
        yield made


def test_a_bead_whose_pool_process_is_killed_is_done_again(
    stand: Stand, marathon: Marathon
) -> None:
    with stand.agent() as agent:
        bead = stand.file(context=marathon.context | {"patch": MEND})
        marathon.wait_for_start()
        [child] = agent.pool()
        os.kill(child, signal.SIGKILL)
        assert stand.result(bead.id).type == "task.completed"
        marathon.wait_for_end()
    outcomes = [attempt.outcome for attempt in stand.control.list_attempts(bead.id)]
    assert outcomes == ["superseded", "succeeded"]
    assert git("log", "--format=%s", f"main..agent/{bead.id}", cwd=stand.repository)


def test_what_was_pushed_and_not_reported_is_proven_by_the_next_attempt(stand: Stand) -> None:
    with stand.agent(LOOM_DRILL_SCRATCH="1", LOOM_DRILL_FAILPOINTS="agent.worked=kill@1") as agent:
        bead = stand.file(context={"patch": MEND})
        agent.wait_for("failpoint_reached", bead_id=bead.id)
        pushed = git("rev-parse", f"agent/{bead.id}", cwd=stand.repository)
        assert stand.result(bead.id).type == "task.completed"
    assert outcomes(stand, bead.id) == ["superseded", "succeeded"]
    found = stand.control.get_bead(bead.id)
    assert (found.state, found.resolution) == (State.CLOSED, Resolution.SUCCEEDED)
    assert [commit.sha for commit in found.commits] == [pushed]


def test_an_agent_that_is_killed_leaves_its_bead_to_the_next(
    stand: Stand, marathon: Marathon
) -> None:
    with stand.agent() as first:
        bead = stand.file(context=marathon.context)
        marathon.wait_for_start()
        first.end(signal.SIGKILL)
    with stand.agent():
        assert stand.result(bead.id).type == "task.completed"
        marathon.wait_for_end()


def test_an_idle_agent_stops_when_it_is_asked_to(stand: Stand) -> None:
    with stand.agent() as agent:
        agent.wait_for("agent_ready")
        assert agent.end() == 143


def test_an_agent_that_is_asked_to_stop_finishes_its_bead(stand: Stand) -> None:
    told, go = stand.folder / "told", stand.folder / "go"
    os.mkfifo(told)
    os.mkfifo(go)
    script = f"echo started >{told}; read word <{go}"
    with stand.agent(LOOM_AGENT_STOP_AFTER_S="60") as agent:
        bead = stand.file(context={"test_command": ["sh", "-c", script]})
        told.read_text()
        agent.process.send_signal(signal.SIGTERM)
        agent.wait_for("stop_asked")
        go.write_text("go\n")
        assert stand.result(bead.id).type == "task.completed"
        assert agent.process.wait(PATIENCE_S) == 143


def test_a_bead_that_outlasts_the_stop_goes_back_and_is_done_by_the_next_agent(
    stand: Stand, marathon: Marathon
) -> None:
    with stand.agent(LOOM_AGENT_STOP_AFTER_S="0.2") as agent:
        bead = stand.file(context=marathon.context)
        marathon.wait_for_start()
        agent.process.send_signal(signal.SIGTERM)
        marathon.wait_for_end()
        agent.process.wait(PATIENCE_S)
        assert not list((stand.folder / "workspaces").iterdir())
    with stand.agent():
        message = stand.result(bead.id)
        assert (message.type, message.epoch) == ("task.completed", 2)


def test_an_attempt_that_lost_its_lease_kills_its_command_and_reports_nothing(
    stand: Stand, marathon: Marathon
) -> None:
    with stand.agent() as agent:
        bead = stand.file(context=marathon.context)
        marathon.wait_for_start()
        elsewhere = stand.database.client("agent-demo")
        elsewhere.claim_bead(bead.id, 1, "agent-demo@elsewhere", redelivered=True)
        marathon.wait_for_end()
        agent.wait_for("attempt_abandoned", bead_id=bead.id)
        after = stand.file(context={"test_command": ["true"]})
        assert stand.result(after.id).type == "task.completed"
        assert [line["bead_id"] for line in agent.logged("attempt_reported")] in ([], [after.id])


def test_a_lease_is_renewed_for_as_long_as_a_command_runs(stand: Stand) -> None:
    with stand.agent() as agent:
        bead = stand.file(context={"test_command": ["sleep", str(LEASE_S * 1.5)]})
        assert stand.result(bead.id).type == "task.completed"
        assert not agent.logged("lease_lost")


@pytest.fixture
def gate(stand: Stand, request: pytest.FixtureRequest) -> Gate:
    """A command of this test's own."""
    return Gate(stand.folder, request.node.name)


def outcomes(stand: Stand, bead_id: str) -> list[str]:
    """How each attempt at the bead ended."""
    return [attempt.outcome for attempt in stand.control.list_attempts(bead_id)]


def test_work_goes_on_while_the_broker_is_cut_off_and_is_done_once(
    stand: Stand, gate: Gate
) -> None:
    with (
        Relay(stand.broker.port) as relay,
        stand.agent(LOOM_BROKER_PORT=str(relay.port)) as agent,
    ):
        bead = stand.file(context=gate.context)
        gate.wait_for_start()
        relay.cut()
        agent.wait_for("running_bead_delivered_again", bead_id=bead.id)
        gate.open()
        assert stand.result(bead.id).type == "task.completed"
        assert outcomes(stand, bead.id) == ["succeeded"]
        after = stand.file(context={"test_command": ["true"]})
        assert stand.result(after.id).type == "task.completed"


def test_an_agent_outlives_a_broker_that_is_away(stand: Stand, gate: Gate) -> None:
    with (
        Relay(stand.broker.port) as relay,
        stand.agent(LOOM_BROKER_PORT=str(relay.port)) as agent,
    ):
        bead = stand.file(context=gate.context)
        gate.wait_for_start()
        working = agent.pool()
        relay.cut(refuse=True)
        # Not only once: it tries again and again, and its processes work on.
        for _try in range(2):
            agent.wait_for_words("Cannot connect to")
        assert agent.pool() == working
        relay.accept()
        gate.open()
        assert stand.result(bead.id).type == "task.completed"
        assert agent.process.poll() is None
    assert outcomes(stand, bead.id) == ["succeeded"]


def test_an_agent_goes_on_at_another_node_of_the_broker(stand: Stand) -> None:
    with Relay(stand.broker.port) as one, Relay(stand.broker.port) as other:
        nodes = ",".join(f"{stand.broker.host}:{relay.port}" for relay in (one, other))
        with stand.agent(LOOM_BROKER_HOSTS=nodes) as agent:
            for gone in (one, other):
                bead = stand.file(context={"test_command": ["true"]})
                assert stand.result(bead.id).type == "task.completed"
                gone.cut(refuse=True)
                after = stand.file(context={"test_command": ["true"]})
                assert stand.result(after.id).type == "task.completed"
                gone.accept()
            assert agent.process.poll() is None


def test_a_result_waits_on_disk_for_a_broker_that_is_away(stand: Stand, gate: Gate) -> None:
    with Relay(stand.broker.port) as relay:
        with stand.agent(LOOM_BROKER_PORT=str(relay.port)) as agent:
            bead = stand.file(context=gate.context | {"patch": MEND})
            gate.wait_for_start()
            relay.cut(refuse=True)
            gate.open()
            agent.wait_for("result_spooled")
            agent.end(signal.SIGKILL)
        [spooled] = (stand.folder / "home" / "spool").iterdir()
        assert spooled.name == f"{bead.id}@1.result"
    with stand.agent():
        assert stand.result(bead.id).epoch == 1
    assert outcomes(stand, bead.id) == ["succeeded"]
    assert stand.control.get_bead(bead.id).commits
    assert not list((stand.folder / "home" / "spool").iterdir())


def test_the_message_of_a_long_bead_is_let_go_and_the_next_waits_for_its_end(
    stand: Stand, gate: Gate
) -> None:
    with stand.agent(LOOM_AGENT_HOLD_S="0") as agent:
        bead = stand.file(context=gate.context)
        gate.wait_for_start()
        agent.wait_for("message_let_go", bead_id=bead.id)
        after = stand.file(context={"test_command": ["true"]})
        with stand.agent(
            LOOM_AGENT_NAME="agent-demo@other", LOOM_AGENT_WORKSPACE=str(stand.folder / "other")
        ) as other:
            # The busy agent keeps nothing back from an idle one.
            other.wait_for("attempt_reported", bead_id=after.id)
        gate.open()
        assert stand.result(bead.id).type == "task.completed"
        last = stand.file(context={"test_command": ["true"]})
        agent.wait_for("attempt_reported", bead_id=last.id)
        assert stand.result(last.id).type == "task.completed"
    assert outcomes(stand, bead.id) == ["succeeded"]


def test_a_long_bead_whose_agent_dies_is_run_again_by_its_lease(
    stand: Stand, marathon: Marathon
) -> None:
    with stand.agent(LOOM_AGENT_HOLD_S="0") as agent:
        bead = stand.file(context=marathon.context)
        marathon.wait_for_start()
        agent.wait_for("message_let_go", bead_id=bead.id)
        agent.end(signal.SIGKILL)
    with stand.engine(), stand.agent():
        assert stand.result(bead.id).type == "task.completed"
        marathon.wait_for_end()
    # Killed before the broker had the acknowledgement, its message comes again and takes it over.
    assert outcomes(stand, bead.id) in (["lost", "succeeded"], ["superseded", "succeeded"])


def test_a_bead_that_is_cancelled_is_ended_with_all_its_processes(
    stand: Stand, marathon: Marathon
) -> None:
    with stand.agent() as agent:
        bead = stand.file(context=marathon.context)
        marathon.wait_for_start()
        stand.cancel(bead.id)
        marathon.wait_for_end()
        agent.wait_for("attempt_abandoned", bead_id=bead.id)
    found = stand.control.get_bead(bead.id)
    assert (found.state, found.resolution) == (State.CLOSED, Resolution.CANCELLED)
    assert outcomes(stand, bead.id) == ["cancelled"]


def test_an_agent_that_stood_still_past_its_lease_changes_nothing(
    stand: Stand, marathon: Marathon
) -> None:
    with stand.agent() as agent, stand.engine():
        bead = stand.file(context=marathon.context | {"patch": MEND})
        marathon.wait_for_start()
        frozen = [agent.process.pid, *agent.pool()]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        stand.wait_for_loss(bead.id)
        with stand.agent(
            LOOM_AGENT_NAME="agent-demo@other", LOOM_AGENT_WORKSPACE=str(stand.folder / "other")
        ):
            message = stand.result(bead.id)
            assert (message.type, message.epoch) == ("task.completed", 2)
        tip = git("rev-parse", f"agent/{bead.id}", cwd=stand.repository)
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        agent.wait_for("attempt_abandoned", bead_id=bead.id)
        marathon.wait_for_end()
        assert not agent.logged("attempt_reported", bead_id=bead.id)
    assert git("rev-parse", f"agent/{bead.id}", cwd=stand.repository) == tip
    assert outcomes(stand, bead.id) == ["lost", "succeeded"]


def test_an_agent_waits_for_a_broker_that_is_away(stand: Stand) -> None:
    with Relay(stand.broker.port) as relay:
        relay.cut(refuse=True)
        with stand.agent(LOOM_BROKER_PORT=str(relay.port)) as agent:
            line = agent.wait_for("waiting")
            assert line["waiting_for"] == "the queue loom.tasks.demo"
            relay.accept()
            agent.wait_for("agent_ready")


def test_an_agent_waits_for_a_queue_that_is_not_there_yet(stand: Stand) -> None:
    with stand.agent(LOOM_AGENT_PROJECT="unborn") as agent:
        line = agent.wait_for("waiting", waiting_for="the queue loom.tasks.unborn")
        assert "loom.tasks.unborn" in line["why"]
        assert agent.end() == 143


def test_a_claim_waits_for_a_ledger_that_is_away(stand: Stand) -> None:
    host, _, port = stand.database.target.rpartition(":")
    with Relay(int(port)) as relay:
        relay.cut(refuse=True)
        with stand.agent(LOOM_LEDGER_TARGET=f"{host}:{relay.port}") as agent:
            bead = stand.file(context={"test_command": ["true"]})
            # It may be another bead's claim that waits: one that a test before left behind.
            agent.wait_for("waiting", waiting_for="the ledger")
            relay.accept()
            assert stand.result(bead.id).type == "task.completed"


def test_a_task_goes_back_to_its_queue_when_the_ledger_stays_away(stand: Stand) -> None:
    with stand.agent(LOOM_LEDGER_TARGET="127.0.0.1:9", LOOM_AGENT_CLAIM_PATIENCE_S="0") as agent:
        bead = stand.file(context={"test_command": ["true"]})
        agent.wait_for("task_put_back", bead_id=bead.id)
    with stand.agent():
        assert stand.result(bead.id).type == "task.completed"


@pytest.mark.parametrize("after_s", [0.0, 1.0])
def test_an_agent_comes_back_to_a_queue_that_was_deleted(stand: Stand, after_s: float) -> None:
    where = f"/api/queues/{stand.broker.vhost}/loom.tasks.demo"
    with stand.agent() as agent, stand.infrastructure.management() as api:
        # In its first moment, in which Celery overlooks that its consumer is ended, and later.
        agent.wait_for("agent_ready")
        threading.Event().wait(after_s)
        api.delete(where).raise_for_status()
        agent.wait_for_words("no queue 'loom.tasks.demo'")
        assert not declare(stand.broker, "stand", [CORE, of_project("demo")])
        bead = stand.file(context={"test_command": ["true"]})
        assert stand.result(bead.id).type == "task.completed"
        assert agent.process.poll() is None
