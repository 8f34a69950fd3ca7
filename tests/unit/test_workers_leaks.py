"""What is taken for a secret among added lines, and what is not."""

from __future__ import annotations

import hashlib
import json

import pytest

from workers.added import added_lines
from workers.leak_search import known, search
from workers.leaks import Leak, explain

REAL = "wJ4lrXUtnFE7MIK" + "9MDENGbPxRfi"


def _adds(*lines: str, file: str = "app.py") -> bytes:
    head = f"diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n"
    return f"{head}@@ -4,0 +5,{len(lines)} @@ def f():\n".encode() + b"".join(
        f"+{line}\n".encode() for line in lines
    )


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{REAL}"',
        f"https://me:{REAL}@host/x",
        "aws = 'AKIA" + "QYLPMN5HHHFPZAM2'",
        "-----BEGIN OPENSSH PRIVATE " + "KEY-----",
        "slack xoxb-" + "123456789012-1234567890123-abcdefghijABCDEFGHIJ1234",
        "glpat-" + "d8HqZ3kLm0PxTy7VbN2c",
    ],
)
def test_what_looks_like_a_secret_is_one(line: str) -> None:
    [leak] = search(_adds("x = 1", line))
    assert (leak.file, leak.line) == ("app.py", 6)


@pytest.mark.parametrize(
    "line",
    [
        'password = "secret"',
        "password = os.environ['DATABASE_PASSWORD_1']",
        "curl https://user:hunter2@example.org/",
        f'"integrity": "sha512-{"Ab3" * 28}=="',
        f"commit = '{'0f1e2d3c4b5a69788796' * 2}'",
        "token = get_token(request.user_id_42)",
        f'password = "{REAL}"  # pragma: allowlist secret',
        f'password = "{"x" * 5000}{REAL}"',
    ],
)
def test_what_every_repository_holds_is_none(line: str) -> None:
    assert search(_adds(line)) == []


def test_a_baseline_lets_pass_what_it_lists_in_that_file_alone() -> None:
    listed = hashlib.sha1(REAL.encode(), usedforsecurity=False).hexdigest()
    entry = {"hashed_secret": listed, "type": "Secret Keyword"}
    baseline = json.dumps({"results": {"app.py": [entry]}}).encode()
    line = f'password = "{REAL}"'
    assert search(_adds(line), baseline) == []
    assert search(_adds(line, file="other.py"), baseline)


@pytest.mark.parametrize(
    "baseline", [b"", b"[]", b"{", b'{"results": 1}', b'{"results": {"a": [1]}}']
)
def test_a_baseline_that_cannot_be_read_lists_nothing(baseline: bytes) -> None:
    assert known(baseline) == set()


def test_lines_are_told_by_their_numbers_whatever_they_hold() -> None:
    diff = (
        b'--- a/x\n+++ "b/with\\303\\274 \\"quote\\""\n@@ -1 +1,3 @@\n-gone\n'
        b"+one\n+++ b/no-file\n+@@ -1 +9 @@\n@@ -9,0 +20 @@\n+last\r\n"
        b"--- a/y\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-gone\n-too\n"
        b"--- /dev/null\n+++ b/bin\n@@ -0,0 +1,2 @@\n+\0bin\n+text \xff\n"
        b"\\ No newline at end of file\n"
    )
    assert list(added_lines(diff)) == [
        ('withü "quote"', 1, "one"),
        ('withü "quote"', 2, "++ b/no-file"),
        ('withü "quote"', 3, "@@ -1 +9 @@"),
        ('withü "quote"', 20, "last\r"),
        ("bin", 2, "text \ufffd"),
    ]


def test_a_refusal_names_places_and_what_to_do() -> None:
    leaks = tuple(Leak(f"f{number}", number, "Private Key") for number in range(1, 13))
    said = explain(leaks)
    assert "f1 line 1: Private Key" in said
    assert "and 2 more" in said
    assert "pragma: allowlist secret" in said
