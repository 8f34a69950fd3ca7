"""Limits: what is over them, in which words, and what the kernel is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loom.domain.rules import Limits
from workers import crowd, limits
from workers.limits import KEPT_FREE_BYTES, MIB, Limit, Usage


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
