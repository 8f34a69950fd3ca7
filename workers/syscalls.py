"""What a command in the sandbox may not ask of the kernel: a seccomp filter, as bwrap takes it.

Namespaces do not cover everything. Left out of them are the kernel's keyrings and its log, sockets
of a virtual machine (vsock), and interfaces that have often been the way out of a container. A
memfd's memory belongs to no process, so that it could not be held to a limit. What a refused call
answers is what a kernel without it would, so that programs fall back.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_ABSENT, _FORBIDDEN = errno.ENOSYS, errno.EPERM
_ANSWERS: Mapping[str, int] = {
    "add_key": _ABSENT,
    "bpf": _FORBIDDEN,
    "fsconfig": _ABSENT,
    "fsmount": _ABSENT,
    "fsopen": _ABSENT,
    "fspick": _ABSENT,
    "init_module": _FORBIDDEN,
    "io_uring_enter": _ABSENT,
    "io_uring_register": _ABSENT,
    "io_uring_setup": _ABSENT,
    "kexec_load": _FORBIDDEN,
    "keyctl": _ABSENT,
    "memfd_create": _ABSENT,
    "memfd_secret": _ABSENT,
    "mount": _FORBIDDEN,
    "mount_setattr": _ABSENT,
    "move_mount": _ABSENT,
    "open_by_handle_at": _FORBIDDEN,
    "open_tree": _ABSENT,
    "perf_event_open": _FORBIDDEN,
    "pivot_root": _FORBIDDEN,
    "quotactl": _FORBIDDEN,
    "request_key": _ABSENT,
    "setns": _FORBIDDEN,
    "syslog": _FORBIDDEN,
    "umount2": _FORBIDDEN,
    "unshare": _FORBIDDEN,
    "userfaultfd": _FORBIDDEN,
}
"""The refused calls, and what each answers."""

_SINCE_424 = {
    **{"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428},
    **{"move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
    **{"mount_setattr": 442, "memfd_secret": 447},
}
"""From 424 on a call has one number on every machine (asm-generic/unistd.h)."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """audit: AUDIT_ARCH_* of linux/audit.h. numbers: of the calls, from asm/unistd.h."""

    audit: int
    numbers: Mapping[str, int]


_MACHINES: Mapping[str, _Machine] = {
    "x86_64": _Machine(
        0xC000003E,
        _SINCE_424
        | {
            **{"ioctl": 16, "socket": 41, "syslog": 103, "pivot_root": 155, "mount": 165},
            **{"umount2": 166, "init_module": 175, "quotactl": 179, "kexec_load": 246},
            **{"add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272},
            **{"perf_event_open": 298, "open_by_handle_at": 304, "setns": 308},
            **{"memfd_create": 319, "bpf": 321, "userfaultfd": 323},
        },
    ),
    "aarch64": _Machine(
        0xC00000B7,
        _SINCE_424
        | {
            **{"ioctl": 29, "umount2": 39, "mount": 40, "pivot_root": 41, "quotactl": 60},
            **{"unshare": 97, "kexec_load": 104, "init_module": 105, "syslog": 116},
            **{"socket": 198, "add_key": 217, "request_key": 218, "keyctl": 219},
            **{"perf_event_open": 241, "open_by_handle_at": 265, "setns": 268},
            **{"memfd_create": 279, "bpf": 280, "userfaultfd": 282},
        },
    ),
}

_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: of these a network namespace has its own."""
_TERMINAL = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX, which type into a terminal."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
"""Offsets in seccomp_data; of an argument the lower half, on a little-endian machine."""
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000
"""Numbers from here on are a second set of the same calls on x86_64."""


def known(machine: str = "") -> bool:
    """Whether there is a filter for the machine; this one unless it is named."""
    return (machine or platform.machine()) in _MACHINES


def filter_for(machine: str = "") -> bytes:
    """The filter as an array of struct sock_filter; raises KeyError where none is known.

    A process of another architecture than the machine's own is killed at its first call.
    """
    this = _MACHINES[machine or platform.machine()]
    program = [
        *(_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, this.audit, 1, 0), _step(_RETURN, _KILL)),
        *(_step(_LOAD, _NUMBER), _step(_AT_LEAST, _X32, 0, 1), _error(_ABSENT)),
    ]
    for name, answer in _ANSWERS.items():
        program += [_step(_EQUAL, this.numbers[name], 0, 1), _error(answer)]
    program += _unless(this.numbers["socket"], _FIRST, _FAMILIES, errno.EAFNOSUPPORT)
    program += _if(this.numbers["ioctl"], _SECOND, _TERMINAL, _FORBIDDEN)
    return b"".join([*program, _step(_RETURN, _ALLOW)])


def _unless(number: int, argument: int, allowed: tuple[int, ...], answer: int) -> list[bytes]:
    """Of this call, refuse what has none of these arguments; allow the rest of it."""
    count = len(allowed)
    tests = [_step(_EQUAL, value, count - i, 0) for i, value in enumerate(allowed)]
    then = [_step(_LOAD, argument), *tests, _error(answer), _step(_RETURN, _ALLOW)]
    return [_step(_EQUAL, number, 0, len(then)), *then]


def _if(number: int, argument: int, refused: tuple[int, ...], answer: int) -> list[bytes]:
    """Of this call, refuse what has one of these arguments; allow the rest of it."""
    count = len(refused)
    tests = [_step(_EQUAL, value, count - i, 0) for i, value in enumerate(refused)]
    then = [_step(_LOAD, argument), *tests, _step(_RETURN, _ALLOW), _error(answer)]
    return [_step(_EQUAL, number, 0, len(then)), *then]


def _error(number: int) -> bytes:
    return _step(_RETURN, _ERROR | number)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
