"""A process that the supervisor keeps running, and its text in supervisord.conf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loom.errors import Invalid
from loom.stack.accounts import Account
from loom.stack.home import Home


@dataclass(frozen=True, slots=True)
class Program:
    """One process. digest: of what it read at its start, so that a change restarts it.

    stop_wait_s: seconds that it has for an orderly stop. whole_group: the stop signal goes to its
    children too, for a process that does not pass it on.
    """

    name: str
    argv: Sequence[str]
    account: Account
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_wait_s: int = 15
    whole_group: bool = False
    digest: str = ""
    ends_by_itself: bool = False
    """Whether it stays down after an end with exit code 0; any other end starts it again."""


def render(program: Program, home: Home, *, switching: bool) -> str:
    """The program's section of supervisord.conf."""
    environment = dict(program.environment)
    if program.digest:
        environment["LOOM_CONFIG_DIGEST"] = program.digest
    settings = {
        "command": " ".join(_word(part) for part in program.argv),
        "directory": str(home.run),
        "environment": ",".join(f"{key}={_value(v)}" for key, v in environment.items()),
        "user": program.account.name if switching else "",
        "autostart": "true",
        "autorestart": "unexpected" if program.ends_by_itself else "true",
        # With each failed start the supervisor waits a second longer, and never gives up.
        "startsecs": "2",
        "startretries": "1000000",
        "stopsignal": program.stop_signal,
        "stopwaitsecs": str(program.stop_wait_s),
        "stopasgroup": "true" if program.whole_group else "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        # This one setting the supervisor expands twice.
        "stdout_logfile": _escape(str(home.log(program.name))),
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": "3",
    }
    lines = [f"{key}={_escape(value)}" for key, value in settings.items() if value]
    return f"[program:{program.name}]\n" + "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """The text as one word of a command line."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _value(text: str) -> str:
    """The text as a value of `environment`, where nothing can escape a quote."""
    if '"' in text or "\n" in text:
        raise Invalid(f"a quote or a line break cannot stand in a process's environment: {text!r}")
    return f'"{text}"'


def _escape(text: str) -> str:
    return text.replace("%", "%%")
