"""Secrets that are known are taken out of whatever is told, however it was cut up or written."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain.evidence import (
    Finding,
    Outcome,
    Step,
    StepKind,
    SubBead,
    TestFailure,
    TestReport,
)
from workers.mask import NOTHING, Mask, Masked
from workers.output import Output

TOKEN = 'gl"pat/Ab+c99\\zé'
KEY = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz
c2gtZWQyNTUxOQAAACDZ
AB==
-----END OPENSSH PRIVATE KEY-----
"""


def passed(mask: Mask, *chunks: bytes) -> bytes:
    """What comes out of a stream."""
    masked = Masked(mask)
    return b"".join(map(masked.feed, chunks)) + masked.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_secret_that_is_split_over_chunks_is_masked(size: int) -> None:
    said = b"the token-of-mine is token-of- token-of-mine"
    chunks = [said[at : at + size] for at in range(0, len(said), size)]
    assert passed(Mask(["token-of-mine"]), *chunks) == b"the [masked] is token-of- [masked]"


def test_what_cannot_begin_a_secret_is_not_held_back() -> None:
    masked = Masked(Mask(["token-of-mine"]))
    assert masked.feed(b"a line\n") == b"a line\n"
    assert masked.feed(b"a question? tok") == b"a question? "
    assert masked.feed(b"yo") == b"tokyo"


@given(
    st.lists(st.text("ab", min_size=8, max_size=12), min_size=1, max_size=3),
    st.lists(st.binary(max_size=6).map(lambda b: bytes(97 + x % 2 for x in b)), max_size=20),
)
def test_no_cut_lets_a_secret_through_or_changes_what_is_masked(
    secrets: list[str], chunks: list[bytes]
) -> None:
    mask, whole = Mask(secrets), b"".join(chunks)
    out = passed(mask, *chunks)
    assert not any(word in out for word in mask.words)
    assert out == passed(mask, whole)
    if not any(word in whole for word in mask.words):
        assert out == whole


def test_secrets_that_overlap_or_begin_alike_are_masked_whole() -> None:
    mask = Mask(["abcdefgh", "efghijkl", "abcdefghxyz"])
    assert passed(mask, b"-abcdefgh", b"ijkl-abcdefgh", b"xyz-") == b"-[masked]-[masked]-"


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"user:"])
def test_a_secret_is_found_as_json_urls_and_base64_write_it(before: bytes) -> None:
    mask, plain = Mask([TOKEN]), TOKEN.encode()
    told = {
        "plain": TOKEN, "json": json.dumps({"k": TOKEN}), "url": f"https://u:{quote(TOKEN)}@h/",
        "slash": quote(TOKEN, safe=""), "base64": base64.b64encode(before + plain + b"!").decode(),
        "urlsafe": base64.urlsafe_b64encode(before + plain).decode(),
    }  # fmt: skip
    for form, text in told.items():
        assert "[masked]" in mask.text(text), form


def test_a_key_is_masked_line_by_line() -> None:
    indented = KEY.replace("\n", "\r\n    ")
    assert Mask([KEY]).text(indented).split() == [
        "-----BEGIN", "OPENSSH", "PRIVATE", "KEY-----", "[masked]", "[masked]", "AB==",
        "-----END", "OPENSSH", "PRIVATE", "KEY-----",
    ]  # fmt: skip


@pytest.mark.parametrize("secret", ["", "1", "true", "  short ", "\n\n"])
def test_words_that_are_too_common_are_let_pass(secret: str) -> None:
    assert Mask([secret]).text(f"it is {secret} here") == f"it is {secret} here"
    assert not NOTHING.words


def test_evidence_is_masked_in_every_text_of_it() -> None:
    secret = "s3cret-of-a-vendor"
    step = Step(
        "test", ("curl", f"-Hx: {secret}"), 0, 1.0, f"got {secret}", kind=StepKind.TEST,
        tests=TestReport("junit", 1, 0, 1, 0, (TestFailure(f"t[{secret}]", secret),)),
        findings=(Finding("ruff", "a.py", 1, "S105", secret),),
    )  # fmt: skip
    outcome = Outcome(
        succeeded=False, steps=(step,), output=secret, reason=secret, notes=secret,
        sub_beads=(SubBead(secret, secret, {"k": [secret, 1, None]}),),
    )  # fmt: skip
    masked = Mask([secret]).value(outcome)
    assert secret not in repr(masked)
    assert repr(masked) == repr(outcome).replace(secret, "[masked]")
    assert NOTHING.value(outcome) is outcome
    assert replace(masked.steps[0], kind=StepKind.LINT).kind is StepKind.LINT


def test_output_its_log_and_who_follows_it_have_no_secret(tmp_path: Path) -> None:
    followed: list[bytes] = []
    log = tmp_path / "log"
    output = Output(limit=1_000, log=log, on_output=followed.append, mask=Mask(["token-of-mine"]))
    for chunk in (b"a token-", b"of-mine", b"\nthe end: token-of"):
        output.add(chunk)
    output.close()
    expected = b"a [masked]\nthe end: token-of"
    assert (log.read_bytes(), b"".join(followed), output.text()) == (
        expected, expected, expected.decode(),
    )  # fmt: skip
    assert output.size == 33
