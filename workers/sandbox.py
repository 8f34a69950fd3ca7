"""A command's sandbox: by bubblewrap it sees its workspace, the system's programs, and no more.

It has namespaces of its own for users, mounts, processes, IPC, the host name, cgroups and, unless
it may use it, the network; no capability, and no way to gain one; a filter before the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from loom.domain.rules import Limits
from loom.errors import Invalid, Unavailable
from workers import toolchain
from workers.limits import MIB

ID = 1000
"""The uid and gid that a command sees as its own, whoever the agent is."""

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
