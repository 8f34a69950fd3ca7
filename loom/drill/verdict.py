"""The verdict: the accountant's record against what there is. A decision on values, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loom.domain.bead import Bead
from loom.domain.lifecycle import Resolution, State
from loom.drill.book import Answer, Filing, Page, Sort
from loom.drill.commits import Found
from loom.drill.ledger import Tables


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is once all is quiet: by the API, by git, by the broker, by the own counter.

    runs: how often each bead's command began, by nonce. depths: messages of each queue.
    """

    beads: Sequence[Bead]
    commits: Sequence[Found]
    tips: Mapping[str, str]
    runs: Mapping[str, int]
    depths: Mapping[str, int]
    tables: Tables


@dataclass(slots=True)
class Verdict:
    """What the drill found. during: the turns of the schedule in which damaged beads were filed."""

    accepted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    re_executed: int = 0
    indeterminate: int = 0
    during: set[int] = field(default_factory=set)

    @property
    def sound(self) -> bool:
        """Nothing was lost, and nothing happened twice."""
        return not self.lost and not self.doubled


def judge(page: Page, seen: Seen, busy: Sequence[str]) -> Verdict:
    """Compare the record with what there is.

    busy: queues that have to be empty by now; every other may keep what it has.
    """
    verdict = Verdict(
        accepted=len(page.of(Answer.ACCEPTED)),
        re_executed=sum(runs - 1 for runs in seen.runs.values() if runs > 1),
    )
    by_nonce: dict[str, list[Bead]] = {}
    for bead in seen.beads:
        by_nonce.setdefault(bead.title, []).append(bead)
    of_bead = Counter(id_ for commit in seen.commits for id_ in commit.beads)
    for filing in page.filings.values():
        _judge_filing(verdict, filing, by_nonce.pop(filing.nonce, []), seen, of_bead)
    for nonce, beads in by_nonce.items():
        verdict.unexpected.append(f"nobody filed {nonce} ({', '.join(b.id for b in beads)})")
    _judge_journal(verdict, seen)
    _judge_commits(verdict, seen, of_bead)
    _judge_letters(verdict, page, seen)
    for queue in busy:
        if depth := seen.depths.get(queue, 0):
            verdict.unexpected.append(f"{depth} messages are left in {queue}")
    if seen.tables.owed:
        verdict.unexpected.append(f"the outbox still owes {seen.tables.owed} messages")
    if seen.tables.running:
        verdict.unexpected.append(f"{seen.tables.running} attempts are still running")
    return verdict


def _judge_filing(
    verdict: Verdict, filing: Filing, beads: list[Bead], seen: Seen, of_bead: Mapping[str, int]
) -> None:
    if len(beads) > 1:
        ids = ", ".join(bead.id for bead in beads)
        verdict.doubled.append(f"{filing.nonce} was filed once and is there as {ids}")
        verdict.during.add(filing.during)
    if filing.answer in (Answer.INDETERMINATE, Answer.NONE):
        verdict.indeterminate += 1
    if not beads:
        if filing.answer is Answer.ACCEPTED:
            verdict.lost.append(f"{filing.nonce} ({filing.bead_id}) was accepted and is not there")
            verdict.during.add(filing.during)
        return
    if filing.answer is Answer.REFUSED:
        verdict.unexpected.append(f"{filing.nonce} was refused ({filing.why}) and is there")
    if filing.answer is Answer.ACCEPTED and filing.bead_id not in {bead.id for bead in beads}:
        verdict.unexpected.append(f"{filing.nonce} was accepted as {filing.bead_id}: it is another")
    for bead in beads:
        _judge_bead(verdict, filing, bead, seen, of_bead)


def _judge_bead(
    verdict: Verdict, filing: Filing, bead: Bead, seen: Seen, of_bead: Mapping[str, int]
) -> None:
    name = f"{filing.nonce} ({bead.id}, {filing.sort.value})"
    if bead.state is State.BLOCKED:
        verdict.unexpected.append(f"{name} is blocked: {bead.reason[:200]}")
        return
    if bead.state is not State.CLOSED:
        verdict.lost.append(f"{name} is {bead.state.value} and nothing moves it any more")
        verdict.during.add(filing.during)
        return
    wanted = Resolution.FAILED if filing.sort is Sort.FAIL else Resolution.SUCCEEDED
    if bead.resolution is not wanted:
        verdict.unexpected.append(
            f"{name} ended {bead.resolution} and had to end {wanted.value}: {bead.reason[:200]}"
        )
        verdict.during.add(filing.during)
    if not seen.runs.get(filing.nonce):
        verdict.unexpected.append(f"{name} is closed and its command never ran")
    pushed = [commit.sha for commit in bead.commits]
    if filing.sort is Sort.PATCH and bead.resolution is Resolution.SUCCEEDED:
        if not of_bead.get(bead.id):
            verdict.lost.append(f"{name} succeeded and its commit is not in the repository")
            verdict.during.add(filing.during)
        elif [seen.tips.get(bead.id)] != pushed:
            verdict.unexpected.append(f"{name} names {pushed} and its branch is elsewhere")
    elif of_bead.get(bead.id) or pushed:
        verdict.unexpected.append(f"{name} ended {bead.resolution} and has a commit")


def _judge_journal(verdict: Verdict, seen: Seen) -> None:
    for bead in seen.beads:
        times = seen.tables.closed.get(bead.id, 0)
        if times > 1:
            verdict.doubled.append(f"{bead.id} was closed {times} times")
        if bead.state is State.CLOSED and not times:
            verdict.unexpected.append(f"{bead.id} is closed and the journal knows of no closing")
    for (bead_id, words), times in seen.tables.said.items():
        if times > 1:
            verdict.doubled.append(f"{bead_id} reported {words[:80]!r} once, told {times} times")


def _judge_commits(verdict: Verdict, seen: Seen, of_bead: Mapping[str, int]) -> None:
    for bead_id, times in of_bead.items():
        if times > 1:
            verdict.doubled.append(f"{bead_id} has {times} commits")
    known = {bead.id for bead in seen.beads}
    for commit in seen.commits:
        if len(commit.beads) != 1 or commit.beads[0] not in known:
            verdict.unexpected.append(
                f"{commit.sha} on {commit.ref} belongs to {list(commit.beads) or 'no bead'}"
            )


def _judge_letters(verdict: Verdict, page: Page, seen: Seen) -> None:
    sent = Counter(letter.message_id for letter in page.letters)
    recorded: Counter[str] = Counter()
    for (message_id, _queue), times in seen.tables.letters.items():
        recorded[message_id] += times
    for message_id, times in sent.items():
        if not recorded[message_id]:
            verdict.lost.append(f"the unreadable message {message_id} is no dead letter")
        elif recorded[message_id] > times:
            verdict.doubled.append(
                f"the unreadable message {message_id} is {recorded[message_id]} dead letters"
            )
    for message_id in recorded.keys() - sent.keys():
        verdict.unexpected.append(f"the message {message_id} is a dead letter, and was readable")
