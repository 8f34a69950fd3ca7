"""How the evidence of an attempt is printed for people."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Sequence

import click
from rich.markup import escape

from loom.cli import output
from loom.domain.bead import Attempt
from loom.domain.evidence import Finding, Step, TestReport

SHOWN = 10
"""Failing tests and findings of one step; all of them are in the JSON."""
LINE_CHARS = 160
_STEERING = frozenset({"Cc", "Cf", "Cs"})
"""Unicode's classes of control and format characters, the latter turning text around."""


def show(attempt: Attempt, *, outputs: bool = True) -> None:
    """Print an attempt. outputs: the end of the output of each step that failed, too."""
    failure = f" ({attempt.failure_class.value})" if attempt.failure_class else ""
    reason = f": {escape(attempt.reason)}" if attempt.reason else ""
    output.console().print(
        f"[bold]attempt {attempt.epoch}[/] {output.coloured(attempt.outcome)}{failure} by "
        f"{escape(attempt.agent_id)}, {output.age(attempt.claimed_at)} ago{reason}"
    )
    if attempt.steps:
        headings = ("step", "kind", "exit", "seconds", "tests", "findings", "command")
        output.table(headings, map(_row, attempt.steps))
    for step in attempt.steps:
        _reported(step)
        if outputs and not step.passed and step.output_tail:
            click.echo(f"\nThe end of the output of {_plain(step.name)}:")
            click.echo(_plain(step.output_tail.rstrip()))
    if attempt.artifacts:
        click.echo("\nArtifacts:")
        for kept in attempt.artifacts:
            click.echo(f"  {_plain(kept.name)} ({kept.size} bytes, {kept.sha256[:12]})")
    if attempt.notes:
        click.echo(f"\nNotes:\n{_plain(attempt.notes.rstrip())}")


def counted(tests: TestReport | None) -> str:
    """The tests in words: 12 passed, 1 failed."""
    if tests is None:
        return ""
    if not tests.total:
        return "none found"
    parts = (("passed", tests.passed), ("failed", tests.failed), ("skipped", tests.skipped))
    return ", ".join(f"{many} {what}" for what, many in parts if many)


def _row(step: Step) -> tuple[str, ...]:
    return (
        escape(step.name),
        f"{step.kind.value}{', advisory' if step.advisory else ''}",
        "" if step.exit_code is None else str(step.exit_code),
        f"{step.duration_s:.2f}",
        counted(step.tests),
        str(len(step.findings) or ""),
        escape(shlex.join(step.argv)),
    )


def _reported(step: Step) -> None:
    if step.tests and step.tests.failed:
        click.echo(f"\nTests of {step.name} that failed:")
        failures = [
            f"{each.name}: {first}" if (first := _first_line(each.message)) else each.name
            for each in step.tests.failures
        ]
        _list(failures, step.tests.failed)
    if step.findings:
        click.echo(f"\nFindings of {step.name}:")
        _list([_place(each) for each in step.findings], len(step.findings))


def _list(lines: Sequence[str], total: int) -> None:
    for line in lines[:SHOWN]:
        click.echo(f"  {_plain(line[:LINE_CHARS])}")
    if total > min(SHOWN, len(lines)):
        click.echo(f"  … and {total - min(SHOWN, len(lines))} more")


def _place(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    return " ".join(filter(None, (place, finding.rule, _first_line(finding.message))))


def _plain(text: str) -> str:
    """The text without what could steer a terminal: a command wrote it that nobody trusts."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _STEERING)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
