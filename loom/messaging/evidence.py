"""Evidence as JSON, and back: one form in messages, in the ledger and in the HTTP API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from loom.domain.evidence import (
    Artifact,
    Commit,
    Finding,
    Step,
    StepKind,
    SubBead,
    TestFailure,
    TestReport,
)

Document = Mapping[str, Any]


def steps_to_json(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """What ran."""
    return [_step_to_json(step) for step in steps]


def steps_from_json(steps: Iterable[Document]) -> tuple[Step, ...]:
    """What ran."""
    return tuple(_step_from_json(step) for step in steps)


def commits_to_json(commits: Iterable[Commit]) -> list[dict[str, Any]]:
    """Pushed commits."""
    return [{"sha": commit.sha, "branch": commit.branch} for commit in commits]


def commits_from_json(commits: Iterable[Document]) -> tuple[Commit, ...]:
    """Pushed commits."""
    return tuple(Commit(commit["sha"], commit["branch"]) for commit in commits)


def artifacts_to_json(artifacts: Iterable[Artifact]) -> list[dict[str, Any]]:
    """Kept files."""
    return [_artifact_to_json(artifact) for artifact in artifacts]


def artifacts_from_json(artifacts: Iterable[Document]) -> tuple[Artifact, ...]:
    """Kept files."""
    return tuple(_artifact_from_json(artifact) for artifact in artifacts)


def sub_beads_to_json(beads: Iterable[SubBead]) -> list[dict[str, Any]]:
    """Beads that are to be filed."""
    return [
        {
            "title": bead.title,
            "description": bead.description,
            "context": dict(bead.context),
            "priority": bead.priority,
        }
        for bead in beads
    ]


def sub_beads_from_json(beads: Iterable[Document]) -> tuple[SubBead, ...]:
    """Beads that are to be filed."""
    return tuple(
        SubBead(bead["title"], bead["description"], bead["context"], bead["priority"])
        for bead in beads
    )


def _step_to_json(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.kind.value,
        "argv": list(step.argv),
        "exit_code": step.exit_code,
        "duration_s": step.duration_s,
        "advisory": step.advisory,
        "tests": _tests_to_json(step.tests) if step.tests else None,
        "findings": [asdict(finding) for finding in step.findings],
        "output_tail": step.output_tail,
        "log": _artifact_to_json(step.log) if step.log else None,
    }


def _step_from_json(step: Document) -> Step:
    """A step that was kept before it had a kind, a report or a log has none."""
    tests, log, kind = step.get("tests"), step.get("log"), step.get("kind")
    return Step(
        name=step["name"],
        argv=tuple(step["argv"]),
        exit_code=step["exit_code"],
        duration_s=step["duration_s"],
        output_tail=step["output_tail"],
        kind=StepKind(kind) if kind else None,  # type: ignore[arg-type]  # None: as its name says
        advisory=step.get("advisory", False),
        tests=_tests_from_json(tests) if tests else None,
        findings=tuple(
            Finding(f["tool"], f["file"], f["line"], f["rule"], f["message"])
            for f in step.get("findings", ())
        ),
        log=_artifact_from_json(log) if log else None,
    )


def _tests_to_json(tests: TestReport) -> dict[str, Any]:
    return {
        "format": tests.format,
        "total": tests.total,
        "passed": tests.passed,
        "failed": tests.failed,
        "skipped": tests.skipped,
        "failures": [{"name": f.name, "message": f.message} for f in tests.failures],
    }


def _tests_from_json(tests: Document) -> TestReport:
    return TestReport(
        format=tests["format"],
        total=tests["total"],
        passed=tests["passed"],
        failed=tests["failed"],
        skipped=tests["skipped"],
        failures=tuple(TestFailure(f["name"], f["message"]) for f in tests["failures"]),
    )


def _artifact_to_json(artifact: Artifact) -> dict[str, Any]:
    return asdict(artifact)


def _artifact_from_json(artifact: Document) -> Artifact:
    return Artifact(artifact["name"], artifact["sha256"], artifact["size"], artifact["media_type"])
