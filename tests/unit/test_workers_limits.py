"""Limits: what is over them, in which words, and what the kernel is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from loom.domain.rules import Limits
from workers import crowd, limits
from workers.crowd import Crowd
from workers.limits import KEPT_FREE_BYTES, MIB, Limit, Usage
from workers.watch import Watch


@pytest.mark.parametrize(
    ("usage", "limit"),
    [
        (Usage(memory=101 * MIB), Limit.MEMORY),
        (Usage(tasks=10), Limit.PROCESSES),
        (Usage(longest_cpu_s=3.0), Limit.CPU),
    ],
)
def test_what_is_over_a_limit_is_told_apart(usage: Usage, limit: Limit) -> None:
    hit = limits.judge(usage, Limits(memory_mb=100, processes=10, cpu_s=3))
    assert hit is not None
    assert hit.limit is limit
    assert hit.words


def test_what_is_below_every_limit_goes_on() -> None:
    usage = Usage(tasks=9, memory=100 * MIB, longest_cpu_s=1e6)
    assert limits.judge(usage, Limits(memory_mb=100, processes=10)) is None


def test_a_full_disk_is_told_apart_from_a_full_workspace() -> None:
    room = limits.judge_room(KEPT_FREE_BYTES - 1, 10**6, counts_files=True)
    files = limits.judge_room(KEPT_FREE_BYTES, 10, counts_files=True)
    over = limits.judge_disk(11 * MIB, Limits(disk_mb=10))
    assert room and files and over
    assert "disk of the workspace is full" in room.words
    assert "room for 10 files" in files.words
    assert "workspace holds 11 MB" in over.words
    assert limits.judge_room(KEPT_FREE_BYTES, 10, counts_files=False) is None
    assert limits.judge_disk(10 * MIB, Limits(disk_mb=10)) is None


def test_a_signal_of_the_kernel_names_its_limit() -> None:
    for number, limit in ((24, Limit.CPU), (25, Limit.FILE)):
        hit = limits.by_signal(number, Limits(cpu_s=5))
        assert hit is not None
        assert hit.limit is limit
    assert limits.by_signal(9, Limits(cpu_s=5)) is None
    assert limits.by_signal(24, Limits(cpu_s=0)) is None


def test_a_process_is_read_whatever_its_name_is(tmp_path: Path) -> None:
    fields = "S 7 1 1 0 -1 0 0 0 0 0 300 100 0 0 20 0 5 0 1 4096 25"
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "stat").write_text(f"42 (a) S 1 (b) {fields} 0 0")
    (tmp_path / "43").mkdir()
    (tmp_path / "self").mkdir()
    (one,) = crowd.processes(tmp_path)
    assert (one.pid, one.parent, one.threads) == (42, 7, 5)
    assert one.resident == 25 * os.sysconf("SC_PAGE_SIZE")
    assert one.cpu_s == 400 / os.sysconf("SC_CLK_TCK")


def test_the_descendants_of_a_process_are_found() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo up; wait"], stdout=subprocess.PIPE) as top:
        assert top.stdout is not None
        assert top.stdout.readline() == b"up\n"
        found = crowd.descendants(top.pid)
        assert len(found) == 2
        assert Crowd(top.pid, None).usage(0).tasks == 2
        # As for a sandbox whose root is still the machine's: nobody else's processes are counted.
        machine = Path("/proc", str(top.pid), "root/proc")
        assert Crowd(top.pid, machine).usage(0).tasks == 1
        for process in found:
            os.kill(process.pid, 9)


def test_a_workspace_is_counted_before_the_end_and_at_the_end(tmp_path: Path) -> None:
    watch = Watch(Limits(disk_mb=1), Crowd(os.getpid(), None), [tmp_path])
    try:
        assert watch.finish() is None
        (tmp_path / "a file\nof two lines").write_bytes(b"x" * (2 * MIB))
        hit = watch.finish()
    finally:
        watch.close()
    assert hit is not None
    assert hit.limit is Limit.DISK
