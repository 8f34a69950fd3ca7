"""How long things are kept, and how the engine has them forgotten."""

from __future__ import annotations

import pytest

from loom.domain.retention import DAY_S, Ages, Forgotten
from loom.engine import retention
from loom.errors import Invalid
from loom.settings import load
from loom.settings.retention import RetentionSettings


class Ledger:
    """Has so many old logs, and forgets one a call."""

    def __init__(self, old: int) -> None:
        self.old = old

    def forget_old(self, ages: Ages) -> Forgotten:
        gone = min(self.old, 1)
        self.old -= gone
        return Forgotten(logs=gone)


def test_the_engine_goes_on_while_there_is_something_old() -> None:
    ledger = Ledger(2)
    assert [retention.forget(ledger, Ages()) for _ in range(3)] == [True, True, False]


def test_the_settings_say_what_the_domain_says() -> None:
    assert RetentionSettings().ages == Ages()
    assert RetentionSettings(log_days=2).ages.logs == 2 * DAY_S


def test_less_than_a_day_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_RETENTION_INBOX_DAYS", "0.5")
    with pytest.raises(Invalid, match="LOOM_RETENTION_INBOX_DAYS"):
        load(RetentionSettings)
