"""What an attempt leaves is kept: found without leaving the checkout, and never at any price."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from loom.domain.evidence import Artifact
from loom.errors import Exhausted, Invalid, LoomError, TooLarge, Unavailable
from workers import beneath
from workers.artifacts import MAX_NOTES, PIECE, Bounds, Collected, Given, collect
from workers.mask import NOTHING, Mask

ATTEMPT = ("shop", "b-1", 2)
ROOMY = Bounds()


@dataclass
class MemoryKeeper:
    """Keeps artifacts in memory. failing: what the next calls raise, in their order."""

    held: dict[str, bytes] = field(default_factory=dict)
    failing: list[LoomError] = field(default_factory=list)
    puts: list[str] = field(default_factory=list)

    def present(self, project_id: str, hashes: Sequence[str]) -> frozenset[str]:
        if self.failing:
            raise self.failing.pop(0)
        return frozenset(self.held.keys() & set(hashes))

    def put(
        self, project_id: str, bead_id: str, epoch: int, artifact: Artifact, file: BinaryIO,
        *, within_s: float | None = None,
    ) -> bool:  # fmt: skip
        if self.failing:
            raise self.failing.pop(0)
        assert (project_id, bead_id, epoch) == ATTEMPT
        content = file.read()
        if hashlib.sha256(content).hexdigest() != artifact.sha256:
            raise Invalid("another hash")
        self.held[artifact.sha256] = content
        self.puts.append(artifact.name)
        return True


class Checkout:
    """A checkout to collect from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        self.keeper = MemoryKeeper()
        self.waits: list[float] = []

    def write(self, name: str, content: bytes = b"x") -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def collect(
        self,
        *patterns: str,
        given: Sequence[Given] = (),
        bounds: Bounds = ROOMY,
        mask: Mask = NOTHING,
    ) -> Collected:
        return collect(
            self.keeper,
            ATTEMPT,
            checkout=self.folder,
            patterns=patterns,
            given=given,
            bounds=bounds,
            wait=self.waits.append,
            mask=mask,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """An empty checkout."""
    return Checkout(tmp_path)


def names(found: Collected) -> list[str]:
    return [artifact.name for artifact in found.artifacts]


def test_files_that_match_are_kept_with_their_hash_size_and_type(checkout: Checkout) -> None:
    checkout.write("reports/junit.xml", b"<testsuite/>")
    checkout.write("reports/other.txt")
    checkout.write("dist/pkg-1.0.tar.gz", b"\x1f\x8b")
    found = checkout.collect("reports/*.xml", "dist/")
    assert found.notes == ()
    assert names(found) == ["dist/pkg-1.0.tar.gz", "reports/junit.xml"]
    archive, report = found.artifacts
    assert archive.media_type == "application/octet-stream"
    assert (report.size, report.media_type) == (12, "text/xml")
    assert checkout.keeper.held[report.sha256] == b"<testsuite/>"


def test_a_file_that_holds_a_credential_of_the_agent_is_not_kept(checkout: Checkout) -> None:
    checkout.write("dist/a", b"\0" * (PIECE - 4) + b"token-of-mine\0")
    checkout.write("dist/b", b"token-of-others")
    found = checkout.collect("dist/", mask=Mask(["token-of-mine"]))
    assert names(found) == ["dist/b"]
    (note,) = found.notes
    assert note.startswith("dist/a: not kept, as it holds a credential ")
    assert "token-of-mine" not in note


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("a.log", ["a.log"]),
        ("*.log", ["a.log"]),
        ("**/*.log", ["a.log", "x/b.log", "x/y/c.log"]),
        ("x/**", ["x/b.log", "x/y/c.log", "x/y/d.txt"]),
        ("x/", ["x/b.log", "x/y/c.log", "x/y/d.txt"]),
        ("x/*/[cd].*", ["x/y/c.log", "x/y/d.txt"]),
        ("**/**/c.log", ["x/y/c.log"]),
        ("x", []),
        ("../*", []),
        ("/etc/passwd", []),
        ("x/../a.log", []),
        ("**/config", []),
    ],
)
def test_a_pattern_matches_as_people_know_it(
    checkout: Checkout, pattern: str, wanted: list[str]
) -> None:
    (checkout.folder.parent / "outside.log").write_bytes(b"not of the checkout")
    for name in ("a.log", "x/b.log", "x/y/c.log", "x/y/d.txt", ".git/config"):
        checkout.write(name)
    found = beneath.find(checkout.folder, [pattern])
    assert list(found.names) == wanted
    assert found.unmatched == (() if wanted else (pattern,))


def test_nothing_outside_of_the_checkout_is_found_or_opened(checkout: Checkout) -> None:
    outside = checkout.folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.log").write_bytes(b"secret")
    (checkout.folder / "link.log").symlink_to(outside / "secret.log")
    (checkout.folder / "folder").symlink_to(outside)
    os.mkfifo(checkout.folder / "pipe.log")
    assert names(checkout.collect("**", "folder/*.log", "**/*.log")) == []
    for name in (
        "link.log", "folder/secret.log", "pipe.log", "../outside/secret.log", "folder", ".", "",
        str(outside / "secret.log"),
    ):  # fmt: skip
        with pytest.raises(OSError), beneath.opened(checkout.folder, name):
            pass


def test_a_link_put_in_a_files_place_after_the_search_is_not_followed(checkout: Checkout) -> None:
    checkout.write("report.xml", b"mine")
    (checkout.folder.parent / "secret").write_bytes(b"secret")

    def swap(project_id: str, hashes: Sequence[str]) -> frozenset[str]:
        (checkout.folder / "report.xml").unlink()
        (checkout.folder / "report.xml").symlink_to("../secret")
        return frozenset()

    checkout.keeper.present = swap  # type: ignore[method-assign]
    found = checkout.collect("report.xml")
    assert found.artifacts == ()
    assert found.notes[0].startswith("report.xml: not kept: it cannot be read")
    assert checkout.keeper.held == {}


def test_a_file_that_changes_meanwhile_is_told_of(checkout: Checkout) -> None:
    checkout.write("report.xml", b"first")

    def change(project_id: str, hashes: Sequence[str]) -> frozenset[str]:
        checkout.write("report.xml", b"second")
        return frozenset()

    checkout.keeper.present = change  # type: ignore[method-assign]
    assert checkout.collect("report.xml") == Collected((), ("report.xml: not kept: another hash",))


def test_limits_leave_files_out_with_a_note_and_keep_the_rest(checkout: Checkout) -> None:
    for name, size in (("a", 60), ("b", 200), ("c", 60), ("d", 10), ("e", 10)):
        checkout.write(name, os.urandom(size))
    with (checkout.folder / "sparse").open("wb") as sparse:
        sparse.truncate(2**40)
    found = checkout.collect("*", bounds=Bounds(files=3, file_bytes=100, total_bytes=130))
    assert names(found) == ["a", "c", "d"]
    assert found.notes == (
        "b: not kept, as it is larger than the limit of all together, 70 bytes",
        "e: not kept, as 3 files are the limit",
        "sparse: not kept, as 3 files are the limit",
    )


def test_names_that_could_not_be_shown_are_left_out(checkout: Checkout) -> None:
    for name in (b"bad\xff.txt", b"esc\x1b[31m.txt", b"new\nline.txt"):
        Path(os.fsdecode(os.path.join(os.fsencode(checkout.folder), name))).write_bytes(b"x")  # noqa: PTH118
    checkout.write("gut ✂.txt")
    found = checkout.collect("*.txt")
    assert names(found) == ["gut ✂.txt"]
    assert len(found.notes) == 3
    assert all(note.isprintable() for note in found.notes)


def test_logs_are_kept_first_and_under_their_own_name(checkout: Checkout) -> None:
    log = checkout.folder.parent / "whole-output"
    log.write_bytes(b"all that was said")
    checkout.write("log/test.txt", b"somebody else's")
    found = checkout.collect("log/*", given=[Given("log/test.txt", log)])
    (artifact,) = found.artifacts
    assert checkout.keeper.held[artifact.sha256] == b"all that was said"
    assert artifact.media_type == "text/plain"
    assert "log/test.txt" in found.notes[0]


def test_what_is_kept_already_is_not_sent(checkout: Checkout) -> None:
    checkout.write("a", b"same")
    checkout.write("b", b"same")
    checkout.collect("a")
    assert names(checkout.collect("a", "b")) == ["a", "b"]
    assert checkout.keeper.puts == ["a"]


def test_a_store_that_is_away_for_a_moment_is_waited_for(checkout: Checkout) -> None:
    checkout.write("a")
    checkout.keeper.failing = [Unavailable("away") for _ in range(4)]
    assert checkout.collect("a").notes == ()
    assert checkout.waits == [0.25, 0.5, 1.0, 2.0]


def test_a_store_that_stays_away_leaves_a_note_of_each_file(checkout: Checkout) -> None:
    for name in "abc":
        checkout.write(name)
    checkout.keeper.failing = [Unavailable("nobody is there") for _ in range(100)]
    found = checkout.collect("*")
    assert found.artifacts == ()
    assert found.notes == tuple(
        f"{name}: not kept: the store is away: nobody is there" for name in "abc"
    )
    assert sum(checkout.waits) <= Bounds().away_s


def test_time_that_is_over_leaves_a_note_too(checkout: Checkout) -> None:
    checkout.write("a")
    found = checkout.collect("a", bounds=Bounds(within_s=0))
    assert found.notes == ("a: not kept: sending took longer than 0 s",)


def test_a_refused_file_does_not_keep_the_others_from_being_kept(checkout: Checkout) -> None:
    checkout.write("a", b"1")
    checkout.write("b", b"2")
    keeper, first = checkout.keeper, checkout.keeper.present
    keeper.present = lambda *of: (first(*of), keeper.failing.append(TooLarge("too large")))[0]  # type: ignore[method-assign]
    found = checkout.collect("*")
    assert names(found) == ["b"]
    assert found.notes == ("a: not kept: too large",)


def test_a_store_without_room_is_not_asked_again(checkout: Checkout) -> None:
    for name in "ab":
        checkout.write(name, name.encode())
    checkout.keeper.failing = [Exhausted("no room")]
    assert checkout.collect("*").notes == ("a: not kept: no room", "b: not kept: no room")


def test_without_a_store_it_is_told_that_there_is_none(checkout: Checkout) -> None:
    checkout.write("a")
    found = collect(None, ATTEMPT, checkout=checkout.folder, patterns=["a"])
    assert "LOOM_ARTIFACTS_TARGET" in found.notes[0]
    assert collect(None, ATTEMPT, checkout=checkout.folder) == Collected()


def test_many_notes_are_shortened(checkout: Checkout) -> None:
    found = checkout.collect(*(f"nothing-{n}" for n in range(50)))
    assert len(found.notes) == MAX_NOTES + 1
    assert found.notes[-1] == "and 30 more of the kind"


def test_a_deep_or_closed_tree_is_searched_as_far_as_is_safe(checkout: Checkout) -> None:
    deep = checkout.folder.joinpath(*["d"] * (beneath.MAX_DEPTH + 5))
    deep.mkdir(parents=True)
    (deep / "a.log").write_bytes(b"x")
    checkout.write("b.log")
    found = beneath.find(checkout.folder, ["**/*.log"])
    assert found.names == ("b.log",)
    assert not found.complete


def test_a_lost_lease_ends_it_at_once(checkout: Checkout) -> None:
    checkout.write("a")

    def lost() -> None:
        raise InterruptedError("the lease is lost")

    with pytest.raises(InterruptedError):
        collect(checkout.keeper, ATTEMPT, checkout=checkout.folder, patterns=["a"], check=lost)
    assert checkout.keeper.held == {}
