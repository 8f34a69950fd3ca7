"""The control plane as a process: gunicorn, real sockets, the real database service behind it."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from loom.clients.control import ControlClient
from loom.database import migrate
from loom.database.__main__ import serve
from loom.domain.bead import NewBead
from loom.domain.project import Project
from loom.errors import Conflict, Invalid, NotFound, Unavailable
from loom.rpc.callers import digest
from loom.settings import ControlSettings, LedgerSettings
from loom.testing.infrastructure import Infrastructure

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "the token"
LEDGER_TOKEN = "the ledger's token"
LIMIT = 256 * 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def eventually(what: str, holds: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)


@contextmanager
def ledger_at(port: int, settings: LedgerSettings, folder: Path) -> Iterator[None]:
    """The database service on that port, until the block ends."""
    tokens = folder / "tokens"
    tokens.write_text(f"control {digest(LEDGER_TOKEN)}\n")
    own = settings.model_copy(update={"listen": f"127.0.0.1:{port}", "tokens_file": str(tokens)})
    stopping, listening = threading.Event(), queue.Queue[int]()
    thread = threading.Thread(target=serve, args=(own, stopping, listening.put), daemon=True)
    thread.start()
    listening.get(timeout=30)
    try:
        yield
    finally:
        stopping.set()
        thread.join(timeout=30)


@dataclass
class Control:
    """A control plane of its own."""

    folder: Path
    port: int = field(default_factory=free_port)
    ledger_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / "control.log"
        self.http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=20,
            trust_env=False,
        )
        self.client = ControlClient(self.url, TOKEN)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "loom.control"],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    "LOOM_CONTROL_LISTEN": f"127.0.0.1:{self.port}",
                    "LOOM_CONTROL_TOKEN_SHA256": digest(TOKEN),
                    "LOOM_LEDGER_TARGET": f"127.0.0.1:{self.ledger_port}",
                    "LOOM_LEDGER_TOKEN": LEDGER_TOKEN,
                },
                stdout=log,
                stderr=log,
            )
        eventually("the control plane is alive", lambda: self.status("/healthz") == 200)

    def status(self, path: str) -> int:
        """What the address answers; 0 while nothing does."""
        try:
            return self.http.get(path).status_code
        except httpx.TransportError:
            return 0

    def worker(self) -> int:
        """The pid of gunicorn's worker; 0 while there is none."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [int(pid) for task in tasks for pid in task.read_text().split()]
        return children[0] if children else 0

    def stop(self) -> int:
        """Ask it to stop, and wait; its exit code."""
        self.client.close()
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def settings(infrastructure: Infrastructure) -> LedgerSettings:
    """A migrated database for this module alone."""
    name = "control_service"
    made = infrastructure.make_database(name)
    migrate.upgrade(infrastructure.migration_named(name))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control")


@pytest.fixture(scope="module")
def control(settings: LedgerSettings, folder: Path) -> Iterator[Control]:
    """A control plane with its ledger."""
    control = Control(folder)
    try:
        with ledger_at(control.ledger_port, settings, folder):
            eventually("it is ready", lambda: control.status("/readyz") == 200)
            yield control
    finally:
        control.stop()


@pytest.fixture
def project(control: Control, request: pytest.FixtureRequest) -> str:
    """A project of the test's own."""
    name = request.node.name.replace("_", "-")[:60].rstrip("-")
    control.client.create_project(Project(name, "/srv/git/x.git", test_command=("true",)))
    return name


def test_what_the_client_files_comes_back_as_it_was(control: Control, project: str) -> None:
    context = {"patch": "--- ä\r\n", "test_command": ["make", "a b"], "hint": {"n": [1.5, None]}}
    filed = control.client.create_bead(
        project, NewBead("Mend ✂ it", description="a\nb", context=context, priority=1)
    )

    assert control.client.get_bead(filed.id) == filed
    assert filed.context == context
    assert control.client.list_beads(project).items == (filed,)
    assert control.client.list_attempts(filed.id) == ()
    assert control.client.get_project(project).test_command == ("true",)


def test_a_thousand_beads_are_filed_at_once_and_listed_page_by_page(
    control: Control, project: str
) -> None:
    wanted = [f"Bead {number}" for number in range(1_000)]

    filed = control.client.create_beads(project, [NewBead(title) for title in wanted])

    assert [bead.title for bead in filed.items] == wanted
    seen, cursor = [], ""
    while True:
        page = control.client.list_beads(project, limit=300, cursor=cursor)
        seen += [bead.title for bead in page.items]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == wanted[::-1]


def test_refusals_reach_the_client_as_their_errors_and_store_nothing(
    control: Control, project: str
) -> None:
    control.client.create_bead(project, NewBead("x", id=f"{project}-taken"))

    with pytest.raises(Conflict):
        control.client.create_beads(project, [NewBead("y"), NewBead("x", id=f"{project}-taken")])
    with pytest.raises(NotFound):
        control.client.create_bead("no-such-project", NewBead("x"))
    with pytest.raises(NotFound):
        control.client.get_bead("no-such-bead")
    with pytest.raises(NotFound):
        control.client.list_beads("no-such-project")
    with pytest.raises(Invalid, match=r"title.*; .*priority"):
        control.client.create_bead(project, NewBead("", priority=9))
    with pytest.raises(Invalid, match="cursor"):
        control.client.list_beads(project, cursor="zzz")
    assert len(control.client.list_beads(project).items) == 1


def test_a_key_used_by_many_at_once_files_one_bead(control: Control, project: str) -> None:
    def post(_: int) -> httpx.Response:
        return control.http.post(
            f"/api/v1/projects/{project}/beads",
            json={"title": "Once"},
            headers={"Idempotency-Key": "the same"},
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(16)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["Location"] for answer in answers}) == 1
    replays = [a for a in answers if a.headers.get("Idempotency-Replayed") == "true"]
    assert len(replays) == 15
    assert len(control.client.list_beads(project).items) == 1


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_answered_on_a_real_socket(
    control: Control, size: int, chunked: bool
) -> None:
    body = b'{"id": "too-large", "repository": "/x"}'.ljust(size)

    def chunks() -> Iterator[bytes]:
        for start in range(0, size, 64 * 1024):
            yield body[start : start + 64 * 1024]

    answer = httpx.post(
        f"{control.url}/api/v1/projects",
        content=chunks() if chunked else body,
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        trust_env=False,
        timeout=20,
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    with pytest.raises(NotFound):
        control.client.get_project("too-large")


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 10_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + TOKEN.encode() + b"\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nno-chunk\r\n\r\n",
    ],
)
def test_what_is_not_http_is_told_by_a_document_too(control: Control, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", control.port), timeout=20) as connection:
        connection.sendall(raw)
        answer = b""
        while part := connection.recv(65536):
            answer += part

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "bad_request"


def test_the_log_is_json_with_the_ids_of_the_request(control: Control, project: str) -> None:
    control.http.get(f"/api/v1/projects/{project}", headers={"X-Correlation-Id": f"log-{project}"})

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in control.log.read_text().splitlines()]

    (line,) = [each for each in lines() if each.get("correlation_id") == f"log-{project}"]
    assert (line["event"], line["status"], line["service"]) == ("request_answered", 200, "control")
    assert len(line["trace_id"]) == 32


def test_a_worker_that_is_killed_is_replaced(control: Control, project: str) -> None:
    before = control.worker()
    os.kill(before, signal.SIGKILL)

    eventually("another worker serves", lambda: control.worker() not in (0, before))
    eventually("it is ready", lambda: control.status("/readyz") == 200)
    assert control.client.get_project(project).id == project


def test_it_waits_for_its_ledger_and_outlives_it(settings: LedgerSettings, folder: Path) -> None:
    own = folder / "alone"
    own.mkdir()
    control = Control(own)
    try:
        waiting = control.http.get("/readyz")
        assert waiting.status_code == 503
        assert "cannot be reached" in waiting.json()["parts"]["database"]
        refused = control.http.get("/api/v1/projects")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        with pytest.raises(Unavailable):
            control.client.list_projects()
        eventually(
            "the log says what it waits for",
            lambda: '"waiting_for": "the database service"' in control.log.read_text(),
        )
        for _ in range(2):
            with ledger_at(control.ledger_port, settings, own):
                eventually("it is ready", lambda: control.status("/readyz") == 200)
                assert control.client.list_projects().items is not None
            eventually("it says so", lambda: control.status("/readyz") == 503)
        refusals = [control.http.get("/api/v1/projects") for _ in range(8)]
        assert {answer.status_code for answer in refusals} == {503}
        assert "left alone for a moment" in refusals[-1].json()["detail"]
        assert control.http.get("/readyz").json()["breakers"] == {"database": "open"}
    finally:
        exit_code = control.stop()
    assert exit_code == 0


def test_a_request_that_is_running_at_the_end_is_answered(
    settings: LedgerSettings, folder: Path
) -> None:
    own = folder / "ending"
    own.mkdir()
    control = Control(own)
    try:
        with ledger_at(control.ledger_port, settings, own):
            eventually("it is ready", lambda: control.status("/readyz") == 200)
            body = b'{"id": "at-the-end", "repository": "/srv/x.git"}'
            with socket.create_connection(("127.0.0.1", control.port), timeout=20) as connection:
                head = (
                    "POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nContent-Type: application/json"
                    f"\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n"
                    "Expect: 100-continue\r\n\r\n"
                )
                connection.sendall(head.encode())
                # It says so when it begins to read the body, so the request is running.
                assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
                control.process.terminate()
                eventually(
                    "it was asked to stop",
                    lambda: "Handling signal: term" in control.log.read_text(),
                )
                connection.sendall(body)
                assert connection.recv(100).startswith(b"HTTP/1.1 201 ")
            assert control.process.wait(timeout=30) == 0
    finally:
        control.stop()


def test_clients_that_keep_a_closed_connection_open_hold_up_nobody(control: Control) -> None:
    lingering = [socket.create_connection(("127.0.0.1", control.port)) for _ in range(16)]
    try:
        for connection in lingering:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for connection in lingering:
            assert connection.recv(12) == b"HTTP/1.1 200"
        # Each of them would keep the loop for 2 s.
        assert control.http.get("/healthz", timeout=20).status_code == 200
    finally:
        for connection in lingering:
            connection.close()


def test_more_followers_than_there_are_places_for_leave_threads_for_everybody(
    control: Control, project: str
) -> None:
    head = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    ask = f"GET /api/v1/events/stream HTTP/1.1\r\n{head}".encode()
    places = ControlSettings.model_fields["followers"].default
    streams = [socket.create_connection(("127.0.0.1", control.port)) for _ in range(places + 40)]
    try:
        for stream in streams:
            stream.settimeout(30)
            stream.sendall(ask)
        answers = [stream.recv(12) for stream in streams]
        assert Counter(answers) == {b"HTTP/1.1 200": places, b"HTTP/1.1 429": 40}

        with ThreadPoolExecutor(16) as many:
            beads = [NewBead(f"one of {number}") for number in range(16)]
            filed = list(many.map(lambda bead: control.client.create_bead(project, bead), beads))
        assert len(control.client.list_beads(project).items) == len(filed)
    finally:
        for stream in streams:
            stream.close()
    eventually(
        "who left has given back a place",
        lambda: _status_of_stream(control) == 200,
    )


def _status_of_stream(control: Control) -> int:
    with control.http.stream("GET", "/api/v1/events/stream") as answer:
        return answer.status_code
