"""The journal of an attempt: the evidence of its steps, its notes, and what it says as it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from loom.domain.evidence import Artifact, Finding, Step, StepKind, SubBead, TestReport
from loom.telemetry import logs
from workers.artifacts import Given
from workers.command import Ended
from workers.cutting import STEP_OUTPUT_CHARS
from workers.live import Log
from workers.mask import NOTHING

MAX_STEPS = 500

log = logs.get(__name__)


class Journal:
    """Keeps what an attempt shows for itself. check: raises if the attempt may not go on."""

    def __init__(self, folder: Path, live: Log, check: Callable[[], None]) -> None:
        """folder: for whole logs, out of the reach of commands. live: for who watches."""
        self._folder, self._live, self._check = folder, live, check
        self._steps: list[Step] = []
        self._logs: dict[str, Path] = {}
        self._notes: list[str] = []
        self.sub_beads: list[SubBead] = []
        self.mask = NOTHING
        """What nobody is told, whatever says it."""
        self.output = ""
        """The end of what the last command of the bead's own wrote."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The evidence so far, in its order."""
        return tuple(self._steps)

    @property
    def notes(self) -> str:
        """Everything that was noted, a paragraph each."""
        return "\n\n".join(self._notes)

    @property
    def logs(self) -> list[Given]:
        """The logs that the evidence holds only the end of."""
        return [Given(name, path) for name, path in self._logs.items()]

    def note(self, words: str) -> None:
        """Say something for a person."""
        if words.strip():
            self._notes.append(words.strip())

    def log_of(self, name: str) -> Path:
        """The file for the whole output of the next step of this name."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder / f"{len(self._steps):03}.txt"

    def begin(self, name: str, argv: Sequence[str]) -> Callable[[bytes], None]:
        """A step begins; what is returned takes its output, masked, as it comes."""
        self._live.begin(name, self.mask.value(tuple(argv)))
        return lambda chunk: self._live.write(name, chunk)

    def show(self, name: str, argv: Sequence[str], ended: Ended) -> None:
        """A step that was not shown while it ran, whole."""
        self._live.begin(name, self.mask.value(tuple(argv)))
        self._live.write(name, self.mask.text(ended.output).encode())
        self._live.end(name, ended.exit_code, ended.duration_s)

    def finish(self, name: str, ended: Ended) -> None:
        """The step ended."""
        self._live.end(name, ended.exit_code, ended.duration_s)

    def git(self, name: str, argv: Sequence[str], ended: Ended) -> None:
        """Keep the evidence of a step of Loom's own git."""
        self.show(name, argv, ended)
        kind = StepKind(name) if name in set(StepKind) else StepKind.WORK
        self.keep(name, argv, ended, kind=kind)

    def keep(
        self,
        name: str,
        argv: Sequence[str],
        ended: Ended,
        *,
        kind: StepKind,
        advisory: bool = False,
        tests: TestReport | None = None,
        findings: Sequence[Finding] = (),
        faults: Sequence[str] = (),
        whole: Path | None = None,
    ) -> Step:
        """Keep the evidence of a step; raises if that is why it ended.

        faults: what Loom says of it, put after its output. whole: the file with all of the output.
        """
        self._check()
        name = self._distinct(name)
        said = "".join(f"[loom: {fault}]\n" for fault in faults)
        between = "\n" if said and ended.output and not ended.output.endswith("\n") else ""
        tail = f"{ended.output}{between}{said}"
        step = Step(
            name, tuple(argv), ended.exit_code, ended.duration_s, tail,
            kind=kind, advisory=advisory, tests=tests, findings=tuple(findings),
        )  # fmt: skip
        self._steps.append(step)
        if whole is not None and ended.size > STEP_OUTPUT_CHARS and whole.exists():
            self._logs[f"log/{name}.txt"] = whole
        log.info(
            "step_ended",
            step=name,
            exit_code=ended.exit_code,
            duration_s=round(ended.duration_s, 3),
            timed_out=ended.timed_out,
            limit=ended.limit,
        )
        return step

    def attach(self, artifacts: Sequence[Artifact]) -> None:
        """Tie the logs that were kept to their steps."""
        kept = {artifact.name: artifact for artifact in artifacts}
        self._steps = [
            replace(step, log=kept.get(f"log/{step.name}.txt", step.log)) for step in self._steps
        ]

    def _distinct(self, name: str) -> str:
        taken = {step.name for step in self._steps}
        made, number = name, 2
        while made in taken:
            made, number = f"{name}-{number}", number + 1
        return made
