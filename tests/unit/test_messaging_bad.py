"""Messages that nobody can read: each is refused with its reason, and with nothing else."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.errors import UnreadableMessage
from loom.messaging import deadletter, result, task
from loom.messaging.envelope import Delivery
from loom.messaging.topology import MAX_RESULT_BYTES, MAX_TASK_BYTES

HEADERS = {"task": "loom.bead", "version": 1, "message_id": "m", "epoch": 1, "attempt": 1}
TASK = {
    "type": "task.assigned",
    "project_id": "calculator",
    "bead_id": "bd-1",
    "assigned_to": "agents of calculator",
    "task_data": {"title": "t", "description": "", "context": {}},
    "correlation_id": "c",
    "timestamp": "2026-11-22T09:30:15Z",
}
STEP = {"name": "test", "argv": ["true"], "exit_code": 0, "duration_s": 1.0, "output_tail": ""}
RESULT = {
    "type": "task.completed",
    "message_id": "m",
    "project_id": "calculator",
    "bead_id": "bd-1",
    "agent_id": "agent",
    "epoch": 1,
    "result": {"status": "succeeded", "commits": [], "output": "", "artifacts": []},
    "evidence": [STEP],
    "correlation_id": "c",
    "timestamp": "2026-11-22T09:30:15Z",
}


def task_body(**changes):
    return json.dumps([[TASK | changes], {}, {}]).encode()


def result_body(**changes):
    return json.dumps(RESULT | changes).encode()


def without(message, key):
    return {k: v for k, v in message.items() if k != key}


ANY_BODY = {
    "nothing": (b"", "malformed"),
    "text": (b"hello", "malformed"),
    "half a document": (b'{"type": "task.comp', "malformed"),
    "invalid UTF-8": (b'{"type": "\xff\xfe"}', "malformed"),
    "UTF-16": ('{"type": "task.completed"}'.encode("utf-16"), "malformed"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "malformed"),
    "a NUL byte": (b"\x00", "malformed"),
    "deep nesting": (b"[" * 100_000 + b"]" * 100_000, "malformed"),
    "a number of 5,000 digits": (b"9" * 5_000, "malformed"),
    "not a number": (b"[NaN]", "malformed"),
}

BAD_TASKS = {
    **ANY_BODY,
    "oversize": (task_body(assigned_to="x" * MAX_TASK_BYTES), "oversize"),
    "no arguments": (b"[[], {}, {}]", "malformed"),
    "an object": (b"{}", "malformed"),
    "an argument that is no object": (b'[["task"], {}, {}]', "wrong_type"),
    "an unknown type": (task_body(type="task.unheard_of"), "unknown_type"),
    "a type that is no text": (task_body(type=7), "wrong_type"),
    "no type": (json.dumps([[without(TASK, "type")], {}, {}]).encode(), "wrong_type"),
    "no task_data": (json.dumps([[without(TASK, "task_data")], {}, {}]).encode(), "wrong_type"),
    "a title that is a number": (task_body(task_data={"title": 7}), "wrong_type"),
    "a context that is a list": (task_body(task_data={"title": "t", "context": []}), "wrong_type"),
    "a timestamp that is a number": (task_body(timestamp=1700000000), "wrong_type"),
    "a timestamp without zone": (task_body(timestamp="2026-11-22T09:30:15"), "wrong_type"),
    "a project id that is a path": (task_body(project_id="../etc"), "wrong_type"),
    "a bead id with NUL": (task_body(bead_id="bd\0"), "wrong_type"),
    "half a surrogate pair": (task_body(assigned_to="\ud800"), "malformed"),
    "a context nested 300 deep": (
        task_body(task_data={"title": "t", "context": json.loads('{"a":' * 300 + "1" + "}" * 300)}),
        "malformed",
    ),
}

BAD_RESULTS = {
    **ANY_BODY,
    "oversize": (result_body(reason="x" * MAX_RESULT_BYTES), "oversize"),
    "a list": (b"[]", "wrong_type"),
    "null": (b"null", "wrong_type"),
    "an unknown type": (result_body(type="task.unheard_of"), "unknown_type"),
    "an epoch of zero": (result_body(epoch=0), "wrong_type"),
    "an epoch that is text": (result_body(epoch="1"), "wrong_type"),
    "an epoch that is true": (result_body(epoch=True), "wrong_type"),
    "an epoch of 64 bits": (result_body(epoch=2**63), "wrong_type"),
    "an epoch of 300 digits": (result_body(epoch=10**300), "wrong_type"),
    "an exit code of 40 bits": (result_body(evidence=[STEP | {"exit_code": 2**40}]), "wrong_type"),
    "argv that is a line": (result_body(evidence=[STEP | {"argv": "rm -rf"}]), "wrong_type"),
    "a negative duration": (result_body(evidence=[STEP | {"duration_s": -1}]), "wrong_type"),
    "no message id": (result_body(message_id=""), "wrong_type"),
    "NUL in the message id": (result_body(message_id="m\0"), "wrong_type"),
    "NUL in the correlation id": (result_body(correlation_id="\0"), "wrong_type"),
    "an unknown failure class": (result_body(failure_class="cosmic"), "wrong_type"),
    "no evidence list": (result_body(evidence="none"), "wrong_type"),
    "half a surrogate pair": (result_body(reason="\ud800"), "malformed"),
}

BAD_HEADERS = {
    "a version of the future": ({"version": 2}, "unknown_version"),
    "a version that is text": ({"version": "1"}, "unknown_version"),
    "a version that is true": ({"version": True}, "unknown_version"),
    "version zero": ({"version": 0}, "unknown_version"),
    "a huge version": ({"version": 10**400}, "unknown_version"),
}

BAD_TASK_HEADERS = {
    **BAD_HEADERS,
    "another Celery task": ({"task": "celery.backend_cleanup"}, "unknown_type"),
    "no Celery task": ({"task": None}, "unknown_type"),
    "no epoch": ({"epoch": None}, "wrong_type"),
    "an epoch that is text": ({"epoch": "1"}, "wrong_type"),
    "an attempt of zero": ({"attempt": 0}, "wrong_type"),
}


def each(table):
    return pytest.mark.parametrize(
        ("given_", "reason"), list(table.values()), ids=[name.replace(" ", "-") for name in table]
    )


def reason_of(read, headers, body):
    with pytest.raises(UnreadableMessage) as caught:
        read(headers, body)
    assert caught.value.detail
    assert len(caught.value.detail) < 1_000
    return caught.value.data["reason"]


@each(BAD_TASKS)
def test_a_task_that_cannot_be_read_says_why(given_, reason):
    assert reason_of(task.read, HEADERS, given_) == reason


@each(BAD_RESULTS)
def test_a_result_that_cannot_be_read_says_why(given_, reason):
    assert reason_of(result.read, {}, given_) == reason


@each(BAD_TASK_HEADERS)
def test_a_task_with_odd_headers_says_why(given_, reason):
    assert reason_of(task.read, HEADERS | given_, task_body()) == reason


@each(BAD_HEADERS)
def test_a_result_with_odd_headers_says_why(given_, reason):
    assert reason_of(result.read, given_, result_body()) == reason


def test_unknown_fields_are_passed_over():
    read = task.read(HEADERS | {"colour": "green"}, task_body(colour="green"))
    assert read.message.bead_id == "bd-1"
    read = result.read({"colour": "green"}, result_body(colour="green"))
    assert read.bead_id == "bd-1"


def test_a_message_without_a_version_is_of_the_first():
    assert task.read(without(HEADERS, "version"), task_body()).epoch == 1
    assert result.read({}, result_body()).epoch == 1


def test_nul_in_what_a_command_wrote_is_shown_as_a_replacement():
    read = result.read(
        {},
        result_body(
            reason="a\0b",
            result={"status": "failed", "output": "\0"},
            evidence=[STEP | {"output_tail": "x\0y", "argv": ["a\0"]}],
        ),
    )
    assert (read.reason, read.result.output) == ("a\ufffdb", "\ufffd")
    assert (read.evidence[0].output_tail, read.evidence[0].argv) == ("x\ufffdy", ["a\ufffd"])


def test_text_outside_ascii_takes_no_more_room_than_it_needs():
    title = "ж" * 200_000
    short = task.read(HEADERS, task_body())
    message = short.message.model_copy(update={"task_data": task.TaskData(title=title)})
    assert len(task.to_envelope(replace(short, message=message)).body) < MAX_TASK_BYTES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
header_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=20)
    | st.datetimes() | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)  # fmt: skip
known = st.sampled_from([*HEADERS, "id", "traceparent", "x-death", "x-first-death-queue",
                         "x-loom-queue", "x-loom-reason", "x-loom-detail"])  # fmt: skip
any_headers = st.dictionaries(known | st.text(max_size=12) | st.binary(max_size=4), header_values)
any_body = st.one_of(
    st.binary(max_size=300),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(list(RESULT)), json_values).map(
        lambda changes: json.dumps(RESULT | changes).encode()
    ),
    st.dictionaries(st.sampled_from(list(TASK)), json_values).map(
        lambda changes: json.dumps([[TASK | changes], {}, {}]).encode()
    ),
)


@given(any_headers, any_body)
def test_reading_any_bytes_gives_a_task_or_a_result_or_says_they_cannot_be_read(headers, body):
    try:
        assert isinstance(task.read(HEADERS | headers, body), task.Task)
    except UnreadableMessage as error:
        assert error.data["reason"]
    try:
        read = result.read(headers, body)
    except UnreadableMessage as error:
        assert error.data["reason"]
    else:
        assert "\0" not in read.message_id + read.reason + read.correlation_id


@given(any_headers, st.binary(max_size=300), st.text(max_size=40), st.text(max_size=40))
def test_any_delivery_at_all_can_be_read_as_a_dead_letter(headers, body, key, message_id):
    letter = deadletter.read(
        Delivery(1, "q", "e", key, body, headers, message_id=message_id, correlation_id=key)
    )
    assert letter.message_id
    assert letter.reason
    assert letter.epoch >= 0
    texts = (letter.message_id, letter.queue, letter.reason, letter.detail, letter.correlation_id)
    assert "\0" not in "".join(texts) + letter.headers + letter.deaths
    json.loads(letter.headers)
    json.loads(letter.deaths)


@given(any_headers, st.binary(max_size=300))
def test_a_delivery_that_is_dead_lettered_keeps_its_body_and_says_where_it_came_from(headers, body):
    delivery = Delivery(1, "loom.tasks.calculator", "e", "k", body, headers)
    envelope = deadletter.to_envelope(delivery, "malformed", "why " * 1000, "m1")
    assert (envelope.body, envelope.message_id) == (body, "m1")
    assert envelope.routing_key == "loom.dead.calculator"
    assert envelope.headers["x-loom-queue"] == "loom.tasks.calculator"
