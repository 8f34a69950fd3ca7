"""Evidence as messages of the contract, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable

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
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import evidence_pb2 as evidence

_KINDS = {kind.value: kind for kind in StepKind}


def steps_to_pb(steps: Iterable[Step]) -> list[pb.Step]:
    """What ran."""
    return [
        pb.Step(
            name=s.name,
            argv=s.argv,
            exit_code=s.exit_code,
            duration_s=s.duration_s,
            output_tail=s.output_tail,
            kind=s.kind.value,
            advisory=s.advisory,
            tests=_tests_to_pb(s.tests) if s.tests else None,
            findings=[
                evidence.Finding(
                    tool=f.tool, file=f.file, line=f.line, rule=f.rule, message=f.message
                )
                for f in s.findings
            ],
            log=_artifact_to_pb(s.log) if s.log else None,
        )
        for s in steps
    ]


def steps_from_pb(steps: Iterable[pb.Step]) -> tuple[Step, ...]:
    """What ran; a step of no known kind is taken for what its name says."""
    return tuple(
        Step(
            name=s.name,
            argv=tuple(s.argv),
            exit_code=s.exit_code if s.HasField("exit_code") else None,
            duration_s=s.duration_s,
            output_tail=s.output_tail,
            kind=_KINDS.get(s.kind),  # type: ignore[arg-type]  # None: as its name says
            advisory=s.advisory,
            tests=_tests_from_pb(s.tests) if s.HasField("tests") else None,
            findings=tuple(Finding(f.tool, f.file, f.line, f.rule, f.message) for f in s.findings),
            log=_artifact_from_pb(s.log) if s.HasField("log") else None,
        )
        for s in steps
    )


def commits_to_pb(commits: Iterable[Commit]) -> list[pb.Commitish]:
    """Pushed commits."""
    return [pb.Commitish(sha=c.sha, branch=c.branch) for c in commits]


def commits_from_pb(commits: Iterable[pb.Commitish]) -> tuple[Commit, ...]:
    """Pushed commits."""
    return tuple(Commit(c.sha, c.branch) for c in commits)


def artifacts_to_pb(artifacts: Iterable[Artifact]) -> list[evidence.Artifact]:
    """Kept files."""
    return [_artifact_to_pb(artifact) for artifact in artifacts]


def artifacts_from_pb(artifacts: Iterable[evidence.Artifact]) -> tuple[Artifact, ...]:
    """Kept files."""
    return tuple(_artifact_from_pb(artifact) for artifact in artifacts)


def sub_beads_to_pb(beads: Iterable[SubBead]) -> list[evidence.SubBead]:
    """Beads that are to be filed."""
    return [
        evidence.SubBead(
            title=b.title,
            description=b.description,
            context=json.dumps(dict(b.context)),
            priority=b.priority,
        )
        for b in beads
    ]


def sub_beads_from_pb(beads: Iterable[evidence.SubBead]) -> tuple[SubBead, ...]:
    """Beads that are to be filed."""
    return tuple(
        SubBead(b.title, b.description, json.loads(b.context or "{}"), b.priority) for b in beads
    )


def _tests_to_pb(tests: TestReport) -> evidence.TestReport:
    return evidence.TestReport(
        format=tests.format,
        total=tests.total,
        passed=tests.passed,
        failed=tests.failed,
        skipped=tests.skipped,
        failures=[evidence.TestFailure(name=f.name, message=f.message) for f in tests.failures],
    )


def _tests_from_pb(tests: evidence.TestReport) -> TestReport:
    return TestReport(
        format=tests.format,
        total=tests.total,
        passed=tests.passed,
        failed=tests.failed,
        skipped=tests.skipped,
        failures=tuple(TestFailure(f.name, f.message) for f in tests.failures),
    )


def _artifact_to_pb(artifact: Artifact) -> evidence.Artifact:
    return evidence.Artifact(
        name=artifact.name,
        sha256=artifact.sha256,
        size=artifact.size,
        media_type=artifact.media_type,
    )


def _artifact_from_pb(artifact: evidence.Artifact) -> Artifact:
    return Artifact(artifact.name, artifact.sha256, artifact.size, artifact.media_type)
