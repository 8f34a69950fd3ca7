"""One of Loom's processes in a test, as `python -m` starts it, with its log to wait on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from loom.settings import BrokerSettings

PATIENCE_S = 30.0


def broker_environment(settings: BrokerSettings) -> dict[str, str]:
    """The variables by which a process reaches the broker."""
    return {
        "LOOM_BROKER_HOST": settings.host,
        "LOOM_BROKER_PORT": str(settings.port),
        "LOOM_BROKER_VHOST": settings.vhost,
        "LOOM_BROKER_USERNAME": settings.username,
        "LOOM_BROKER_PASSWORD": settings.password.get_secret_value(),
        "LOOM_BROKER_TIMEOUT_S": str(settings.timeout_s),
    }


class Service:
    """A running process. lines: every line of its log so far."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._module = module
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOOM_", "OTEL_"))}
        # By SIGABRT it says where each of its threads is.
        self._environment = kept | {"PYTHONFAULTHANDLER": "1"} | dict(environment)
        self.lines: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self._ended = False

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def wait_for(self, event: str, **facts: object) -> dict[str, Any]:
        """The first line of the log with this event and these facts."""
        with self._more:
            found = self._more.wait_for(lambda: self._find(event, facts) or self._ended, PATIENCE_S)
            line = self._find(event, facts)
        if line is None:
            what = "ended" if found else f"did not in {PATIENCE_S:g} s"
            raise AssertionError(f"{self._module} {what} say {event} {facts}: {self.lines}")
        return line

    def stop(self, by: int = signal.SIGTERM) -> int:
        """Tell it to stop; its exit code. One that does not has to show what its threads do."""
        self._process.send_signal(by)
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            raise AssertionError(
                f"{self._module} did not stop in {PATIENCE_S:g} s: {self.read_to_end()}"
            ) from None

    def read_to_end(self) -> str:
        """All that it said, once it has ended by itself."""
        self._process.wait(PATIENCE_S)
        self._reader.join()
        return "\n".join(str(line.get("text", line)) for line in self.lines)

    def _find(self, event: str, facts: Mapping[str, object]) -> dict[str, Any] | None:
        for line in self.lines:
            if line.get("event") == event and facts.items() <= line.items():
                return line
        return None

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe, as asked for above
        with self._process.stdout as out:
            for text in out:
                try:
                    line = json.loads(text)
                except ValueError:
                    line = {"event": "not_json", "text": text}
                with self._more:
                    self.lines.append(line)
                    self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()
