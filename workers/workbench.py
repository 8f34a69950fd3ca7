"""Where an attempt works: its checkout, and commands in their sandbox that leave evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loom.domain.bead import Attempt, Bead
from loom.domain.evidence import FailureClass, Step, StepKind, SubBead
from loom.domain.project import Project
from loom.domain.recipe import EXCHANGE, Recipe, RecipeStep
from loom.domain.rules import Network
from workers import command, recipe, sub_beads
from workers.blame import advice, blame
from workers.command import Ended, Leash
from workers.journal import Journal
from workers.recipe import Asked
from workers.reports import reading
from workers.repository import Repository
from workers.sandbox import Sandbox, SandboxFailed
from workers.ways.files import Files
from workers.ways.way import WorkFailed
from workers.workspace import Workspace, environment

PROOFS = (StepKind.BUILD, StepKind.LINT, StepKind.TEST)
"""The kinds of steps that prove the work, once it is done."""


class Workbench:
    """The bench of one attempt; see workers.ways.way.Bench."""

    def __init__(
        self,
        bead: Bead,
        project: Project,
        attempt: int,
        previous: Attempt | None,
        *,
        place: Workspace,
        repository: Repository,
        journal: Journal,
        sandbox: Sandbox,
        leash: Leash,
        path: str,
        asked: Asked,
        plan: Recipe,
        credentials: Mapping[str, str],
        check: Callable[[], None],
    ) -> None:
        """path: the PATH of commands. plan: what run_recipe runs. check: raises if the attempt may
        not go on."""
        self.bead, self.project, self.attempt = bead, project, attempt
        self.previous = previous
        self.checkout, self.exchange = place.checkout, place.exchange
        self.files = Files(place.checkout)
        self.credentials = credentials
        self.message = ""
        self._place, self._repository, self._journal = place, repository, journal
        self._sandbox, self._leash, self._path, self._check = sandbox, leash, path, check
        self._asked, self.recipe = asked, plan

    @property
    def steps(self) -> Sequence[Step]:
        """The evidence so far."""
        return self._journal.steps

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        kind: StepKind = StepKind.WORK,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        advisory: bool = False,
    ) -> Step:
        """Run a command at the root of the checkout; it fails the attempt unless advisory."""
        given = environment or {}
        step = RecipeStep(kind, name, tuple(argv), advisory=advisory, environment=given)
        return self._run(recipe.timed(step, self._within(timeout_s), self.project), stdin)

    def run_recipe(self, kind: StepKind) -> Sequence[Step]:
        """Run the recipe's steps of this kind now; empty if it has none."""
        return [self._run(step.at(str(self.exchange))) for step in self.recipe.of_kind(kind)]

    def proves(self, kind: StepKind) -> bool:
        """Whether steps of this kind run by themselves when the work is done."""
        return kind in PROOFS and bool(self.recipe.of_kind(kind))

    def apply_patch(self, patch: bytes, name: str = "patch") -> Step:
        """Apply a unified diff to the checkout as it is by now, as the step of this name."""
        self._repository.apply(patch, name)
        return self._journal.steps[-1]

    def record(self, name: str, words: str) -> Step:
        """Leave evidence of something that was done without a command."""
        done = Ended(0, 0.0, words)
        self._journal.show(name, (), done)
        return self._journal.keep(name, (), done, kind=StepKind.WORK)

    def changed(self) -> Sequence[str]:
        """Paths in which the checkout differs from what it began with."""
        return [change.path for change in self._repository.changes().files]

    def describe_commit(self, message: str) -> None:
        """What the commit says instead of the bead's title and description."""
        self.message = message

    def note(self, text: str) -> None:
        """Say something that a person should read beside the result."""
        self._journal.note(text)

    def file_bead(self, bead: SubBead) -> None:
        """Ask for a bead to be filed in the same project."""
        sub_beads.admit(self._journal.sub_beads, bead)
        self._journal.sub_beads.append(bead)

    def _within(self, timeout_s: float | None) -> Asked:
        """What the bead asks for, of a command whose own limit may only be shorter."""
        limit_s = self._asked.timeout_s or float(self.project.timeout_s)
        return replace(self._asked, timeout_s=min(timeout_s or limit_s, limit_s))

    def _run(self, step: RecipeStep, stdin: bytes = b"") -> Step:
        there = reading.before(step, self.checkout, self.exchange)
        whole = self._journal.log_of(step.name)
        timeout_s = step.timeout_s or float(self.project.timeout_s)
        ended = self._ended(step, stdin, timeout_s, whole)
        told = reading.read(
            step,
            whole if whole.exists() else ended.output,
            self.checkout,
            self.exchange,
            there,
            exit_code=ended.exit_code,
        )
        tests = told.tests
        nothing = tests is not None and not tests.total and self.project.rules.allow_no_tests
        advisory = step.advisory or (nothing and step.kind is StepKind.TEST)
        faults = [words for words in (ended.words, *told.faults) if words]
        kept = self._journal.keep(
            step.name, step.argv, ended, kind=step.kind, advisory=advisory,
            tests=tests, findings=told.findings, faults=faults, whole=whole,
        )  # fmt: skip
        self._judge(step, ended, kept, timeout_s)
        return kept

    def _ended(self, step: RecipeStep, stdin: bytes, timeout_s: float, whole: Path) -> Ended:
        """Run it in its sandbox."""
        given = {
            **environment(self._place, self._path, self.bead.id, self.project.id),
            EXCHANGE: str(self.exchange),
            **step.environment,
        }
        place = self._place
        on_output = self._journal.begin(step.name, step.argv)
        try:
            wrapped = self._sandbox.wrap(
                step.argv,
                cwd=self.checkout,
                writable=(self.checkout, place.home, place.scratch, self.exchange),
                environment=given,
                network=self._reaches_network(step.kind),
                limits=self.project.rules.limits,
                readable=self._repository.read_only,
            )
            ended = command.run_wrapped(
                wrapped,
                timeout_s=timeout_s,
                leash=self._leash,
                stdin=stdin,
                soft_timeout_s=step.soft_timeout_s,
                on_output=on_output,
                log=whole,
                mask=self._journal.mask,
            )
        except SandboxFailed as failed:
            raise WorkFailed(FailureClass.INFRA, failed.detail) from failed
        self._journal.finish(step.name, ended)
        self._journal.output = ended.output
        return ended

    def _reaches_network(self, kind: StepKind) -> bool:
        network = self.project.rules.network
        prepares = network is Network.PREPARE and kind is StepKind.PREPARE
        return network is Network.ALWAYS or prepares

    def _judge(self, step: RecipeStep, ended: Ended, kept: Step, timeout_s: float) -> None:
        """Raise WorkFailed if the attempt cannot go on after this step."""
        self._check()
        if kept.advisory or (_found_nothing(kept) and not ended.timed_out and not ended.limit):
            return
        if found := blame(step.name, ended, timeout_s, step.soft_timeout_s):
            failure_class, reason = found
            if kept.tests is not None and kept.tests.failed:
                names = ", ".join(failure.name for failure in kept.tests.failures[:3])
                reason = f"{kept.tests.failed} of {kept.tests.total} tests failed ({names})"
            elif self.project.rules.network is Network.NEVER:
                reason += advice(reason, self.project.id)
            raise WorkFailed(failure_class, reason, kept)
        if kept.tests is not None and kept.tests.failed:
            raise WorkFailed(
                FailureClass.WORK,
                f"the {step.name} command ended well, yet {kept.tests.failed} of "
                f"{kept.tests.total} tests failed by its report",
                kept,
            )


def _found_nothing(step: Step) -> bool:
    """A test step without a test; what that means is judged of all test steps together."""
    return step.kind is StepKind.TEST and step.tests is not None and not step.tests.total
