"""A receiver of webhooks on loopback that behaves as it is told."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE_S = 20.0


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came, and how it is answered: by the status in the path, as /500."""

    port: int = 0
    got: list[Got] = field(default_factory=list)
    more: threading.Condition = field(default_factory=threading.Condition)
    released: threading.Event = field(default_factory=threading.Event)
    """Lets those go that hang."""

    def url(self, path: str = "/200", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def wait_for(self, count: int, path: str = "") -> list[Got]:
        """The requests for a path, once there are so many."""
        with self.more:
            found = self.more.wait_for(lambda: len(self.at(path)) >= count, PATIENCE_S)
        if not found:
            raise AssertionError(f"{len(self.at(path))} of {count} came")
        return self.at(path)

    def at(self, path: str) -> list[Got]:
        return [each for each in self.got if path in ("", each.path)]


@contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Listens until the block ends."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            names = {name.lower(): value for name, value in self.headers.items()}
            with made.more:
                made.got.append(Got(self.path, names, body))
                made.more.notify_all()
            what = self.path.strip("/")
            if what == "hang":
                made.released.wait(PATIENCE_S)
            elif what == "drip":
                while not made.released.is_set():
                    self.wfile.write(b"H")
                    time.sleep(0.02)  # this is what it is: a receiver that drips
            else:
                self.answer(int(what))

        def answer(self, status: int) -> None:
            text = b"x" * 100_000 if status == 400 else b"thank you"
            self.send_response(status)
            if status == 302:
                self.send_header("Location", made.url("/200"))
            if status in (429, 500):
                self.send_header("Retry-After", "120")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def handle(self) -> None:
            with suppress(ConnectionError, ssl.SSLError):  # whoever asked had no more time
                super().handle()

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that breaks off is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
