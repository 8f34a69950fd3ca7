"""What runs below a process, and what a workspace holds, as the kernel tells it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from loom.domain.rules import Limits
from workers import crowd
from workers.crowd import Crowd
from workers.limits import MIB, Limit
from workers.watch import Watch


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
