"""Small file systems under a scratch stack's data, so that each can be full by itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

BALLAST = ".loom-drill-ballast"
STEP_BYTES = 1024 * 1024


class Volumes:
    """The tmpfs of one scratch stack. why_not: why there are none; empty if there are."""

    def __init__(self) -> None:
        self.why_not = "no volume was mounted"
        self._mounted: list[Path] = []

    def mount(self, path: Path, size_mb: int) -> None:
        """Mount a tmpfs over the folder, with the folder's owner and mode, if that is allowed."""
        before = path.stat()
        options = f"size={size_mb}m,nosuid,nodev,mode={before.st_mode & 0o777:o}"
        options += f",uid={before.st_uid},gid={before.st_gid}"
        self.unmount_left(path)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "loom-drill", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            self.why_not = f"no tmpfs can be mounted here: {done.stderr.strip()}"
        else:
            self.why_not = ""
            self._mounted.append(path)

    def fill(self, path: Path) -> None:
        """Leave no byte free on the volume that holds the folder."""
        volume = self._volume(path)
        with (volume / BALLAST).open("ab") as ballast:
            size = STEP_BYTES
            while size:
                try:
                    os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), size)
                except OSError:
                    size //= 2

    def relieve(self, path: Path) -> None:
        """Give back what fill() took."""
        (self._volume(path) / BALLAST).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount all; what lies on them is gone."""
        while self._mounted:
            self.unmount_left(self._mounted.pop())

    @staticmethod
    def unmount_left(path: Path) -> None:
        """Unmount what an earlier drill may have left there."""
        while os.path.ismount(path):
            with contextlib.suppress(OSError):
                subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)
                continue
            return

    def _volume(self, path: Path) -> Path:
        return next(volume for volume in self._mounted if path.is_relative_to(volume))
