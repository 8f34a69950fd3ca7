"""Calls that come at the same time, done by one of them for all: their commits become one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from loom.telemetry import logs

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")

log = logs.get(__name__)


class _Ticket(Generic[Ask, Answer]):
    """One call in the line. answered: with an answer, or with None: it has to be done alone."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.answer: Answer | None = None
        self.answered = False
        self.leads = False


class Group(Generic[Ask, Answer]):
    """Has what comes together done together. Safe for threads.

    Nobody waits for others to come: whoever comes while nothing is done begins at once, and does
    what has come meanwhile next, or has it done by who came first.
    """

    def __init__(
        self, do: Callable[[Sequence[Ask]], Sequence[Answer | None]], *, most: int
    ) -> None:
        """do: an answer to each, None where it has none. most: how many it does at once."""
        self._do, self._most = do, most
        self._changed = threading.Condition()
        self._line: deque[_Ticket[Ask, Answer]] = deque()
        self._busy = False

    @property
    def waiting(self) -> int:
        """How many stand in the line."""
        return len(self._line)

    def ask(self, ask: Ask, timeout_s: float) -> Answer | None:
        """The answer; None where the caller has to do it alone.

        That is where it has none, where do failed, and where its turn did not come in timeout_s.
        """
        ticket: _Ticket[Ask, Answer] = _Ticket(ask)
        with self._changed:
            self._line.append(ticket)
            if self._busy:
                self._changed.wait_for(lambda: ticket.answered or ticket.leads, timeout_s)
                if ticket.answered:
                    return ticket.answer
                if not ticket.leads:
                    if ticket in self._line:
                        self._line.remove(ticket)
                        return None
                    # It is being done just now: to do it a second time would be no help.
                    self._changed.wait_for(lambda: ticket.answered)
                    return ticket.answer
            self._busy = True
            tickets = [self._line.popleft() for _ in range(min(len(self._line), self._most))]
        answers: Sequence[Answer | None] = [None] * len(tickets)
        try:
            answers = self._do([each.ask for each in tickets])
        except Exception as error:  # noqa: BLE001 - each is done alone, and hears of its own fault
            log.info("not_done_together", calls=len(tickets), why=str(error)[:500])
        finally:
            self._give(tickets, answers)
        return ticket.answer

    def _give(
        self, tickets: Sequence[_Ticket[Ask, Answer]], answers: Sequence[Answer | None]
    ) -> None:
        with self._changed:
            for ticket, answer in zip(tickets, answers, strict=True):
                ticket.answer, ticket.answered = answer, True
            self._busy = bool(self._line)
            if self._line:
                self._line[0].leads = True
            self._changed.notify_all()
