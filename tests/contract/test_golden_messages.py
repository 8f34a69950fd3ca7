"""Every message on the wire, held to the letter: what is written, and what is read.

A golden file changes only with the version of the message, as other programs read these too.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loom.domain.evidence import (
    Artifact,
    Commit,
    FailureClass,
    Finding,
    Outcome,
    Step,
    StepKind,
    SubBead,
    TestFailure,
    TestReport,
)
from loom.domain.log import LineKind, LogChunk, LogLine
from loom.messaging import deadletter, event, log, result, task
from loom.messaging.envelope import Delivery, Envelope
from loom.messaging.topology import RESULTS_QUEUE, task_key

GOLDEN = Path(__file__).parent / "golden"
AT = datetime(2026, 11, 22, 9, 30, 15, 250_000, tzinfo=UTC)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def a_task(kind, **data):
    return task.Task(
        message=task.TaskMessage(
            type=kind,
            project_id="calculator",
            bead_id="bd-1",
            assigned_to="agents of calculator",
            task_data=task.TaskData(**data),
            correlation_id="corr-1",
            timestamp=AT,
        ),
        message_id="msg-1",
        epoch=3,
        attempt=2,
        traceparent=TRACEPARENT,
    )


ASSIGNED = a_task(
    "task.assigned",
    title="Mend the división",
    description="It divides by zero.",
    context={"patch": "--- a/x\n+++ b/x\n", "test_command": ["pytest", "-q"], "timeout_s": 60},
)
CANCELLED = a_task("task.cancelled", title="Mend the división")


def a_report(outcome):
    return result.report(
        outcome,
        message_id="msg-2",
        project_id="calculator",
        bead_id="bd-1",
        agent_id="agent-calculator@host",
        epoch=3,
        correlation_id="corr-1",
        timestamp=AT,
    )


COMPLETED = a_report(
    Outcome(
        succeeded=True,
        steps=(
            Step(
                "ruff",
                ("ruff", "check"),
                1,
                0.25,
                kind=StepKind.LINT,
                advisory=True,
                findings=(Finding("ruff", "calculator.py", 3, "F401", "unused import"),),
            ),
            Step(
                "test",
                ("pytest", "-q"),
                0,
                1.25,
                "1 passed",
                tests=TestReport("pytest", total=2, passed=1, failed=0, skipped=1),
                log=Artifact("log/test.txt", "b" * 64, 9, "text/plain"),
            ),
            Step("push", ("git", "push"), 0, 0.5),
        ),
        commits=(Commit("a" * 40, "agent/bd-1"),),
        output="1 passed",
        artifacts=(Artifact("report.xml", "c" * 64, 812, "application/xml"),),
        planned=("ruff", "test"),
        notes="The import can go.",
        sub_beads=(SubBead("Take the import away", context={"found_in": "calculator.py"}),),
    )
)
FAILED = a_report(
    Outcome(
        succeeded=False,
        steps=(
            Step(
                "test",
                ("pytest", "-q"),
                None,
                60.0,
                "…",
                tests=TestReport(
                    "junit", 1, 0, 1, 0, (TestFailure("t.test_sum", "assert 3 == 4"),)
                ),
            ),
        ),
        failure_class=FailureClass.TIMEOUT,
        reason="pytest ran into its limit of 60 s",
    )
)
PROGRESS = COMPLETED.model_copy(
    update={"type": "task.progress", "result": result.ResultPart(status="test"), "evidence": []}
)
CLOSED = event.EventMessage(
    type="bead.closed",
    project_id="calculator",
    bead_id="bd-1",
    data={"resolution": "succeeded"},
    correlation_id="corr-1",
    timestamp=AT,
)
PROJECT = event.EventMessage(
    type="project.created", project_id="calculator", correlation_id="corr-1", timestamp=AT
)
UNREADABLE = Delivery(
    tag=7,
    queue=RESULTS_QUEUE,
    exchange="loom.results",
    routing_key="loom.results.calculator",
    body=b'{"type": "task.unheard_of"}',
    headers={"version": 1, "CC": ["loom.dead.other"]},
    message_id="msg-3",
    correlation_id="corr-1",
)

LINES = LogChunk(
    project_id="calculator",
    bead_id="bd-1",
    epoch=3,
    seq=2,
    first=41,
    lines=(
        LogLine(AT, "pytest -q", "test", LineKind.BEGIN),
        LogLine(AT, "..", "test", more=True),
        LogLine(AT, ". división", "test"),
        LogLine(AT, "… 7 lines left out here: the broker took no more", kind=LineKind.LEFT_OUT),
        LogLine(AT, "ended with exit code 0 after 1.2 s", "test", LineKind.END),
    ),
    last=True,
)

WRITTEN = {
    "task.assigned": task.to_envelope(ASSIGNED),
    "task.cancelled": task.to_envelope(CANCELLED),
    "task.completed": result.to_envelope(COMPLETED, TRACEPARENT),
    "task.failed": result.to_envelope(FAILED, TRACEPARENT),
    "task.progress": result.to_envelope(PROGRESS),
    "event.bead.closed": event.to_envelope(CLOSED, "msg-4", TRACEPARENT),
    "event.project.created": event.to_envelope(PROJECT, "msg-5"),
    "log.lines": log.to_envelope(LINES, "msg-6", "corr-1"),
    "dead_letter": deadletter.to_envelope(
        UNREADABLE, "unknown_type", "no ingester knows the type 'task.unheard_of'", "unused"
    ),
}


def as_json(envelope):
    return {
        "exchange": envelope.exchange,
        "routing_key": envelope.routing_key,
        "mandatory": envelope.mandatory,
        "properties": {
            "content_type": envelope.content_type,
            "message_id": envelope.message_id,
            "correlation_id": envelope.correlation_id,
        },
        "headers": dict(envelope.headers),
        "body": json.loads(envelope.body),
    }


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def from_golden(name):
    kept = golden(name)
    return kept["headers"], json.dumps(kept["body"]).encode()


def test_there_is_a_golden_file_for_each_message_and_no_other():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(WRITTEN)


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_message_is_written_to_the_letter(name):
    assert as_json(WRITTEN[name]) == golden(name)


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_body_is_utf8_and_not_escaped(name):
    assert b"\\u" not in WRITTEN[name].body


@pytest.mark.parametrize(
    ("name", "meant"), [("task.assigned", ASSIGNED), ("task.cancelled", CANCELLED)]
)
def test_a_golden_task_reads_as_what_was_meant(name, meant):
    assert task.read(*from_golden(name)) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [("task.completed", COMPLETED), ("task.failed", FAILED), ("task.progress", PROGRESS)],
)
def test_a_golden_result_reads_as_what_was_meant(name, meant):
    assert result.read(*from_golden(name)) == meant


def test_golden_lines_read_as_what_was_meant():
    assert log.read(*from_golden("log.lines")).chunk() == LINES


def test_a_golden_dead_letter_reads_as_what_it_died_of():
    kept = golden("dead_letter")
    letter = deadletter.read(
        Delivery(
            tag=1,
            queue="loom.dead._ledger",
            exchange=kept["exchange"],
            routing_key=kept["routing_key"],
            body=json.dumps(kept["body"]).encode(),
            headers=kept["headers"],
            message_id=kept["properties"]["message_id"],
            correlation_id=kept["properties"]["correlation_id"],
            user_id="ingester",
        )
    )
    assert (letter.reason, letter.queue) == ("unknown_type", RESULTS_QUEUE)
    assert (letter.message_id, letter.correlation_id) == ("msg-3", "corr-1")
    assert json.loads(letter.body) == {"type": "task.unheard_of"}


def test_a_letter_of_the_brokers_own_reads_as_what_it_died_of():
    # As RabbitMQ 3.10 wrote it for a task that was rejected.
    queue = task_key("calculator")
    assigned = WRITTEN["task.assigned"]
    letter = deadletter.read(
        Delivery(
            tag=1,
            queue="loom.dead._ledger",
            exchange="loom.dead",
            routing_key="loom.dead.calculator",
            body=assigned.body,
            headers={
                **assigned.headers,
                "x-death": [
                    {
                        "count": 1,
                        "reason": "rejected",
                        "queue": queue,
                        "time": AT,
                        "exchange": "loom.tasks",
                        "routing-keys": [queue],
                    }
                ],
                "x-first-death-exchange": "loom.tasks",
                "x-first-death-queue": queue,
                "x-first-death-reason": "rejected",
                "x-delivery-count": 0,
            },
            message_id="msg-1",
            correlation_id="corr-1",
            user_id="dispatcher",
        )
    )
    assert (letter.project_id, letter.bead_id, letter.epoch) == ("calculator", "bd-1", 3)
    assert (letter.queue, letter.reason) == (queue, "rejected")
    assert json.loads(letter.deaths)[0]["count"] == 1


def write_golden() -> None:
    """Write every golden file anew: `python tests/contract/test_golden_messages.py`."""
    GOLDEN.mkdir(exist_ok=True)
    for name, envelope in WRITTEN.items():
        assert isinstance(envelope, Envelope)
        text = json.dumps(as_json(envelope), indent=2, ensure_ascii=False, sort_keys=True)
        (GOLDEN / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    write_golden()
