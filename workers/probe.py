"""Whether sandboxes can be made on this machine, and what to do where they cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from loom.domain.rules import Limits
from workers import launch, syscalls
from workers.launch import launching
from workers.sandbox import Mode, Sandbox

OLDEST = (0, 8)
"""The bubblewrap that first could keep commands from making user namespaces."""


def fault(mode: Mode | str = Mode.BUBBLEWRAP) -> str:
    """Why no sandbox of this mode can be made here, and what to do; empty when it can."""
    if Mode(mode) is Mode.NONE:
        return ""
    otherwise = (
        "; or set LOOM_AGENT_SANDBOX=none to run the commands of your projects as ordinary "
        "processes, if you trust every repository they come from"
    )
    bubblewrap = shutil.which("bwrap", path=launch.ENVIRONMENT["PATH"])
    if bubblewrap is None:
        return f"bubblewrap is not installed: apt-get install bubblewrap{otherwise}"
    if not syscalls.known():
        return f"there is no filter of system calls for a {os.uname().machine}{otherwise}"
    version = _said([bubblewrap, "--version"])[1].split()[-1:]
    numbers = tuple(int(part) for part in (version or ["0"])[0].split(".") if part.isdecimal())
    if numbers < OLDEST:
        return (
            f"bubblewrap is {version[0] if version else 'unknown'}, and has to be 0.8 or later"
            + otherwise
        )
    probe = Sandbox(mode, "").wrap(
        ["/bin/true"], cwd=Path("/"), writable=(), environment={}, network=False, limits=Limits()
    )
    with launching(probe) as begun:
        assert begun.go is not None  # noqa: S101 - the probe is enclosed
        begun.go.write(b"\n")
        code, said = _said(begun.argv, begun.inherited)
    if code == 0:
        return ""
    return (
        f"bubblewrap cannot make a sandbox here: {said.strip()[-300:]}. Allow unprivileged user "
        "namespaces: `sysctl user.max_user_namespaces=15000`, where it is known "
        "`sysctl kernel.unprivileged_userns_clone=1`, on Ubuntu "
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container see "
        f"docker/README.md{otherwise}"
    )


def _said(argv: Sequence[str], inherited: Sequence[int] = ()) -> tuple[int, str]:
    try:
        answer = subprocess.run(
            list(argv),
            env=launch.ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=inherited,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return answer.returncode, (answer.stdout + answer.stderr).decode(errors="replace")
