"""Where Celery's configuration comes from, and what it has to say."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from loom.errors import Invalid

CONFIG = Path(__file__).resolve().parents[2] / "celeryconfig.py"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOM_SETTINGS_FILE", "LOOM_BROKER_USERNAME", "LOOM_BROKER_PASSWORD", "LOOM_HOME"):
        monkeypatch.delenv(name, raising=False)


def configured() -> dict[str, Any]:
    return runpy.run_path(str(CONFIG))


def _settings(file: Path, user: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"LOOM_BROKER_USERNAME={user}\nLOOM_BROKER_PASSWORD=p\n")


def test_a_service_finds_its_broker_in_its_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settings(tmp_path / "flower.env", "flower")
    monkeypatch.setenv("LOOM_SETTINGS_FILE", str(tmp_path / "flower.env"))
    assert configured()["broker_url"] == "amqp://flower:p@127.0.0.1:5672/loom"


def test_an_operator_at_the_root_of_the_repository_finds_the_local_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settings(tmp_path / ".loom" / "etc" / "operator.env", "operator")
    monkeypatch.chdir(tmp_path)
    assert configured()["broker_url"].startswith("amqp://operator:")


def test_the_stacks_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(tmp_path / "other" / "etc" / "operator.env", "operator")
    monkeypatch.setenv("LOOM_HOME", str(tmp_path / "other"))
    assert configured()["broker_url"].startswith("amqp://operator:")


def test_without_a_stack_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Invalid, match="Start the local stack with `loom up`"):
        configured()


def test_a_task_is_never_acknowledged_before_its_end_and_never_through_a_result_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOOM_BROKER_USERNAME", "x")
    monkeypatch.setenv("LOOM_BROKER_PASSWORD", "p")
    settings = configured()
    expected = {
        "task_acks_late": True,
        "task_acks_on_failure": False,
        "task_acks_on_timeout": False,
        "task_reject_on_worker_lost": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_prefetch_multiplier": 1,
        "accept_content": ["json"],
        "result_backend": None,
        "task_ignore_result": True,
    }
    assert expected.items() <= settings.items()
