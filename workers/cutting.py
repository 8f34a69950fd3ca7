"""An outcome cut to what one message may hold. What is left out is told; what proves is kept."""

from __future__ import annotations

from dataclasses import replace

from loom.domain.evidence import (
    MAX_ARTIFACTS,
    MAX_FAILURES,
    MAX_FINDINGS,
    MAX_STEPS,
    Artifact,
    Finding,
    Outcome,
    Step,
    StepKind,
    SubBead,
    TestFailure,
    TestReport,
)
from loom.messaging.result import MAX_NAME
from workers import sub_beads

OUTPUT_CHARS = 64 * 1024
STEP_OUTPUT_CHARS = 16 * 1024
ARGUMENTS, ARGUMENT_CHARS = 64, 1024
REASON_CHARS = 4 * 1024
NOTES_CHARS = 32 * 1024
NAME_CHARS, MESSAGE_CHARS = 500, 2_000
LEAST_NAME_CHARS, LEAST_MESSAGE_CHARS = 60, 60
MAX_COUNT = 2**31 - 1


def cut(outcome: Outcome, share: float) -> Outcome:
    """The outcome with each of its texts and lists cut to that share of its limit, 0 to 1.

    The beads it asks for are never cut: those over the limits are refused in the notes.
    """
    beads, refused = sub_beads.admitted(tuple(map(_clean_bead, outcome.sub_beads)))
    steps, left_out = _fewer(outcome.steps, outcome.planned)
    most = max(1, int(MAX_ARTIFACTS * share))
    fit = [a for a in outcome.artifacts if len(a.name) <= MAX_NAME][:most]
    told = list(refused)
    if left_out:
        told.append(f"{left_out} steps that passed are left out")
    if len(outcome.artifacts) > len(fit):
        told.append(f"{len(outcome.artifacts) - len(fit)} more artifacts are left out")
    return replace(
        outcome,
        output=end_of(outcome.output, int(OUTPUT_CHARS * share)),
        reason=clean(outcome.reason)[: int(REASON_CHARS * share)],
        steps=tuple(_step(step, share) for step in steps),
        artifacts=tuple(map(_clean_artifact, fit)),
        notes="\n".join(filter(None, [_begin(outcome.notes, int(NOTES_CHARS * share)), *told])),
        planned=tuple(map(clean, outcome.planned)),
        sub_beads=beads,
    )


def _fewer(steps: tuple[Step, ...], planned: tuple[str, ...]) -> tuple[tuple[Step, ...], int]:
    """At most MAX_STEPS, without some that passed and were not planned; how many are left out."""
    surplus = len(steps) - MAX_STEPS
    if surplus <= 0:
        return steps, 0
    kept: list[Step] = []
    left_out = 0
    for step in steps:
        needed = step.kind is not StepKind.WORK or step.name in planned or not step.passed
        if left_out < surplus and not needed:
            left_out += 1
        else:
            kept.append(step)
    # Even of those that are needed, the last ones tell how it ended.
    return tuple(kept[-MAX_STEPS:]), len(steps) - min(len(kept), MAX_STEPS)


def _step(step: Step, share: float) -> Step:
    most, longest = max(1, int(ARGUMENTS * share)), int(ARGUMENT_CHARS * share)
    argv = [
        argument if len(argument) <= longest else f"{clean(argument)[:longest]}…"
        for argument in step.argv[:most]
    ]
    if len(step.argv) > most:
        argv.append(f"… and {len(step.argv) - most} more arguments")
    return replace(
        step,
        name=clean(step.name),
        argv=tuple(clean(argument) for argument in argv),
        output_tail=end_of(step.output_tail, int(STEP_OUTPUT_CHARS * share)),
        tests=_tests(step.tests, share) if step.tests else None,
        findings=_findings(step.findings, share),
        log=_clean_artifact(step.log) if step.log and len(step.log.name) <= MAX_NAME else None,
    )


def _tests(tests: TestReport, share: float) -> TestReport:
    most = max(1, int(MAX_FAILURES * share))
    return TestReport(
        format=clean(tests.format)[:MAX_NAME],
        total=min(tests.total, MAX_COUNT),
        passed=min(tests.passed, MAX_COUNT),
        failed=min(tests.failed, MAX_COUNT),
        skipped=min(tests.skipped, MAX_COUNT),
        failures=tuple(
            TestFailure(_name(f.name, share), _message(f.message, share))
            for f in tests.failures[:most]
        ),
    )


def _findings(findings: tuple[Finding, ...], share: float) -> tuple[Finding, ...]:
    most = max(1, int(MAX_FINDINGS * share))
    return tuple(
        Finding(
            clean(f.tool)[:MAX_NAME],
            _name(f.file, share),
            min(max(f.line, 0), MAX_COUNT),
            _name(f.rule, share),
            _message(f.message, share),
        )
        for f in findings[:most]
    )


def _name(text: str, share: float) -> str:
    return _begin(text, max(LEAST_NAME_CHARS, int(NAME_CHARS * share)))


def _message(text: str, share: float) -> str:
    return _begin(text, max(LEAST_MESSAGE_CHARS, int(MESSAGE_CHARS * share)))


def _begin(text: str, most: int) -> str:
    text = clean(text)
    return text if len(text) <= most else f"{text[: max(0, most - 1)]}…"


def _clean_artifact(artifact: Artifact) -> Artifact:
    return replace(artifact, name=clean(artifact.name), media_type=clean(artifact.media_type))


def _clean_bead(bead: SubBead) -> SubBead:
    return replace(bead, title=clean(bead.title), description=clean(bead.description))


def end_of(text: str, most: int) -> str:
    """The end of the text, from the beginning of a line where there is one near."""
    text = clean(text)
    if len(text) <= most:
        return text
    end = text[len(text) - most :]
    line = end.find("\n", 0, most // 4)
    return f"[{len(text) - len(end) + line + 1} characters before this]\n{end[line + 1 :]}"


def clean(text: str) -> str:
    """Without NUL, which PostgreSQL's text cannot hold, and without lone surrogates."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
