"""The accountant's own counter: every run of a bead's command leaves a line, outside of Loom."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from loom.drill.book import Sort

SCRIPT = '''\
"""Leaves a line for this run, on the disk before anything else happens, and ends as it is told."""
import os, sys, time

ledger, nonce, code, seconds = sys.argv[1:5]
line = "%s %s %d\\n" % (nonce, os.environ.get("LOOM_BEAD_ID", "-"), os.getpid())
file = os.open(ledger, os.O_WRONLY | os.O_APPEND)
os.write(file, line.encode())
os.fsync(file)
time.sleep(float(seconds))
sys.exit(int(code))
'''


class Effects:
    """One file of lines `nonce bead_id pid`, which commands append to."""

    def __init__(self, folder: Path) -> None:
        self._script, self._file = folder / "count.py", folder / "effects"

    def lay_out(self) -> None:
        """Make the script and the file; any user's command may append."""
        self._script.write_text(SCRIPT)
        self._script.chmod(0o755)
        self._file.touch()
        self._file.chmod(0o666)

    def command(self, nonce: str, sort: Sort, seconds: float = 0.0) -> list[str]:
        """The test command of a bead: leaves its line, takes its time, ends as its sort has to."""
        code = "1" if sort is Sort.FAIL else "0"
        return [
            "python3",
            "-S",
            "-E",
            str(self._script),
            str(self._file),
            nonce,
            code,
            f"{seconds:g}",
        ]

    def runs(self) -> Counter[str]:
        """How often the command of each bead began, by the bead's nonce."""
        return Counter(line.split()[0] for line in self._file.read_text().splitlines())
