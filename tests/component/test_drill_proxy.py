"""A proxy between a client and a server, and the network's troubles that it makes."""

import socket
import threading

import pytest

from loom.drill.proxy import Mode, Proxies

PATIENCE_S = 20


class Echo:
    """A server that says what it hears, and counts what it heard."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard = b""
        self.more = threading.Condition()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self._ends = []

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            talk = threading.Thread(target=self._talk, args=[connection])
            talk.start()
            self._ends.append(talk)

    def _talk(self, connection):
        with connection:
            try:
                while data := connection.recv(1024):
                    with self.more:
                        self.heard += data
                        self.more.notify_all()
                    connection.sendall(data)
            except OSError:
                return

    def wait_for(self, text):
        with self.more:
            assert self.more.wait_for(lambda: text in self.heard, PATIENCE_S), self.heard

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for talk in self._ends:
            talk.join()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def proxies(echo, free_port):
    made = Proxies()
    made.add("a", free_port, echo.port)
    yield made
    made.close()


@pytest.fixture
def connect(proxies):
    opened = []

    def open_one():
        client = socket.create_connection(("127.0.0.1", proxies["a"].port), PATIENCE_S)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()


def said(client, text):
    client.sendall(text)
    return client.recv(len(text), socket.MSG_WAITALL)


def is_cut(client):
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def is_cut_at_once(connect):
    try:
        return is_cut(connect())
    except ConnectionError:
        return True


def test_what_passes_comes_back(connect):
    assert said(connect(), b"hello") == b"hello"


def test_a_stalled_connection_goes_on_where_it_stood(proxies, connect):
    client = connect()
    assert said(client, b"one") == b"one"
    proxies.switch(["a"], Mode.STALL)
    client.sendall(b"two")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(PATIENCE_S)
    proxies.switch(["a"], Mode.PASS)
    assert client.recv(3, socket.MSG_WAITALL) == b"two"


def test_a_reset_reaches_old_and_new_connections(proxies, connect):
    client = connect()
    assert said(client, b"one") == b"one"
    proxies.switch(["a"], Mode.RESET)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert is_cut_at_once(connect)
    proxies.switch(["a"], Mode.PASS)
    assert said(connect(), b"two") == b"two"


def test_a_server_hears_what_its_answers_do_not_survive(proxies, connect, echo):
    client = connect()
    assert said(client, b"one") == b"one"
    proxies.switch(["a"], Mode.DROP_TO_CLIENT)
    client.sendall(b"two")
    echo.wait_for(b"two")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_a_connection_that_lost_bytes_is_cut_when_bytes_pass_again(proxies, connect, echo):
    client = connect()
    assert said(client, b"one") == b"one"
    proxies.switch(["a"], Mode.DROP_TO_SERVER)
    client.sendall(b"two")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(PATIENCE_S)
    proxies.switch(["a"], Mode.PASS)
    assert is_cut(client)
    assert echo.heard == b"one"


def test_nothing_listens_while_it_refuses(proxies, connect):
    client = connect()
    assert said(client, b"one") == b"one"
    proxies.switch(["a"], Mode.REFUSE)
    assert is_cut(client)
    with pytest.raises(ConnectionRefusedError):
        connect()
    proxies.switch(["a"], Mode.PASS)
    assert said(connect(), b"two") == b"two"


def test_a_proxy_can_lead_elsewhere(proxies, connect):
    client = connect()
    assert said(client, b"one") == b"one"
    other = Echo()
    try:
        proxies.lead(["a"], other.port)
        assert is_cut(client)
        assert said(connect(), b"two") == b"two"
        assert other.heard == b"two"
    finally:
        proxies.switch(["a"], Mode.RESET)
        other.close()


def test_a_server_that_is_away_cuts_the_client(proxies, connect):
    with socket.socket() as bound:
        # Bound without listening: nobody else gets the port, and nobody answers on it.
        bound.bind(("127.0.0.1", 0))
        proxies.lead(["a"], bound.getsockname()[1])
        assert is_cut_at_once(connect)


def test_the_proxies_are_found_by_their_names(proxies, free_port):
    assert proxies.names("a") == ["a"]
    assert proxies.names(suffix=">primary") == []
