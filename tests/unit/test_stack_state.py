"""The state of a service, the drift of a topology, and what the doctor makes of figures."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loom.messaging.topology import CORE, Topology, of_project, permission_of, permission_of_agent
from loom.stack import drift
from loom.stack.doctor import (
    FAIL,
    OK,
    WARN,
    Need,
    judge_disk,
    judge_files,
    judge_secret,
    judge_version,
    version_in,
)
from loom.stack.logbook import Line, last
from loom.stack.observe import state_of, tail, waiting_in
from loom.stack.probe import WELL, Answer
from loom.stack.rabbitmq import as_json, topics_as_json
from loom.stack.supervisor import Process

GIB = 1024**3


def _process(state: str, said: str = "") -> Process:
    return Process("one", state, 1, 0, said)


@pytest.mark.parametrize(
    ("process", "answer", "logged", "state"),
    [
        (_process("RUNNING"), WELL, "", ("running", "")),
        (_process("STARTING"), WELL, "", ("running", "")),
        (_process("RUNNING"), WELL, "postgres", ("running", "")),
        (_process("RUNNING"), Answer("no answer"), "", ("starting", "no answer")),
        (_process("RUNNING"), Answer("no answer"), "postgres", ("waiting", "postgres")),
        (_process("RUNNING"), Answer("database", waits=True), "", ("waiting", "database")),
        (_process("RUNNING"), Answer("x", waits=True), "postgres", ("waiting", "postgres")),
        (_process("RUNNING"), None, "", ("running", "")),
        (_process("STARTING"), None, "", ("starting", "")),
        (_process("RUNNING"), None, "the broker", ("waiting", "the broker")),
        (_process("BACKOFF", "too quickly"), None, "", ("backoff", "too quickly")),
        (_process("STOPPED"), None, "", ("stopped", "")),
        (_process("STOPPING"), WELL, "", ("stopped", "")),
        (_process("FATAL", "gone"), None, "", ("failed", "gone")),
        (_process("EXITED"), None, "", ("failed", "")),
        (replace(_process("EXITED"), exit_code=0), None, "", ("stopped", "")),
    ],
)
def test_the_supervisor_the_port_and_the_log_make_one_state(
    process: Process, answer: Answer | None, logged: str, state: tuple[str, str]
) -> None:
    assert state_of(process, answer, logged) == state


def test_a_service_waits_if_that_is_the_last_it_said() -> None:
    waiting = json.dumps({"event": "waiting", "waiting_for": "postgres"})
    waited = json.dumps({"event": "waited", "waited_for": "postgres"})
    assert waiting_in(f"{waiting}\nnot json\n[1]\n") == "postgres"
    assert waiting_in(f"{waiting}\n{waited}\n") == ""
    assert waiting_in("") == ""


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_text("".join(f"line {number}\n" for number in range(50_000)))
    assert tail(log, 2) == "line 49998\nline 49999"
    assert tail(tmp_path / "none.log", 2) == ""
    assert last({"one": log}, 1) == [Line("one", "line 49999")]


def _wanted() -> Topology:
    project = of_project("alpha")
    return Topology(CORE.exchanges, (*CORE.queues, *project.queues))


def _rows(wanted: Topology) -> tuple[list[Any], list[Any], list[Any]]:
    """The topology as the management API would tell it."""
    exchanges = [
        {"name": e.name, "type": e.kind, "durable": True, "arguments": e.arguments}
        for e in wanted.exchanges
    ]
    queues = [{"name": q.name, "durable": True, "arguments": q.arguments} for q in wanted.queues]
    bindings = [
        {"source": b.exchange, "routing_key": b.key, "destination": q.name}
        for q in wanted.queues
        for b in q.bindings
    ]
    return exchanges, queues, bindings


def test_a_broker_as_the_topology_says_has_no_drift() -> None:
    exchanges, queues, bindings = _rows(_wanted())
    assert drift.of_exchanges(_wanted(), exchanges) == []
    assert drift.of_queues(_wanted(), queues, bindings) == []


def test_each_difference_is_named() -> None:
    exchanges, queues, bindings = _rows(_wanted())
    exchanges[1]["type"] = "fanout"
    gone = exchanges.pop(0)["name"]
    queues[-1]["arguments"] = {"x-queue-type": "classic"}
    lost = queues.pop(0)["name"]
    unbound = bindings.pop()
    assert any(f"{gone} is missing" in fault for fault in drift.of_exchanges(_wanted(), exchanges))
    assert any("fanout" in fault for fault in drift.of_exchanges(_wanted(), exchanges))
    faults = drift.of_queues(_wanted(), queues, bindings)
    assert any(f"{lost} is missing" in fault for fault in faults)
    assert any("classic" in fault for fault in faults)
    assert any(f"{unbound['destination']} is not bound" in fault for fault in faults)


def test_a_stray_user_and_a_changed_right_are_drift() -> None:
    wanted = {"dispatcher": permission_of("dispatcher"), "flower": permission_of("flower")}
    rows: list[dict[str, str]] = [
        {"user": "dispatcher"} | as_json(permission_of("operator")),
        {"user": "stranger"} | as_json(permission_of("operator")),
    ]
    faults = drift.of_permissions(wanted, rows, [])
    assert len(faults) == 3
    assert any("stranger" in fault for fault in faults)
    assert any("flower has no permission" in fault for fault in faults)


def test_an_agent_without_its_limits_by_routing_key_is_drift() -> None:
    may = permission_of_agent("alpha")
    wanted = {"agent-alpha": may}
    rows = [{"user": "agent-alpha"} | as_json(may)]
    limits = [{"user": "agent-alpha"} | topic for topic in topics_as_json(may)]
    assert drift.of_permissions(wanted, rows, limits) == []
    (fault,) = drift.of_permissions(wanted, rows, limits[1:])
    assert limits[0]["exchange"] in fault
    (fault,) = drift.of_permissions(wanted, rows, [limits[0] | {"write": ".*"}, *limits[1:]])
    assert limits[0]["exchange"] in fault


def test_versions_are_read_from_what_programs_say() -> None:
    assert version_in("postgres (PostgreSQL) 15.18 (Debian 15.18-0)") == (15, 18)
    assert version_in("PgBouncer 1.18.0\nlibevent 2.1.12") == (1, 18, 0)
    assert version_in("none") == ()


@pytest.mark.parametrize(("told", "verdict"), [("3.9.1", FAIL), ("3.10.0", OK), ("4.1.0", OK)])
def test_a_version_too_old_fails(told: str, verdict: str) -> None:
    need = Need("rabbitmq", Path("/x"), "", (3, 10), "rabbitmq-server")
    finding = judge_version(need, told)
    assert finding.verdict == verdict
    assert bool(finding.cure) == (verdict == FAIL)


@pytest.mark.parametrize(
    ("free", "verdict"), [(3 * GIB, OK), (1 * GIB, WARN), (100 * 1024**2, FAIL)]
)
def test_a_full_disk_is_told_before_the_broker_stops(free: int, verdict: str) -> None:
    assert judge_disk(free, Path("/x")).verdict == verdict


@pytest.mark.parametrize(
    ("files", "verdict"),
    [(65_536, OK), (resource.RLIM_INFINITY, OK), (1_024, WARN), (256, FAIL)],
)
def test_too_few_open_files_are_told(files: int, verdict: str) -> None:
    assert judge_files(files).verdict == verdict


def test_a_secret_that_others_can_read_fails() -> None:
    assert judge_secret(Path("/x"), 0o100600) is None
    finding = judge_secret(Path("/x"), 0o100644)
    assert finding
    assert finding.verdict == FAIL
    assert "chmod 600" in finding.cure
