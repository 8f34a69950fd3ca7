"""The process `postgres` of a stack: makes the cluster where there is none, and becomes the server.

Run as `python -m loom.stack.initdb`, as the user that owns the data. A cluster that was only half
made is thrown away, never started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from loom.errors import LoomError
from loom.stack import binaries, postgres
from loom.stack.home import Home


def make_cluster(programs: binaries.Binaries, home: Home) -> None:
    """Make home's cluster if it has none; it takes its place when it is whole."""
    cluster = home.postgres / "cluster"
    if (cluster / "PG_VERSION").exists():
        return
    draft = home.postgres / "cluster.new"
    if draft.exists():
        shutil.rmtree(draft)
    subprocess.run(
        [
            str(programs.postgres / "initdb"),
            f"--pgdata={draft}",
            f"--username={postgres.SUPERUSER}",
            f"--pwfile={home.etc / 'postgres-superuser'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
        ],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    draft.rename(cluster)


def main() -> None:
    """Become the server, or end the process saying why that failed."""
    home = Home(Path(os.environ["LOOM_HOME"]))
    try:
        programs = binaries.find()
        make_cluster(programs, home)
    except (LoomError, subprocess.CalledProcessError) as error:
        sys.exit(f"postgres_not_started: {error}")
    argv = postgres.server_command(programs, home)
    os.execv(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    main()
