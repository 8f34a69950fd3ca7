"""What git's words mean when a repository cannot be had or written: a class, and advice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from loom.domain.credential import redact
from loom.domain.evidence import FailureClass
from loom.domain.gitnames import repository_fault
from workers.command import Ended

_WORK, _INFRA = FailureClass.WORK, FailureClass.INFRA


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why it did not work. words: what happened and what to do, for a person.

    certain: the other side, or this machine, said so; else a cache may as well be at fault.
    """

    failure_class: FailureClass
    words: str
    certain: bool = True


# The first that is found counts. WORK: the project's setting is at fault, and trying again is idle.
_MEANINGS: tuple[tuple[str, FailureClass, str], ...] = (
    (
        r"No space left on device|Out of diskspace|Disk quota exceeded",
        _INFRA,
        "the agent's disk is full: make room, or lower LOOM_AGENT_MIRRORS_MB",
    ),
    (
        r"transport '[^']*' not allowed",
        _WORK,
        "its protocol is not allowed: see the project's rules (protocols)",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        _WORK,
        "its host shows another key than the one that is known: if that is right, set the "
        "project's credential again with --known-hosts",
    ),
    (
        r"Authentication failed|could not read (Username|Password)|Permission denied \(|"
        r"HTTP 40[13]|returned error: 40[13]|HTTP Basic: Access denied|"
        r"insufficient permission|Load key .*: (Permission denied|error in libcrypto|invalid)",
        _WORK,
        "it refuses the agent's credential: see `loom project credential show`",
    ),
    (
        r"[Rr]epository ('[^']*' )?not found|returned error: 404|"
        r"does not appear to be a git repository|repository '[^']*' does not exist",
        _WORK,
        "there is no such repository, or none that the agent may see: correct the project's "
        "address, or give it a credential (`loom project credential set`)",
    ),
    (
        r"error: object [0-9a-f]+: |fsck error in pack",
        _WORK,
        "it holds an object that git takes for broken or malicious",
    ),
    (r"mismatched algorithms", _WORK, "it uses SHA-256 object names, which agents cannot work on"),
    (
        r"[Cc]ould not resolve host|Connection (refused|timed out|reset|closed)|unable to access|"
        r"Failed to connect|Network is unreachable|No route to host|Operation timed out|"
        r"returned error: (429|5\d\d)|remote end hung up|early EOF|Could not read from remote|"
        r"RPC failed|kex_exchange_identification|Temporary failure in name resolution",
        _INFRA,
        "it cannot be reached",
    ),
)


_TELLING = ("fatal:", "error:", "ERROR:", "remote: ", "!\t")


def of(ended: Ended) -> Refusal:
    """What it means that git ended like that."""
    if ended.timed_out:
        return Refusal(_INFRA, f"git did not end in {ended.duration_s:.0f} s")
    if ended.cancelled:
        return Refusal(_INFRA, "git was stopped")
    for pattern, failure_class, meaning in _MEANINGS:
        if found := re.search(pattern, ended.output):
            said = _line(ended.output, found.start())
            return Refusal(failure_class, f"{meaning}. git says: {said}")
    return Refusal(_INFRA, last_words(ended), certain=False)


def _line(text: str, at: int) -> str:
    begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
    return " ".join(text[begin : end if end >= 0 else None].split())[:500]


def protocol_of(repository: str) -> str:
    """The protocol by which git would fetch it: file, https, ssh or another one's name."""
    if repository.startswith("/"):
        return "file"
    scheme, found, _ = repository.partition("://")
    return scheme.lower() if found else "ssh"


def of_address(repository: str, protocols: tuple[str, ...]) -> str:
    """Why git may not be pointed there under these rules; empty if it may."""
    if fault := repository_fault(repository):
        return f"the address {redact(repository)!r} {fault}"
    if (protocol := protocol_of(repository)) not in protocols:
        allowed = ", ".join(protocols) or "none"
        return f"{repository} is reached by {protocol}; the project's rules allow: {allowed}"
    return ""


def of_path(repository: str) -> str:
    """Why a repository on this machine is none; empty if it may be one, or is elsewhere."""
    if protocol_of(repository) == "file" and not Path(repository).exists():
        return f"{repository} does not exist on the agent's machine"
    return ""


def words(ended: Ended) -> str:
    """What the command said, for a reason: its end."""
    if ended.timed_out:
        return f"it did not end in {ended.duration_s:.0f} s"
    return ended.output.strip()[-1500:] or "it said nothing"


def last_words(ended: Ended) -> str:
    """The line of what it said that tells the fault, else the last."""
    lines = words(ended).splitlines()
    telling = [
        line for line in lines if line.startswith(("fatal:", "error:", "ERROR:", "remote: "))
    ]
    return " ".join((telling or lines)[-1].split())[:500]
