"""What the end of a command means for its attempt: whose fault it was, in words for a person."""

from __future__ import annotations

import re
import signal

from loom.domain.evidence import FailureClass
from workers.command import Ended
from workers.limits import Limit

_OF_LIMIT = {
    Limit.MEMORY: FailureClass.INFRA,
    Limit.DISK: FailureClass.INFRA,
    Limit.CPU: FailureClass.TIMEOUT,
}
"""Of the other limits it is the command that has to change."""
_MISSING = re.compile(r"No module named|ModuleNotFoundError|Cannot find (module|package)")
_KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}


def blame(
    name: str, ended: Ended, timeout_s: float, soft_timeout_s: float | None
) -> tuple[FailureClass, str] | None:
    """The class and the reason of a command's failure; None if it ended well.

    name: of its step.
    """
    what = f"the {name} command"
    if ended.limit:
        return _OF_LIMIT.get(Limit(ended.limit), FailureClass.WORK), f"{what}: {ended.words}"
    if ended.timed_out:
        words = f"did not end in {timeout_s:g} s"
        if ended.exit_code is not None and soft_timeout_s is not None:
            words = f"was asked to stop after {soft_timeout_s:g} s, and {how(ended)}"
        return FailureClass.TIMEOUT, f"{what} {words}"
    if ended.exit_code == 0:
        return None
    if ended.exit_code in _KILLED:
        # Nothing of ours sent it: the kernel was out of memory, or an operator stepped in.
        why = f"was killed from outside (signal 9), as for want of memory: {last(ended)}"
        return FailureClass.INFRA, f"{what} {why}"
    return FailureClass.WORK, f"{what} {how(ended)}: {last(ended)}"


def advice(reason: str, project_id: str) -> str:
    """What to do where a command misses what no step may fetch; empty where that is not known."""
    if not _MISSING.search(reason):
        return ""
    return (
        "; the project allows no network, so what the agent's machine lacks is missing: "
        f"`loom project set {project_id} --network prepare` lets prepare steps fetch it"
    )


def how(ended: Ended) -> str:
    """How it ended, after the name of what did."""
    if ended.exit_code is not None and ended.exit_code < 0:
        return f"was killed by signal {-ended.exit_code}"
    return f"ended with exit code {ended.exit_code}"


def last(ended: Ended) -> str:
    """The last line of what it said."""
    return (ended.output.strip() or "it said nothing").splitlines()[-1][:500]
