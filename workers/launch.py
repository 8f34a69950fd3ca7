"""Starting a command in its sandbox: what is run for it, and the descriptors that go along."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workers import syscalls
from workers.sandbox import SandboxFailed, Wrapped

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""Of bwrap itself, which is outside: a recipe's LD_PRELOAD must not reach it."""
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start for a wrapped command, and how to speak with it.

    told: bwrap writes its state there, as lines of JSON. go: it waits for a byte there before the
    command begins. inherited: descriptors of the process. started: to be called once it runs; from
    then on its end is the end of `told`.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    inherited: Sequence[int] = ()
    told: IO[bytes] | None = None
    go: IO[bytes] | None = None
    started: Callable[[], None] = lambda: None


@contextmanager
def launching(wrapped: Wrapped) -> Iterator[Launch]:
    """What to start for the command, for as long as its descriptors are needed.

    bwrap's options go by a descriptor: an argument list is open to everybody, and is limited.
    """
    if not wrapped.enclosed:
        yield Launch(wrapped.argv, wrapped.environment, wrapped.cwd)
        return
    with ExitStack() as ours, ExitStack() as theirs:
        inherited: list[int] = []

        def inherit(descriptor: int) -> str:
            theirs.callback(os.close, descriptor)
            inherited.append(descriptor)
            return str(descriptor)

        def given(content: bytes) -> str:
            return inherit(memory_file(content))

        told, tell = os.pipe()
        reader = ours.enter_context(os.fdopen(told, "rb", buffering=0))
        wait, go = os.pipe()
        writer = ours.enter_context(os.fdopen(go, "wb", buffering=0))
        options = ["--json-status-fd", inherit(tell), "--block-fd", inherit(wait)]
        options += ["--seccomp", given(syscalls.filter_for())]
        for name, content in wrapped.files.items():
            options += ["--perms", "0444", "--file", given(content), name]
        # The files come first, as / is made read-only at the end of the other options.
        arguments = b"".join(os.fsencode(part) + b"\0" for part in (*options, *wrapped.options))
        yield Launch(
            [_bubblewrap(), "--args", given(arguments), "--", *wrapped.argv],
            ENVIRONMENT,
            Path("/"),
            inherited,
            reader,
            writer,
            theirs.close,
        )


def memory_file(content: bytes) -> int:
    """A descriptor that gives the content, and that nobody can change."""
    descriptor = os.memfd_create("loom", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _bubblewrap() -> str:
    found = shutil.which("bwrap", path=ENVIRONMENT["PATH"])
    if found is None:
        raise SandboxFailed("bubblewrap is gone from this machine: apt-get install bubblewrap")
    return found
