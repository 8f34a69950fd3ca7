"""What git says when it cannot, as a class and a sentence; addresses; line ends of patches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loom.domain.evidence import FailureClass
from workers import changes, patching, refusals, submodules
from workers.changes import FileChange, How
from workers.command import Ended

WORK, INFRA = FailureClass.WORK, FailureClass.INFRA


@pytest.mark.parametrize(
    ("said", "failure_class", "meaning"),
    [
        ("fatal: '/x' does not appear to be a git repository", WORK, "no such repository"),
        ("remote: Repository not found.\nfatal: repository 'u' not found", WORK, "no such"),
        ("ERROR: Repository not found.\nfatal: Could not read from remote", WORK, "no such"),
        ("fatal: Authentication failed for 'https://h/'", WORK, "refuses the agent's"),
        ("fatal: could not read Username for 'https://h'", WORK, "refuses the agent's"),
        ("git@h: Permission denied (publickey).\nfatal: Could not read", WORK, "refuses the"),
        ("Host key verification failed.\nfatal: Could not read", WORK, "another key"),
        ("fatal: transport 'ext' not allowed", WORK, "protocol is not allowed"),
        ("fatal: mismatched algorithms: client sha1; server sha256", WORK, "SHA-256"),
        ("ssh: Could not resolve hostname h\nfatal: Could not read", INFRA, "cannot be reached"),
        ("fatal: unable to access 'https://h/': Failed to connect", INFRA, "cannot be reached"),
        ("error: RPC failed; HTTP 502 curl 22 returned error: 502", INFRA, "cannot be reached"),
        ("fatal: write error: No space left on device", INFRA, "disk is full"),
        ("fatal: sha1 file 'index.lock' write error. Out of diskspace", INFRA, "disk is full"),
        ("fatal: the index file is corrupt", INFRA, "the index file is corrupt"),
    ],
)
def test_gits_words_are_told_by_their_meaning(
    said: str, failure_class: FailureClass, meaning: str
) -> None:
    refusal = refusals.of(Ended(128, 1.0, said))
    assert refusal.failure_class is failure_class
    assert meaning in refusal.words
    assert refusal.certain is ("corrupt" not in said)


def test_what_did_not_end_or_was_ended_is_the_surroundings_fault() -> None:
    late = refusals.of(Ended(None, 60.0, "fatal: Authentication failed", timed_out=True))
    assert late == refusals.Refusal(INFRA, "git did not end in 60 s")
    assert refusals.of(Ended(None, 1.0, "", cancelled=True)).failure_class is INFRA


@pytest.mark.parametrize(
    ("repository", "protocol"),
    [
        ("/srv/x.git", "file"),
        ("https://h/x", "https"),
        ("ssh://git@h/x", "ssh"),
        ("git@h:x/y.git", "ssh"),
        ("file:///x", "file"),
        ("git://h/x", "git"),
    ],
)
def test_an_address_tells_its_protocol(repository: str, protocol: str) -> None:
    assert refusals.protocol_of(repository) == protocol


@pytest.mark.parametrize(
    ("url", "parent", "whole"),
    [
        ("../lib.git", "https://h/o/app.git", "https://h/o/lib.git"),
        ("./lib", "https://h:8443/o/app/", "https://h:8443/o/app/lib"),
        ("../../x/lib", "git@h:o/app.git", "git@h:x/lib"),
        ("../lib", "/srv/git/app.git", "/srv/git/lib"),
        ("../../../../lib", "https://h/o/app", "https://h/lib"),
        ("https://other/lib", "git@h:o/app.git", "https://other/lib"),
    ],
)
def test_a_submodules_address_may_be_relative_to_its_parents(
    url: str, parent: str, whole: str
) -> None:
    assert submodules.address(url, parent) == whole


def test_submodules_are_read_by_path_and_halves_of_one_are_none() -> None:
    listed = (
        b"submodule.a.b.path\ndeps/a\0submodule.a.b.url\nhttps://h/a\0"
        b"submodule.x.path\nx\0core.editor\nvi\0"
    )
    assert submodules.urls(listed) == {"deps/a": "https://h/a"}


def test_changed_files_are_read_with_odd_names_and_renames() -> None:
    raw = (
        b":100644 100644 1 2 M\0a\tb\nc\0:100644 100644 1 1 R096\0old\0new\0"
        b":000000 100755 0 3 A\0bin\xff\0:100644 120000 1 2 T\0link\0"
        b"3\t1\ta\tb\nc\0" b"1\t0\t\0old\0new\0" b"-\t-\tbin\xff\0" b"1\t1\tlink\0"
    )  # fmt: skip
    assert changes.files(raw) == (
        FileChange("a\tb\nc", How.MODIFIED, 3, 1),
        FileChange("new", How.RENAMED, 1, 0, was="old"),
        FileChange("bin\ufffd", How.ADDED, binary=True),
        FileChange("link", How.TYPE, 1, 1),
    )


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ("", "is empty"),
        ("--- /dev/null\n+++ /etc/cron.d/x\n", "a path from the root"),
        ('--- "/etc/x"\n+++ b/x\n', "a path from the root"),
        ("rename from a\nrename to /etc/x\n", "a path from the root"),
        ("--- a/x\t2026-01-01\n+++ b/x\t2026-01-01\n", ""),
        ("--- /dev/null\t1970-01-01\n+++ b/x\n", ""),
        (" --- /x\n", ""),
        ("--- /an sql comment\n-another\n", ""),
    ],
)
def test_a_patch_of_paths_from_the_root_is_not_tried(patch: str, why: str) -> None:
    said = patching.refused(patch.encode())
    assert why in said if why else not said


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_the_patch_as_it_came_is_tried_first_and_every_line_of_it_stays(patch: bytes) -> None:
    first, *others = patching.variants(patch)
    assert first.rstrip(b"\n") == patch.rstrip(b"\n")
    for other in others:
        assert other.replace(b"\r\n", b"\n") == first.replace(b"\r\n", b"\n")
