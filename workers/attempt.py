"""One attempt at a bead: checkout, preparation, work, proof, commit, push; evidence of each."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace

from loom.domain.bead import Attempt as Earlier
from loom.domain.bead import Bead
from loom.domain.credential import FOLDER
from loom.domain.evidence import Artifact, Commit, FailureClass, Outcome, StepKind, found_no_tests
from loom.domain.project import Project
from loom.errors import Invalid, LoomError
from loom.telemetry import logs, traces
from workers import artifacts, leaks, recipe
from workers.artifacts import Given
from workers.changes import Changes
from workers.command import Leash
from workers.credentials import Credentials
from workers.detect.found import Ground
from workers.detect.tree import Tree
from workers.journal import Journal
from workers.lease import Lease
from workers.live import Log
from workers.mask import Mask
from workers.means import Means
from workers.recipe import Asked, Plan
from workers.repository import Repository
from workers.sandbox import Sandbox
from workers.ways import credentials, registry
from workers.ways.way import Way, WorkFailed
from workers.workbench import PROOFS, Workbench
from workers.workspace import Workspace, workspace

DIFF = "changes.diff"
"""The artifact with what an attempt changed and did not push."""

log = logs.get(__name__)


class Attempt:
    """Works on one bead under a lease."""

    def __init__(
        self,
        bead: Bead,
        project: Project,
        epoch: int,
        *,
        lease: Lease,
        leash: Leash,
        means: Means,
        live: Log,
        number: int = 1,
        previous: Earlier | None = None,
    ) -> None:
        """live: for who watches it. number: 1 for the bead's first attempt. previous: the last."""
        self._bead, self._project, self._epoch, self._number = bead, project, epoch, number
        self._lease, self._leash, self._means = lease, leash, means
        self._previous = previous
        self._keys = means.credentials or means.home / FOLDER
        self._commits: list[Commit] = []
        self._planned: tuple[str, ...] = ()
        self._artifacts: list[Given] = []
        self._patterns: tuple[str, ...] = ()
        self._kept: tuple[Artifact, ...] = ()
        self._place = Workspace.of(means.root, bead.id, epoch)
        self._journal = Journal(self._place.logs, live, lease.check)

    def run(self) -> Outcome:
        """Work, and say how it ended; raises LeaseLost when it may do neither."""
        try:
            asked = recipe.ask(self._bead, self._project)
            way = registry.load(asked.way)
            way.check(self._bead.context, self._project)
            given = credentials.read(self._means.home / credentials.FILE)
            git = Credentials(self._keys, self._project.repository)
            self._journal.mask = Mask((*given.values(), *git.secrets()))
            with workspace(self._place):
                try:
                    with self._repository() as repository:
                        repository.check_out()
                        self._follow(asked, way, given, repository)
                finally:
                    self._keep_artifacts()
        except WorkFailed as failed:
            return self._failed(failed.failure_class, failed.reason)
        except Invalid as fault:
            return self._failed(FailureClass.WORK, fault.detail)
        except LoomError as fault:
            return self._failed(FailureClass.INFRA, fault.detail)
        except OSError as error:
            self._lease.check()
            return self._failed(FailureClass.INFRA, f"the workspace cannot be used: {error}")
        return self._outcome(succeeded=True)

    def _repository(self) -> Repository:
        means = self._means
        return Repository(
            self._bead,
            self._project,
            self._epoch,
            self._place,
            mirrors=means.mirrors,
            home=means.home,
            credentials=self._keys,
            path=means.path,
            timeout_s=means.git_timeout_s,
            leash=self._leash,
            quota=means.quota,
            check=self._lease.check,
            note=self._journal.git,
        )

    def _follow(
        self, asked: Asked, way: Way, given: Mapping[str, str], repository: Repository
    ) -> None:
        """All from the checkout to the push."""
        # Before the work, so that a change cannot weaken the proof that it has to stand.
        plan = self._plan(asked)
        bench = self._bench(repository, asked, plan, given)
        if bench.run_recipe(StepKind.PREPARE):
            repository.settle()
        self._work(bench, repository, plan, way)
        if plan.untested:
            plan = self._plan(asked)
            bench.recipe = plan.recipe
        if plan.untested and not self._project.rules.allow_no_tests:
            raise WorkFailed(FailureClass.NO_TESTS, plan.untested)
        self._patterns = plan.recipe.artifacts
        found = repository.changes()
        pushes = self._pushes(found, plan, way)
        self._planned = _planned(plan, pushes=pushes)
        if pushes and (leaked := repository.scan(found, self._journal.mask)):
            raise WorkFailed(FailureClass.WORK, leaks.explain(leaked))
        if found and not pushes and way.commits:
            self._hand_out(found)
        for kind in PROOFS:
            bench.run_recipe(kind)
        nothing = found_no_tests(bench.steps)
        if nothing and not self._project.rules.allow_no_tests:
            raise WorkFailed(FailureClass.NO_TESTS, "the test steps found no test")
        if pushes:
            sha = repository.commit(found, bench.message)
            self._commits.append(repository.push(sha, self._lease.fence))

    def _plan(self, asked: Asked) -> Plan:
        ground = Ground(
            Tree.at(self._place.checkout),
            lambda program: shutil.which(program, path=self._means.path) is not None,
            self._project.rules.network,
        )
        plan = recipe.plan(asked, self._project, ground)
        log.info(
            "recipe_planned", source=plan.recipe.source, steps=[s.name for s in plan.recipe.steps]
        )
        return plan

    def _bench(
        self, repository: Repository, asked: Asked, plan: Plan, given: Mapping[str, str]
    ) -> Workbench:
        means = self._means
        return Workbench(
            self._bead,
            self._project,
            self._number,
            self._previous,
            place=self._place,
            repository=repository,
            journal=self._journal,
            sandbox=Sandbox(
                means.sandbox, means.path, means.readable, hidden=(means.home, means.root)
            ),
            leash=self._leash,
            path=means.path,
            asked=asked,
            plan=plan.recipe,
            credentials=given,
            check=self._lease.check,
        )

    def _work(self, bench: Workbench, repository: Repository, plan: Plan, way: Way) -> None:
        """Do the work, unless an earlier attempt that could not report it had pushed it."""
        if repository.earlier:
            repository.restore_earlier()
            bench.record("work", f"An earlier attempt pushed {repository.earlier}: it goes on.")
        elif StepKind.WORK in plan.recipe.kinds:
            with traces.span("work"):
                way.work(bench)

    def _pushes(self, found: Changes, plan: Plan, way: Way) -> bool:
        wanted = {StepKind.COMMIT, StepKind.PUSH} <= plan.recipe.kinds
        return bool(found) and wanted and way.commits

    def _hand_out(self, found: Changes) -> None:
        """Keep as a file what is not pushed."""
        kept = self._place.logs / DIFF
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        kept.write_text(self._journal.mask.text(found.diff), errors="replace")
        self._artifacts.append(Given(DIFF, kept, "text/x-diff"))
        self._journal.note(
            f"The bead's steps leave out the push, so nothing was committed: {found.summary()}"
        )

    def _keep_artifacts(self) -> None:
        journal = self._journal
        given = [*journal.logs, *self._artifacts]
        if not given and not self._patterns:
            return
        attempt = (self._project.id, self._bead.id, self._epoch)
        kept = artifacts.collect(
            self._means.keeper,
            attempt,
            checkout=self._place.checkout,
            patterns=self._patterns,
            given=given,
            check=self._lease.check,
            mask=journal.mask,
        )
        self._kept = kept.artifacts
        journal.attach(kept.artifacts)
        for note in kept.notes:
            journal.note(note)

    def _failed(self, failure_class: FailureClass, reason: str) -> Outcome:
        told = self._journal.mask.text(reason)
        return replace(self._outcome(succeeded=False), failure_class=failure_class, reason=told)

    def _outcome(self, *, succeeded: bool) -> Outcome:
        journal = self._journal
        steps = journal.steps
        outcome = Outcome(
            succeeded=succeeded,
            steps=steps,
            commits=tuple(self._commits),
            output=journal.output or (steps[-1].output_tail if steps else ""),
            artifacts=self._kept,
            planned=self._planned,
            notes=journal.notes,
            sub_beads=tuple(journal.sub_beads),
        )
        return journal.mask.value(outcome)


def _planned(plan: Plan, *, pushes: bool) -> tuple[str, ...]:
    """The steps that have to leave evidence."""
    kinds = plan.recipe.kinds
    commands = [step.name for step in plan.recipe.steps if step.kind in kinds]
    return ("checkout", *commands, *(("commit", "push") if pushes else ()))
