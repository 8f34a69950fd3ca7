"""A command: what it gets, what is kept of it, and that it ends with all its kin."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from workers import command
from workers.command import CANNOT_RUN, TAIL_BYTES, Ended, Leash

PATIENCE_S = 30.0
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def run(
    *argv: str,
    cwd: Path,
    timeout_s: float = PATIENCE_S,
    leash: Leash | None = None,
    stdin: bytes = b"",
    environment: Mapping[str, str] = ENVIRONMENT,
    soft_timeout_s: float | None = None,
) -> Ended:
    return command.run(
        argv, cwd=cwd, environment=environment, timeout_s=timeout_s, leash=leash or Leash(),
        stdin=stdin, soft_timeout_s=soft_timeout_s,
    )  # fmt: skip


def test_the_exit_code_and_both_streams_are_kept(tmp_path: Path) -> None:
    ended = run("sh", "-c", "echo out; echo err >&2; exit 3", cwd=tmp_path)
    assert (ended.exit_code, ended.output) == (3, "out\nerr\n")


def test_a_command_runs_in_its_folder_with_what_it_is_given(tmp_path: Path) -> None:
    ended = run("sh", "-c", "pwd; cat", cwd=tmp_path, stdin=b"given\n" * 100_000)
    assert ended.output.endswith("given\n")
    assert len(ended.output) > 60_000


def test_a_command_sees_only_the_environment_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOM_BROKER_PASSWORD", "secret")
    ended = run("env", cwd=tmp_path, environment=ENVIRONMENT | {"LANG": "C.UTF-8"})
    assert sorted(ended.output.split()) == ["LANG=C.UTF-8", f"PATH={ENVIRONMENT['PATH']}"]


def test_of_a_long_output_the_end_is_kept(tmp_path: Path) -> None:
    ended = run("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end", cwd=tmp_path)
    assert ended.output.endswith("xx\nend\n")
    assert len(ended.output) < TAIL_BYTES + 100
    assert "bytes before this" in ended.output


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    assert run("printf", r"a\377b", cwd=tmp_path).output == "a\ufffdb"


def test_a_command_that_is_killed_says_by_what(tmp_path: Path) -> None:
    assert run("sh", "-c", "kill -9 $$", cwd=tmp_path).exit_code == -9


@pytest.mark.parametrize("argv", [("no-such-program",), ("/etc/passwd",), ("echo", "a\0b")])
def test_a_command_that_cannot_be_started_is_an_ending(
    tmp_path: Path, argv: tuple[str, ...]
) -> None:
    ended = run(*argv, cwd=tmp_path)
    assert ended.exit_code == CANNOT_RUN
    assert ended.output.startswith(f"cannot run {argv[0]!r}: ")


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    with _kin(tmp_path) as (argv, all_gone):
        ended = run(*argv, cwd=tmp_path, timeout_s=0.3)
        assert (ended.exit_code, ended.timed_out) == (None, True)
        all_gone()


def test_children_that_a_command_leaves_behind_end_with_it(tmp_path: Path) -> None:
    with _kin(tmp_path, wait=False) as (argv, all_gone):
        assert run(*argv, cwd=tmp_path).exit_code == 0
        all_gone()


def test_a_child_that_holds_the_output_open_does_not_hold_up_the_end(tmp_path: Path) -> None:
    # setsid takes it out of the group, so only the workspace's sweep can find it.
    ended = run("sh", "-c", "setsid sleep 5 & echo done", cwd=tmp_path)
    assert (ended.exit_code, ended.output) == (0, "done\n")


def test_a_command_that_closes_its_output_is_still_waited_for(tmp_path: Path) -> None:
    ended = run("sh", "-c", "exec >&- 2>&-; sleep 0.05; exit 4", cwd=tmp_path)
    assert ended.exit_code == 4


def test_pulling_the_leash_ends_the_running_command(tmp_path: Path) -> None:
    leash = Leash()
    with _kin(tmp_path) as (argv, all_gone):
        threading.Timer(0.1, leash.pull).start()
        ended = run(*argv, cwd=tmp_path, leash=leash)
        assert (ended.exit_code, ended.cancelled, ended.timed_out) == (None, True, False)
        all_gone()


def test_nothing_runs_on_a_leash_that_was_pulled(tmp_path: Path) -> None:
    leash = Leash()
    leash.pull()
    assert run("sleep", "60", cwd=tmp_path, leash=leash).cancelled


class _kin:
    """A command with a child in the background; all_gone returns once neither is there."""

    def __init__(self, folder: Path, *, wait: bool = True) -> None:
        self._fifo = folder / "kin"
        script = f"exec 9>{self._fifo}; sleep 600 & {'wait' if wait else 'exit 0'}"
        self._argv = ("sh", "-c", script)

    def __enter__(self) -> tuple[tuple[str, ...], Callable[[], None]]:
        os.mkfifo(self._fifo)
        self._reader = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._reader, True)
        return self._argv, self._all_gone

    def __exit__(self, *_error: object) -> None:
        os.close(self._reader)

    def _all_gone(self) -> None:
        # The end of the pipe comes when its last writer has ended.
        assert os.read(self._reader, 1) == b""


def test_a_command_that_is_asked_to_stop_may_report_first(tmp_path: Path) -> None:
    script = "trap 'echo half done; exit 3' TERM; echo begun; while :; do sleep 0.05; done"
    ended = run("sh", "-c", script, cwd=tmp_path, soft_timeout_s=0.5)
    assert (ended.timed_out, ended.exit_code) == (True, 3)
    assert ended.output.startswith("begun\n")
    # The shell may say of its sleep, which was asked too, that it was terminated.
    assert "half done\n" in ended.output


def test_a_command_that_does_not_stop_when_asked_is_killed_with_all_its_kin(
    tmp_path: Path,
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script = f"trap '' TERM; exec 9>{fifo}; sleep 600 & wait; wait; sleep 600"
    ended = run("sh", "-c", script, cwd=tmp_path, soft_timeout_s=0.5, timeout_s=0.6)
    assert (ended.timed_out, ended.exit_code) == (True, None)
    # The end of the file comes once nobody has it open for writing.
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_command_that_ends_before_it_is_asked_to_is_in_time(tmp_path: Path) -> None:
    ended = run("true", cwd=tmp_path, soft_timeout_s=PATIENCE_S / 2)
    assert (ended.timed_out, ended.exit_code) == (False, 0)
