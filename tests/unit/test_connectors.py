"""What the connectors service takes in: counted, hashed, limited, and gone when it is not whole."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from loom.connectors import receiving
from loom.connectors.filestore import FileStore
from loom.connectors.receiving import Reception
from loom.connectors.service import Allowance
from loom.errors import Exhausted, Invalid, TooLarge, Unavailable

ATTEMPT = ("shop", "b-1", 1)


class BrokenOff(Exception):
    """The caller is gone."""


def test_what_arrives_whole_stands_on_disk_until_it_is_moved_away(tmp_path: Path) -> None:
    reception, content = Reception(tmp_path, 0), b"first second"
    reception.check_room(len(content))
    sha256 = hashlib.sha256(content).hexdigest()
    with reception.receive([b"first ", b"second"], len(content), sha256) as received:
        assert received.read_bytes() == content
        assert received.stat().st_mode & 0o077 == 0
        received.replace(tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == content


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise BrokenOff

    reception = Reception(tmp_path, 0)
    reception.check_room(8)
    with pytest.raises(BrokenOff), reception.receive(chunks(), 8, "0" * 64):
        pass
    assert list(tmp_path.glob(".receiving/*")) == []


def test_more_than_was_said_is_refused_before_all_of_it_came(tmp_path: Path) -> None:
    def flood() -> Iterator[bytes]:
        while True:
            yield b"x" * 1_000

    reception = Reception(tmp_path, 0)
    reception.check_room(1_500)
    with (
        pytest.raises(Invalid, match="1500 bytes"),
        reception.receive(flood(), 1_500, "0" * 64),
    ):
        pass
    assert list(tmp_path.glob(".receiving/*")) == []


def test_a_disk_keeps_what_is_to_stay_free(tmp_path: Path) -> None:
    with pytest.raises(Exhausted, match="KEEP_FREE_BYTES"):
        Reception(tmp_path, 2**60).check_room(0)


def test_what_killed_processes_left_is_cleared_and_what_comes_in_now_is_not(
    tmp_path: Path,
) -> None:
    reception = Reception(tmp_path, 0)
    assert reception.clear() == 0
    reception.check_room(0)
    for name in ("old", "new"):
        (tmp_path / ".receiving" / name).write_bytes(b"half")
    before = time.time() - receiving.LEFT_OVER_S - 1
    os.utime(tmp_path / ".receiving" / "old", (before, before))
    assert reception.clear() == 1
    assert [left.name for left in tmp_path.glob(".receiving/*")] == ["new"]


def test_an_attempt_gets_back_what_did_not_arrive() -> None:
    allowance = Allowance(max_attempt_bytes=10, calls_per_project=1)
    with allowance.spend(ATTEMPT, 6):
        pass
    with pytest.raises(TooLarge), allowance.spend(ATTEMPT, 5):
        pass
    with pytest.raises(BrokenOff), allowance.spend(ATTEMPT, 4):
        raise BrokenOff
    with allowance.spend(ATTEMPT, 4), allowance.spend(("shop", "b-1", 2), 10):
        pass


def test_one_project_does_not_take_every_transfer() -> None:
    allowance = Allowance(max_attempt_bytes=1, calls_per_project=2)
    with ExitStack() as running:
        for project in ("shop", "shop", "other"):
            running.enter_context(allowance.transfer(project))
        with pytest.raises(Exhausted, match="shop"), allowance.transfer("shop"):
            pass
    with allowance.transfer("shop"):
        pass


def test_a_folder_that_cannot_be_made_makes_the_store_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Unavailable, match="cannot be made"):
        FileStore(tmp_path / "file" / "artifacts").check()


def test_nothing_but_artifacts_is_listed(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.check()
    (tmp_path / ".receiving" / "00").mkdir(parents=True)
    (tmp_path / ".receiving" / "00" / ("0" * 64)).write_bytes(b"half")
    (tmp_path / "shop" / "ab").mkdir(parents=True)
    (tmp_path / "shop" / "ab" / "README").write_bytes(b"not ours")
    received = tmp_path / "received"
    received.write_bytes(b"x")
    store.keep("shop", "f" * 64, received)
    assert [(held.project_id, held.sha256) for held in store.list()] == [("shop", "f" * 64)]
