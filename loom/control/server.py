"""gunicorn around the application: one worker process with threads, made new if it dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from loom.control.correlation import HEADER
from loom.control.problem import MIME, document
from loom.domain.identity import new_message_id
from loom.errors import BadRequest, Internal, LoomError
from loom.settings import ControlSettings
from loom.telemetry import logs

log = logs.get(__name__)

STOPPING = threading.Event()
"""Set in the worker once it is to stop; streams end by it, as they would not by themselves."""

GRACE_S = 10
"""Seconds that running requests get after a SIGTERM."""
KEEPALIVE_S = 75
"""Longer than clients keep an idle connection, so that they are the ones who close it."""
TURN_S = 0.0005
"""How long a thread may compute while another waits: a request needs many turns, one after each
answer of the ledger, and waits for as many pages as are being made at the moment."""
SILENCE_S = 60
"""A worker whose loop gives no sign of life for this long is replaced."""


class JsonLogger(Logger):  # type: ignore[misc]
    """gunicorn's own lines, through the root logger like all others; it keeps no access log."""

    def setup(self, cfg: Any) -> None:
        """Leave the handlers to loom.telemetry."""
        super().setup(cfg)
        self.error_log.handlers[:] = []
        self.error_log.propagate = True


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, whose own refusals are problem documents too."""

    def init_process(self) -> None:
        """Begin, with turns that are short."""
        sys.setswitchinterval(TURN_S)
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop, and tell whoever streams."""
        STOPPING.set()
        super().handle_exit(sig, frame)

    def handle(self, conn: Any) -> Any:
        """Deal with a request, and close its connection here if it is not kept.

        gunicorn would do that on the thread of its loop, which waits up to 2 s for each reader
        that does not close its end, while everybody else waits for the loop.
        """
        kept = super().handle(conn)
        if kept is False:
            conn.close(graceful=True)
            conn.close = _closed_already
        return kept

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer a request that is not even HTTP, or that no application got to see."""
        error: LoomError
        if isinstance(exc, ParseException):
            error = BadRequest(f"the request is not HTTP as Loom takes it: {exc}"[:500])
        else:
            error = Internal("a request failed outside of the application")
            self.log.error("Error handling request", exc_info=exc)
        correlation_id = new_message_id()
        body = document(error, error.code, getattr(req, "path", None) or "", correlation_id)
        text = json.dumps(body).encode()
        status = f"{error.meaning.http} {HTTPStatus(error.meaning.http).phrase}"
        head = (
            f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {MIME}\r\n"
            f"Content-Length: {len(text)}\r\n{HEADER}: {correlation_id}\r\n\r\n"
        )
        log.info("request_refused", code=error.code, why=str(exc)[:500], status=status)
        with suppress(OSError):
            client.sendall(head.encode() + text)


def _closed_already(graceful: bool = False) -> None:
    """What the loop does with a connection that its own thread has closed."""


class Server(BaseApplication):  # type: ignore[misc]
    """Listens, forks the worker, and calls make_app in it, never before."""

    def __init__(self, settings: ControlSettings, make_app: Callable[[], Flask]) -> None:
        self._settings = settings
        self._make_app = make_app
        super().__init__()

    def load_config(self) -> None:
        """Set everything explicitly; gunicorn reads no file and no arguments."""
        shared_memory = Path("/dev/shm")  # noqa: S108 - gunicorn makes an unlinked file there
        values = {
            "bind": self._settings.listen,
            "workers": 1,
            "worker_class": Worker,
            # Each follower of a log holds a thread; other requests have theirs beside them.
            "threads": self._settings.threads + self._settings.followers,
            "timeout": SILENCE_S,
            "graceful_timeout": GRACE_S,
            "keepalive": KEEPALIVE_S,
            "preload_app": False,
            "accesslog": None,
            "errorlog": "-",
            "logger_class": JsonLogger,
            "control_socket_disable": True,
            # The sign of life is a file's time; on a disk that stalls it would come late.
            "worker_tmp_dir": str(shared_memory) if os.access(shared_memory, os.W_OK) else None,
            "proc_name": "loom-control",
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application, in the worker, with its templates compiled: after a start all pages
        that are open come back at once, and each request would compile the same ones.
        """
        app = self._make_app()
        for name in app.jinja_env.list_templates():
            app.jinja_env.get_template(name)
        return app
