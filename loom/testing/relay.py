"""A relay between a client and a server, with which a test makes the network's troubles."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024


class Relay:
    """Relays connections on a free loopback port to another port, until they are cut.

    silence() holds back what the server says from then on; asked is set once the client has said
    something since.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked = threading.Event()
        self._heard = threading.Event()
        self._heard.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._refusing = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join()

    def silence(self) -> None:
        """Hold back what the server says."""
        self.asked.clear()
        self._heard.clear()

    def cut(self, *, refuse: bool = False) -> None:
        """Cut every connection; refuse: take no new ones until accept() is called."""
        self._refusing = refuse
        for pair in self._pairs:
            for end in pair:
                _close(end)
        self._pairs.clear()
        self._heard.set()

    def accept(self) -> None:
        """Take connections again."""
        self._refusing = False

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target_port))
            self._pairs.append((client, server))
            threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(CHUNK):
                server.sendall(data)
                if not self._heard.is_set():
                    self.asked.set()
        except OSError:
            pass
        _close(server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(CHUNK):
                self._heard.wait()
                client.sendall(data)
        except OSError:
            pass
        _close(client)


def _close(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
    finally:
        end.close()
