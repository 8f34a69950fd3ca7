"""Real open-source packages, found out, built, linted and tested by an agent, and directly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import real_sources
from real_direct import Checkout
from real_packages import PACKAGES, Package
from real_told import Tests
from whole import Loom

from loom.cli.waiting import follow
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.evidence import MAX_FAILURES, MAX_FINDINGS, Step, StepKind
from loom.domain.project import Project
from loom.domain.rules import Network, Rules
from loom.settings import AgentSettings

VERIFY = {"steps": ["verify"]}
AGENT_PATH = str(AgentSettings.model_fields["path"].default)
"""The PATH of commands where nobody sets another."""
PROOFS = (StepKind.PREPARE, StepKind.BUILD, StepKind.LINT, StepKind.TEST)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.id)
def test_what_an_agent_reports_agrees_with_running_the_tools_directly(
    package: Package, loom: Loom, ground: Path, agent_user: str, rows: list[dict[str, Any]]
) -> None:
    source = real_sources.fetch(package, ground, agent_user)
    plain = Checkout(ground, real_sources.check_out(source, ground / "plain"), AGENT_PATH)
    with loom.client() as client:
        # All that is said of the project: where it is, and whether its prepare steps may fetch.
        rules = Rules(network=Network(package.network))
        client.create_project(Project(package.id, str(source.repository), rules=rules))
    recipe = loom.document(
        *("project", "inspect", str(plain.tree), "--project", package.id), PATH=AGENT_PATH
    )

    bead, attempt = done(loom, package.id, NewBead("Does it hold?", context=VERIFY))
    plain.prepare(package.direct)
    told = plain.prove(package.direct)

    ran = commands(attempt)
    assert recipe["source"] == "detected"
    assert [step.name for step in ran] == [step["name"] for step in recipe["steps"]]
    assert reported(attempt) == told.tests, shown(attempt)
    assert findings(attempt) == told.findings, shown(attempt)
    assert build(attempt) == told.build, shown(attempt)
    good = told.test_exit == 0 and not told.build
    assert bead.resolution == ("succeeded" if good else "failed"), bead.reason

    after, patch = real_sources.broken(package, source)
    context = VERIFY | {"patch": patch}
    failed, second = done(loom, package.id, NewBead("Break it", context=context))
    (plain.tree / package.breaks[0]).write_text(after)
    plain.rebuild(package.direct)
    direct, code = plain.test(package.direct)

    assert code != 0
    assert direct.failed > 0
    assert reported(second) == direct, shown(second)
    assert failed.resolution == "failed"

    rows.append(
        {
            "project": package.id,
            "package": package.name,
            "version": package.version,
            "registry": package.registry,
            "language": package.language,
            "built_by": package.built_by,
            "network": package.network,
            "recipe": [step.name for step in ran],
            "seconds": round(sum(step.duration_s for step in ran), 1),
            "loom": {
                "tests": counts(reported(attempt)),
                "findings": findings(attempt),
                "build": build(attempt),
            },
            "direct": {
                "tests": counts(told.tests),
                "findings": told.findings,
                "build": told.build,
            },
            "broken": {
                "file": package.breaks[0],
                "loom": counts(reported(second)),
                "direct": counts(direct),
                "names": len(direct.names),
            },
        }
    )


def done(loom: Loom, project_id: str, bead: NewBead) -> tuple[Bead, Attempt]:
    """The bead at its end, and its last attempt: a registry that was away costs one."""
    with loom.client() as client:
        ended = follow(client, client.create_bead(project_id, bead), lambda _bead: None)
        *_earlier, attempt = client.list_attempts(ended.id)
    return ended, attempt


def commands(attempt: Attempt) -> list[Step]:
    """The steps that ran a command of the recipe."""
    return [step for step in attempt.steps if step.kind in PROOFS]


def reported(attempt: Attempt) -> Tests:
    """What the report of the test step says."""
    (step,) = [step for step in attempt.steps if step.kind is StepKind.TEST]
    report = step.tests
    assert report is not None, step.output_tail[-3000:]
    assert report.failed <= MAX_FAILURES, "break it less, so that every failure is named"
    names = frozenset(failure.name for failure in report.failures)
    return Tests(report.total, report.passed, report.failed, report.skipped, names)


def findings(attempt: Attempt) -> dict[str, int]:
    """How many findings each linter had."""
    return {tool_of(s): found(s) for s in attempt.steps if s.kind is StepKind.LINT}


def found(step: Step) -> int:
    """All findings of a step, of which only some are kept."""
    more = re.search(r"\[loom: (\d+) findings: the first", step.output_tail)
    assert more or len(step.findings) < MAX_FINDINGS
    return int(more[1]) if more else len(step.findings)


def tool_of(step: Step) -> str:
    """The linter that a step runs; what npm runs here is eslint."""
    return "eslint" if step.name == "npm-lint" else step.name


def build(attempt: Attempt) -> int | None:
    """The worst exit code of the steps that build; None where none does."""
    codes = [step.exit_code for step in attempt.steps if step.kind is StepKind.BUILD]
    return max((1 if code is None else code for code in codes), default=None)


def counts(told: Tests) -> list[int]:
    """As a row has them."""
    return [told.total, told.passed, told.failed, told.skipped]


def shown(attempt: Attempt) -> str:
    """Everything the agent saw, for whoever looks into a disagreement."""
    return "\n".join(
        f"--- {step.name} ended with {step.exit_code}: {' '.join(step.argv)}\n"
        f"{step.output_tail[-3000:]}\n{step.tests}\n{step.findings}"
        for step in attempt.steps
    )
