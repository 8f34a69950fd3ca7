"""Agents that say what they do and do what people want of them: a real worker and its ledger."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from agent_stand import PATIENCE_S, Gate, Stand, stand_up
from celery import Celery
from looking import until

from loom.database.migrate import upgrade
from loom.domain.audit import Intervention
from loom.domain.presence import LOST_AFTER_S, Agent, AgentState, AgentWish
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure
from loom.testing.relay import Relay

NAME = "agent-demo@here"
BY = Intervention("ada", "the disk is changed")
ALIVE, BUSY, DRAINING = AgentState.ALIVE, AgentState.BUSY, AgentState.DRAINING
# What the agents of this file start with: nothing waits for long, and commands reach the gates.
QUICK = {
    "LOOM_AGENT_NAME": NAME, "LOOM_AGENT_REPORT_EVERY_S": "0.2", "LOOM_AGENT_SANDBOX": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own."""
    settings = infrastructure.make_database("workers_presence")
    upgrade(infrastructure.migration_named("workers_presence"))
    folder = tmp_path_factory.mktemp("workers")
    with running_database(settings, projects=("demo",)) as database:
        made = stand_up(infrastructure, "workers-presence", database, folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def control(stand: Stand) -> Iterator[Callable[..., dict[str, Any]]]:
    """A word of `celery control` to the agent, and its answer."""
    app = Celery("operator", broker=stand.broker.url, set_as_current=False)
    app.conf.update(
        control_queue_durable=True, control_queue_exclusive=False, control_queue_expires=60.0,
        control_queue_ttl=300.0,
    )  # fmt: skip

    def say(word: str, **arguments: Any) -> dict[str, Any]:
        replies = app.control.broadcast(
            word, arguments=arguments, destination=[NAME], reply=True, timeout=PATIENCE_S, limit=1
        )
        answer: dict[str, Any] = replies[0][NAME]
        return answer

    yield say
    app.close()


def wait_until(stand: Stand, holds: Callable[[Agent], bool]) -> Agent:
    """The agent once that holds of it; asks the ledger again and again."""
    give_up = time.monotonic() + PATIENCE_S

    def look() -> Agent | None:
        found = stand.control.list_agents("demo").items
        assert time.monotonic() < give_up, f"it never came to that: {found}"
        return found[0] if found and holds(found[0]) else None

    return until(look)


def age(infrastructure: Infrastructure, seconds: float) -> None:
    """Let the ledger's agents be silent for so much longer."""
    owner = infrastructure.migration_named("workers_presence")
    with psycopg.connect(
        host=owner.host, port=owner.port, dbname=owner.name, user=owner.user,
        password=owner.password.get_secret_value(),
    ) as sql:  # fmt: skip
        back = "UPDATE agent SET last_seen = last_seen - make_interval(secs => %s)"
        sql.execute(back, (seconds,))


def wants(stand: Stand, wish: AgentWish) -> None:
    stand.control.steer_agent(NAME, wish, BY)


def test_an_agent_registers_works_drains_and_goes_on_without_losing_a_message(
    stand: Stand, control: Callable[..., dict[str, Any]]
) -> None:
    first, second = Gate(stand.folder, "drain-1"), Gate(stand.folder, "drain-2")
    with stand.agent(**QUICK) as agent:
        agent.wait_for("agent_ready")
        # Its tools come with a later registration, its disk with the first report after that.
        found = wait_until(stand, lambda a: "make" in a.tools and a.disk_free > 0)
        assert found.versions.keys() >= {"loom", "celery", "python", "git"}
        assert (found.state, found.concurrency) == (ALIVE, 1)
        assert found.pid == agent.process.pid

        running = stand.file(context=first.context)
        first.wait_for_start()
        busy = wait_until(stand, lambda a: a.state is BUSY)
        assert [(bead.bead_id, bead.epoch) for bead in busy.running] == [(running.id, 1)]

        wants(stand, AgentWish.DRAIN)
        agent.wait_for("wish_heard", wish="drain", running=1)
        waiting = stand.file(context=second.context)
        why = stand.control.explain_bead(waiting.id)
        assert why.code == "agents_draining"
        first.open()
        assert stand.result(running.id).type == "task.completed"
        drained = wait_until(stand, lambda a: not a.running)
        assert (drained.state, drained.consuming) == (DRAINING, False)
        assert stand.control.list_attempts(waiting.id) == ()

        wants(stand, AgentWish.WORK)
        second.wait_for_start()
        second.open()
        assert stand.result(waiting.id).type == "task.completed"

        # Celery's own words for the same.
        assert "ok" in control("cancel_consumer", queue="loom.tasks.demo")
        assert "error" in control("cancel_consumer", queue="loom.tasks.other")
        wait_until(stand, lambda a: a.state is DRAINING and a.wish is AgentWish.DRAIN)
        assert "ok" in control("add_consumer", queue="loom.tasks.demo")
        wait_until(stand, lambda a: a.state is ALIVE)

        # Asked to stop, it ends when nothing runs, and the ledger knows.
        wants(stand, AgentWish.STOP)
        assert agent.process.wait(PATIENCE_S) == 0
    stopped = stand.control.get_agent(NAME)
    assert (stopped.state, stopped.wish) == (AgentState.STOPPED, AgentWish.WORK)


def test_two_beads_at_once_and_what_celery_says_to_the_pool(
    stand: Stand, control: Callable[..., dict[str, Any]]
) -> None:
    gates = [Gate(stand.folder, f"pool-{number}") for number in range(3)]
    with stand.agent(**QUICK, LOOM_AGENT_CONCURRENCY="2") as agent:
        beads = [stand.file(context=gate.context) for gate in gates]
        for gate in gates[:2]:
            gate.wait_for_start()
        busy = wait_until(stand, lambda a: len(a.running) == 2)
        assert busy.concurrency == 2
        folders = {line["bead_id"] for line in agent.logged("claimed")}
        assert folders == {bead.id for bead in beads[:2]}
        assert stand.control.explain_bead(beads[2].id).code == "agents_busy"

        assert "ok" in control("pool_grow", n=1)
        gates[2].wait_for_start()
        wait_until(stand, lambda a: a.concurrency == 3 and len(a.running) == 3)
        assert "error" in control("pool_shrink", n=1), "all of it is busy"
        for gate, bead in zip(gates, beads, strict=True):
            gate.open()
            assert stand.result(bead.id).type == "task.completed"
        wait_until(stand, lambda a: not a.running)
        assert "ok" in control("pool_shrink", n=2)
        assert "error" in control("pool_shrink", n=1), "one has to stay"
        wait_until(stand, lambda a: a.concurrency == 1)

        limited = control("rate_limit", task_name="loom.bead", rate_limit="1/m")
        assert "max-in-progress" in limited["error"]
        assert "loom bead cancel" in control("revoke", task_id=beads[0].id)["error"]
        assert "error" in control("time_limit", task_name="loom.bead", soft=5, hard=2)
        assert "ok" in control("time_limit", task_name="loom.bead", soft=None, hard=1)
        endless = stand.file(context={"test_command": ["sleep", "600"]})
        assert stand.result(endless.id).reason.endswith("1 s")

        # Its shutdown lets what runs end.
        last = Gate(stand.folder, "pool-last")
        bead = stand.file(context=last.context | {"timeout_s": 300})
        last.wait_for_start()
        assert "ok" in control("shutdown")
        wait_until(stand, lambda a: a.state is DRAINING)
        last.open()
        assert stand.result(bead.id).type == "task.completed"
        assert agent.process.wait(PATIENCE_S) == 0
    assert stand.control.get_agent(NAME).state is AgentState.STOPPED


def test_a_drained_agent_takes_nothing_when_it_is_started_again_and_a_killed_one_is_lost(
    stand: Stand, infrastructure: Infrastructure
) -> None:
    with stand.agent(**QUICK) as agent:
        agent.wait_for("agent_ready")
        wants(stand, AgentWish.DRAIN)
        agent.wait_for("wish_heard", wish="drain")
        agent.end(signal.SIGKILL)
    bead = stand.file(context={"test_command": ["true"]})
    with stand.agent(**QUICK) as agent:
        pid = agent.process.pid
        agent.wait_for("agent_ready")
        wait_until(stand, lambda a: a.pid == pid and not a.consuming)
        assert not agent.logged("claimed")
        wants(stand, AgentWish.WORK)
        assert stand.result(bead.id).type == "task.completed"
        agent.end(signal.SIGKILL)
    age(infrastructure, LOST_AFTER_S)
    wait_until(stand, lambda a: a.state is AgentState.LOST)


def test_an_agent_works_on_without_a_ledger_to_report_to(stand: Stand) -> None:
    host, _, port = stand.database.target.rpartition(":")
    gate = Gate(stand.folder, "away")
    with (
        Relay(int(port)) as relay,
        stand.agent(**QUICK, LOOM_LEDGER_TARGET=f"{host}:{relay.port}") as agent,
    ):
        bead = stand.file(context=gate.context)
        gate.wait_for_start()
        relay.cut(refuse=True)
        agent.wait_for("presence_not_told")
        gate.open()
        relay.accept()
        assert stand.result(bead.id).type == "task.completed"
        agent.wait_for("presence_told_again")
        wait_until(stand, lambda a: a.state is ALIVE)
        assert agent.end() == 143
    assert stand.control.get_agent(NAME).state is AgentState.STOPPED
