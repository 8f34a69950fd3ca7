"""A command's sandbox: by bubblewrap it sees its workspace, the system's programs, and no more.

It has namespaces of its own for users, mounts, processes, IPC, the host name, cgroups and, unless
it may use it, the network; no capability, and no way to gain one; a filter before the kernel.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO

from loom.domain.rules import Limits
from loom.errors import Invalid, Unavailable
from workers import syscalls, toolchain
from workers.limits import MIB

OLDEST = (0, 8)
"""The bubblewrap that first could keep commands from making user namespaces."""
ID = 1000
"""The uid and gid that a command sees as its own, whoever the agent is."""

_BUBBLEWRAP_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""Of bwrap itself, which is outside: a recipe's LD_PRELOAD must not reach it."""

_OF_ETC = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "nsswitch.conf", "localtime"),
    *("timezone", "os-release", "debian_version", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs"),
    *("pki/ca-trust/extracted", "ca-certificates", "ca-certificates.conf", "mime.types", "magic"),
    *("protocols", "services", "ethertypes", "rpc", "terminfo", "inputrc", "bash.bashrc"),
    *("fonts", "java", "maven", "gradle", "perl", "python3", "python3.11", "locale.alias"),
    *("host.conf", "gai.conf", "shells", "skel", "login.defs", "gitconfig"),
)
"""What programs need of /etc; nothing in it is a secret. JDKs are in /etc/java-NN-openjdk."""
_NOT_OF_PROC = ("kcore", "keys", "key-users", "kallsyms", "sched_debug", "timer_list")
"""What /proc shows of the kernel and of others. The rest is read-only: to a root without any
capability /proc/sys stays open otherwise."""
_OF_ETC_WITH_NETWORK = ("resolv.conf", "hosts", "pip.conf", "npmrc")

_USERS = "loom:x:{id}:{id}:Loom:{home}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUPS = "loom:x:{id}:\nnogroup:x:65534:\n"
_HOSTS = "127.0.0.1 localhost loom\n::1 localhost\n"


_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Mode(StrEnum):
    """Where commands run."""

    BUBBLEWRAP = "bubblewrap"
    NONE = "none"
    """As ordinary processes of the agent's user, who can read all that the agent can."""


class SandboxFailed(Unavailable):
    """No sandbox could be made for a command, which did not run."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command in its sandbox, ready to be run.

    options: of bwrap; empty for no sandbox. files: content of files that are made in it. writable:
    the folders that count as its workspace.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    limits: Limits
    writable: tuple[Path, ...]
    options: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def enclosed(self) -> bool:
        """There is a sandbox around it."""
        return bool(self.options)


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


class Sandbox:
    """Makes the sandboxes of an agent's commands. It opens nothing."""

    def __init__(
        self,
        mode: Mode | str,
        path: str,
        readable: Sequence[Path] = (),
        hidden: Sequence[Path] = (),
    ) -> None:
        """path: the PATH of commands, whose programs they can read.

        readable: what else they can. hidden: what a folder of PATH may never bring in with it, as
        the agent's HOME and its workspaces.
        """
        self._mode = Mode(mode)
        self._path, self._readable, self._hidden = path, tuple(readable), tuple(hidden)

    def fault(self) -> str:
        """Why commands cannot be run as the mode asks, and what to do; empty when they can."""
        return fault(self._mode)

    def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        writable: Sequence[Path],
        environment: Mapping[str, str],
        network: bool,
        limits: Limits,
        readable: Sequence[Path] = (),
    ) -> Wrapped:
        """Put the command into a sandbox.

        writable: the folders it may write to, which exist; the first one's disk is the workspace's.
        environment: all of its own. readable: what else it may read, though it lie in a writable
        folder.
        """
        _check(argv, environment, cwd)
        plain = Wrapped(tuple(argv), environment, cwd, limits, tuple(writable))
        if self._mode is Mode.NONE:
            return plain
        home = environment.get("HOME", "/")
        options = (
            *("--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"),
            *("--uid", str(ID), "--gid", str(ID), "--hostname", "loom"),
            *("--die-with-parent", "--new-session"),
            *(("--share-net",) if network else ()),
            *self._system(network),
            *_memory(limits),
            *_bound("--ro-bind", toolchain.readable(self._path, self._hidden)),
            *_bound("--ro-bind", self._readable),
            *_bound("--bind", writable),
            *_bound("--ro-bind", readable),
            *("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"),
            *("--chdir", str(cwd), "--clearenv"),
            *(part for name, value in environment.items() for part in ("--setenv", name, value)),
        )
        files = {
            "/etc/passwd": _USERS.format(id=ID, home=home).encode(),
            "/etc/group": _GROUPS.format(id=ID).encode(),
        }
        if not network:
            files["/etc/hosts"] = _HOSTS.encode()
        return Wrapped(
            plain.argv, environment, cwd, limits, plain.writable, options=options, files=files
        )

    def _system(self, network: bool) -> Iterator[str]:
        """The system's own files."""
        yield from ("--ro-bind", "/usr", "/usr")
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            place = Path("/", name)
            if place.is_symlink():
                yield from ("--symlink", str(place.readlink()), str(place))
            elif place.is_dir():
                yield from ("--ro-bind", str(place), str(place))
        names = [*_OF_ETC, *(path.name for path in Path("/etc").glob("java-*"))]
        for name in [*names, *(_OF_ETC_WITH_NETWORK if network else ())]:
            # What of it is a link out of /etc (resolv.conf) is bound as what it leads to.
            yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def _memory(limits: Limits) -> Iterator[str]:
    """What lies in memory: /proc, /dev, and two folders of a quarter of the limit each."""
    size = str(max(16, limits.memory_mb // 4) * MIB)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for name in _NOT_OF_PROC:
        if Path("/proc", name).exists():
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")
    yield from ("--perms", "1777", "--size", size, "--tmpfs", "/dev/shm")  # noqa: S108
    yield from ("--perms", "1777", "--size", size, "--tmpfs", "/tmp")  # noqa: S108
    yield from ("--dir", "/run", "--dir", "/var", "--symlink", "/tmp", "/var/tmp")  # noqa: S108


def _check(argv: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
    """Raise Invalid for what could be read as something else: bwrap takes NUL-separated words."""
    for part in (*argv, *environment.keys(), *environment.values(), str(cwd)):
        if "\0" in part:
            raise Invalid(f"a NUL byte cannot stand in a command or its environment: {part[:80]!r}")
    for name in environment:
        if not name or "=" in name:
            raise Invalid(f"{name[:80]!r} is no name of an environment variable")
    if not argv or not argv[0]:
        raise Invalid("a command needs a program")


def _bound(option: str, folders: Sequence[Path]) -> Iterator[str]:
    for folder in folders:
        yield from (option, str(folder), str(folder))


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
            _BUBBLEWRAP_ENVIRONMENT,
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
    found = shutil.which("bwrap", path=_BUBBLEWRAP_ENVIRONMENT["PATH"])
    if found is None:
        raise SandboxFailed("bubblewrap is gone from this machine: apt-get install bubblewrap")
    return found


def fault(mode: Mode | str = Mode.BUBBLEWRAP) -> str:
    """Why no sandbox of this mode can be made here, and what to do; empty when it can."""
    if Mode(mode) is Mode.NONE:
        return ""
    otherwise = (
        "; or set LOOM_AGENT_SANDBOX=none to run the commands of your projects as ordinary "
        "processes, if you trust every repository they come from"
    )
    bubblewrap = shutil.which("bwrap", path=_BUBBLEWRAP_ENVIRONMENT["PATH"])
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
    with launching(probe) as launch:
        assert launch.go is not None  # noqa: S101 - the probe is enclosed
        launch.go.write(b"\n")
        code, said = _said(launch.argv, launch.inherited)
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
            env=_BUBBLEWRAP_ENVIRONMENT,
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
