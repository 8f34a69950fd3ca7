"""Artifacts through the real service, on a disk and in a real S3 store."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from loom.clients.artifacts import ArtifactClient
from loom.connectors.__main__ import open_store
from loom.connectors.service import NAME
from loom.connectors.store import Store
from loom.connectors.sweeping import sweep
from loom.domain.evidence import Artifact
from loom.errors import (
    DeadlineExceeded,
    Exhausted,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from loom.rpc import status
from loom.rpc.channel import connect
from loom.rpc.v1 import connectors_pb2 as pb
from loom.rpc.v1 import connectors_pb2_grpc
from loom.settings.connectors import S3Settings
from loom.testing.connectors import RunningConnectors, running_connectors
from loom.testing.objects import running_s3
from loom.testing.service import Service
from workers.artifacts import collect

MIB = 1024 * 1024
PROJECTS = ("shop", "other")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Settings]:
    """A bucket."""
    with running_s3() as settings:
        yield settings


@pytest.fixture(scope="module", params=["file", "s3"])
def connectors(request: pytest.FixtureRequest) -> Iterator[RunningConnectors]:
    """The service over each store."""
    bucket = request.getfixturevalue("s3") if request.param == "s3" else None
    limits = {"max_artifact_bytes": 3 * MIB, "max_attempt_bytes": 4 * MIB}
    with running_connectors(PROJECTS, bucket, **limits) as running:
        yield running


@pytest.fixture
def store(connectors: RunningConnectors, request: pytest.FixtureRequest) -> Store:
    """The store behind the service."""
    s3 = request.getfixturevalue("s3") if connectors.settings.store == "s3" else None
    return open_store(connectors.settings, s3)


def artifact(content: bytes, name: str = "report.xml") -> Artifact:
    return Artifact(name, hashlib.sha256(content).hexdigest(), len(content))


def put(connectors: RunningConnectors, content: bytes, bead: str = "b-1", **more: str) -> bool:
    client = connectors.client(f"agent-{more.get('by', 'shop')}")
    project = more.get("project", "shop")
    return client.put(project, bead, 1, artifact(content), io.BytesIO(content))


def got(connectors: RunningConnectors, sha256: str, *part: int, caller: str = "control") -> bytes:
    with connectors.client(caller).get("shop", sha256, *part) as download:
        return b"".join(download.pieces)


def test_what_is_put_is_got_whole_and_in_part(connectors: RunningConnectors) -> None:
    content = os.urandom(2 * MIB + 17)
    kept = artifact(content)
    assert put(connectors, content)
    with connectors.client("control").get("shop", kept.sha256) as download:
        assert download.size == len(content)
        assert b"".join(download.pieces) == content
    assert got(connectors, kept.sha256, 100, 50, caller="agent-shop") == content[100:150]
    assert got(connectors, kept.sha256, len(content) - 3) == content[-3:]
    assert got(connectors, kept.sha256, len(content) + 5, 5) == b""


def test_an_empty_file_is_kept_too(connectors: RunningConnectors) -> None:
    assert put(connectors, b"", "b-empty")
    assert got(connectors, artifact(b"").sha256) == b""


def test_what_is_there_is_known_and_not_kept_twice(connectors: RunningConnectors) -> None:
    content = os.urandom(1_000)
    sha256, other = artifact(content).sha256, "0" * 64
    agent = connectors.client("agent-shop")
    assert agent.present("shop", [sha256, other]) == frozenset()
    assert put(connectors, content, "b-2")
    assert not put(connectors, content, "b-2")
    assert agent.present("shop", [sha256, other]) == {sha256}


def test_another_size_or_hash_is_refused_and_nothing_is_kept(
    connectors: RunningConnectors, store: Store
) -> None:
    content = b"x" * 1_000
    said = artifact(content)
    for held in (content[:-1], content + b"y", b"y" * 1_000):
        with pytest.raises(Invalid):
            connectors.client("agent-shop").put("shop", "b-3", 1, said, io.BytesIO(held))
    assert store.find("shop", said.sha256) is None
    assert list((connectors.settings.folder / ".receiving").iterdir()) == []


def test_limits_of_one_file_and_of_an_attempt_are_held(connectors: RunningConnectors) -> None:
    with pytest.raises(TooLarge, match="MAX_ARTIFACT_BYTES"):
        put(connectors, b"z" * (3 * MIB + 1), "b-4")
    assert put(connectors, os.urandom(2 * MIB), "b-4")
    with pytest.raises(TooLarge, match="MAX_ATTEMPT_BYTES"):
        put(connectors, os.urandom(2 * MIB + 1), "b-4")
    assert put(connectors, os.urandom(2 * MIB + 1), "b-5"), "another attempt has its own"


def test_a_project_gets_and_puts_its_own_alone(connectors: RunningConnectors) -> None:
    content = b"a secret of the shop's"
    sha256 = artifact(content).sha256
    put(connectors, content, "b-6")
    other = connectors.client("agent-other")
    with pytest.raises(Forbidden), other.get("shop", sha256):
        pass
    with pytest.raises(Forbidden):
        other.present("shop", [sha256])
    with pytest.raises(Forbidden):
        put(connectors, content, by="other")
    # Nor does the hash help under its own name.
    assert other.present("other", [sha256]) == frozenset()
    with pytest.raises(NotFound), other.get("other", sha256):
        pass
    with pytest.raises(Forbidden):
        connectors.client("control").put("shop", "b-6", 1, artifact(b"c"), io.BytesIO(b"c"))


@pytest.mark.parametrize("project", ["..", "Shop", "a/b", "", ".receiving"])
def test_a_name_that_is_no_project_reaches_no_file(
    connectors: RunningConnectors, project: str
) -> None:
    with pytest.raises(Invalid), connectors.client("control").get(project, "0" * 64):
        pass
    with pytest.raises(Invalid), connectors.client("control").get("shop", "../" + "0" * 61):
        pass


def test_the_door_is_shut_for_streams_as_for_every_call(connectors: RunningConnectors) -> None:
    def put_as(channel: grpc.Channel, timeout: float | None) -> None:
        stub = connectors_pb2_grpc.ArtifactServiceStub(channel)
        header = pb.PutArtifactRequest(header=pb.ArtifactHeader(project_id="shop"))
        stub.PutArtifact(iter([header]), timeout=timeout)

    def get_as(channel: grpc.Channel, timeout: float | None) -> None:
        stub = connectors_pb2_grpc.ArtifactServiceStub(channel)
        list(stub.GetArtifact(pb.GetArtifactRequest(project_id="shop"), timeout=timeout))

    for call in (put_as, get_as):
        with connect(connectors.target, "nobody's token") as channel:
            with pytest.raises(grpc.RpcError) as refused:
                call(channel, 10)
            assert isinstance(status.from_call(refused.value, "it"), Unauthenticated)
        with pytest.raises(grpc.RpcError) as refused:
            call(connectors.channel("agent-shop"), None)
        assert isinstance(status.from_call(refused.value, "it"), DeadlineExceeded)


def test_the_contract_is_told_by_reflection(connectors: RunningConnectors) -> None:
    with grpc.insecure_channel(connectors.target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=10)  # type: ignore[attr-defined]
    assert NAME in {service.name for service in answer.list_services_response.service}


def test_what_nobody_sent_for_long_is_removed_and_the_rest_stays(
    connectors: RunningConnectors, store: Store
) -> None:
    content = os.urandom(100)
    put(connectors, content, "b-7")
    now = datetime.now(UTC)
    assert sweep(store, 0, now + timedelta(days=1_000)) == 0
    assert sweep(store, 90, now + timedelta(days=89)) == 0
    assert sweep(store, 90, now + timedelta(days=91)) >= 1
    assert list(store.list()) == []
    with pytest.raises(NotFound, match="KEEP_DAYS"):
        got(connectors, artifact(content).sha256)
    assert put(connectors, content, "b-7"), "it can be sent again"


def test_a_disk_without_room_takes_nothing() -> None:
    with running_connectors(("shop",), keep_free_bytes=2**60) as connectors:
        with pytest.raises(Exhausted, match="KEEP_FREE_BYTES"):
            put(connectors, b"more")
        assert not list(connectors.settings.folder.glob("shop/*/*"))


def test_half_of_a_life_old_is_sent_again_and_lives_on() -> None:
    with running_connectors(("shop",), keep_days=90) as connectors:
        content = b"kept long ago"
        put(connectors, content)
        (file,) = connectors.settings.folder.glob("shop/*/*")
        old = (datetime.now(UTC) - timedelta(days=46)).timestamp()
        os.utime(file, (old, old))
        agent = connectors.client("agent-shop")
        assert agent.present("shop", [artifact(content).sha256]) == frozenset()
        assert put(connectors, content)
        assert file.stat().st_mtime > old + 1_000


def test_a_bucket_that_refuses_its_key_is_told_of(s3: S3Settings, tmp_path: Path) -> None:
    with running_connectors() as connectors:
        wrong = s3.model_copy(update={"secret_key": type(s3.secret_key)("not the key")})
        bucket = open_store(connectors.settings.model_copy(update={"store": "s3"}), wrong)
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(Unavailable, match="403"):
        bucket.check()
    with pytest.raises(Unavailable, match="SignatureDoesNotMatch"):
        bucket.keep("shop", artifact(b"x").sha256, file)


def test_a_store_that_got_something_else_than_was_hashed_refuses_it(
    s3: S3Settings, tmp_path: Path
) -> None:
    with running_connectors() as connectors:
        bucket = open_store(connectors.settings.model_copy(update={"store": "s3"}), s3)
    file = tmp_path / "file"
    file.write_bytes(b"changed on its way")
    with pytest.raises(Unavailable, match="BadDigest"):
        bucket.keep("shop", artifact(b"x").sha256, file)
    assert bucket.find("shop", artifact(b"x").sha256) is None


def test_what_an_attempt_leaves_is_collected_through_the_service(
    connectors: RunningConnectors, tmp_path: Path
) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "junit.xml").write_bytes(b"<testsuite/>")
    (tmp_path / "large.bin").write_bytes(os.urandom(3 * MIB + 1))
    (tmp_path / "twice.bin").write_bytes(b"<testsuite/>")
    agent = connectors.client("agent-shop")
    attempt = ("shop", "b-8", 3)
    found = collect(agent, attempt, checkout=tmp_path, patterns=["**/*.xml", "*.bin"])
    assert [one.name for one in found.artifacts] == ["reports/junit.xml", "twice.bin"]
    assert "MAX_ARTIFACT_BYTES" in found.notes[0]
    assert got(connectors, found.artifacts[0].sha256) == b"<testsuite/>"
    again = collect(agent, attempt, checkout=tmp_path, patterns=["**/*.xml", "*.bin"])
    assert again.artifacts == found.artifacts


def test_a_transfer_that_the_caller_breaks_off_keeps_nothing(
    connectors: RunningConnectors, store: Store
) -> None:
    said = artifact(b"z" * MIB)
    halfway = threading.Event()

    def messages() -> Iterator[pb.PutArtifactRequest]:
        yield pb.PutArtifactRequest(
            header=pb.ArtifactHeader(
                project_id="shop", bead_id="b-9", epoch=1, size=said.size, sha256=said.sha256
            )
        )
        yield pb.PutArtifactRequest(chunk=b"z" * 1_000)
        halfway.set()
        forever.wait(30)

    forever = threading.Event()
    stub = connectors_pb2_grpc.ArtifactServiceStub(connectors.channel("agent-shop"))
    call = stub.PutArtifact.future(messages(), timeout=30)
    assert halfway.wait(30)
    call.cancel()
    forever.set()
    assert put(connectors, b"y" * (2 * MIB), "b-10"), "others go on"
    assert store.find("shop", said.sha256) is None


def test_a_service_that_is_away_is_told_of_at_once_after_some_failures() -> None:
    with running_connectors(("shop",)) as connectors:
        client = ArtifactClient(connectors.channel("agent-shop"), deadline_s=1, transfer_s=1)
        assert client.present("shop", []) == frozenset()
        target = connectors.target
    with connect(target, "token") as channel:
        client = ArtifactClient(channel, deadline_s=1, transfer_s=1)
        for _ in range(5):
            with pytest.raises((Unavailable, DeadlineExceeded)):
                client.put("shop", "b-1", 1, artifact(b"x"), io.BytesIO(b"x"))
        assert client.breaker.state == "open"
        with pytest.raises(Unavailable, match="left alone"), client.get("shop", "0" * 64):
            pass


def test_the_process_says_that_it_waits_for_a_bucket_and_stops_when_asked(
    s3: S3Settings, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text("")
    environment = {
        "LOOM_CONNECTORS_LISTEN": "127.0.0.1:0",
        "LOOM_CONNECTORS_TOKENS_FILE": str(tmp_path / "tokens"),
        "LOOM_CONNECTORS_FOLDER": str(tmp_path / "artifacts"),
        "LOOM_CONNECTORS_STORE": "s3",
        "LOOM_S3_ENDPOINT": s3.endpoint,
        "LOOM_S3_BUCKET": "not-made-yet",
        "LOOM_S3_ACCESS_KEY": s3.access_key,
        "LOOM_S3_SECRET_KEY": s3.secret_key.get_secret_value(),
    }
    with Service("loom.connectors", environment) as service:
        line = service.wait_for("waiting", waiting_for="the store of artifacts")
        assert "not-made-yet" in line["why"]
        assert s3.secret_key.get_secret_value() not in str(service.lines)
        assert service.stop() == 0
