"""Work by `command`: the project's own coding agent or script.

Which command that is, its project's rules say and no bead: it gets credentials that nobody who only
files beads should be able to read.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from loom.domain import placeholders
from loom.domain.evidence import FailureClass
from loom.domain.project import Project
from loom.errors import Invalid
from workers.ways import bead_file, command_report
from workers.ways.command_report import CommandReport
from workers.ways.files import Files
from workers.ways.way import Bench, Way, WorkFailed

NAME = "command"
BEAD, REPORT = "bead.json", "report.json"
SHOWN_PATHS = 5


class Command(Way):
    """Runs the project's rules.command."""

    def check(self, context: Mapping[str, Any], project: Project) -> None:
        """Raise Invalid if the project has no command that can be run, or the bead has one."""
        if NAME in context:
            raise Invalid(
                "context.command: which command works on beads is said by the project alone, by "
                "rules.command; a bead brings commands of its own as actions (run_command)"
            )
        if not project.rules.command:
            raise Invalid(
                f"the project {project.id} has no command to work on beads: set its rules.command"
            )
        placeholders.check(project.rules.command)

    def work(self, bench: Bench) -> None:
        """Hand the bead over, run the command, and do as its report says."""
        # A folder of its own, as earlier commands may have left anything in the exchange.
        folder = Path(tempfile.mkdtemp(prefix="bead-", dir=bench.exchange))
        files, values = Files(folder), _values(bench, folder)
        told = bead_file.document(
            bench.bead, bench.project, bench.attempt, bench.previous,
            checkout=values["checkout"], report_file=values["report_file"],
        )  # fmt: skip
        files.write(BEAD, json.dumps(told, indent=2).encode())
        argv = placeholders.fill(bench.project.rules.command, values)
        try:
            bench.run(NAME, argv, environment={**bench.credentials, **_environment(bench, values)})
        except WorkFailed as failed:
            _give_up(bench, files, failed)
        try:
            report = command_report.read(files, REPORT)
        except Invalid as fault:
            raise WorkFailed(FailureClass.WORK, fault.detail) from fault
        _follow(bench, report or CommandReport())


def _values(bench: Bench, folder: Path) -> dict[str, str]:
    return {
        "bead_id": bench.bead.id,
        "project_id": bench.project.id,
        "bead_file": str(folder / BEAD),
        "report_file": str(folder / REPORT),
        "checkout": str(bench.checkout),
    }


def _environment(bench: Bench, values: Mapping[str, str]) -> dict[str, str]:
    told = {f"LOOM_{name.upper()}": value for name, value in values.items()}
    return told | {"LOOM_IDEMPOTENCY_KEY": bead_file.idempotency_key(bench.bead)}


def _give_up(bench: Bench, files: Files, failed: WorkFailed) -> NoReturn:
    """The command failed: its own words on that come before the end of its output."""
    try:
        report = command_report.read(files, REPORT)
    except Invalid:
        raise failed from None
    if report and report.notes:
        bench.note(report.notes)
    exit_code = failed.step.exit_code if failed.step else None
    words = failed.reason
    if report and report.reason:
        words = f"the command ended with exit code {exit_code}, saying: {report.reason}"
    kind = FailureClass.INFRA if exit_code == os.EX_TEMPFAIL else failed.failure_class
    raise WorkFailed(kind, words, failed.step) from failed


def _follow(bench: Bench, report: CommandReport) -> None:
    if report.notes:
        bench.note(report.notes)
    if report.outcome == "failed":
        reason = report.reason or "it gives no reason"
        raise WorkFailed(FailureClass.WORK, f"the command reports that it failed: {reason}")
    changed = bench.changed()
    if report.outcome == "no_change" and changed:
        shown = ", ".join(changed[:SHOWN_PATHS]) + (", …" if len(changed) > SHOWN_PATHS else "")
        raise WorkFailed(
            FailureClass.WORK,
            f"the command reports no_change, but the checkout did change: {shown}",
        )
    if report.outcome == "done" and not changed:
        raise WorkFailed(
            FailureClass.WORK,
            "the command ended well and changed nothing: if nothing has to be changed, it reports "
            'the outcome "no_change"',
        )
    if report.commit_message.strip():
        bench.describe_commit(report.commit_message)
    for bead in report.sub_beads:
        bench.file_bead(bead.sub_bead())
