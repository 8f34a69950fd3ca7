"""TCP proxies between the services of a scratch stack, with which the network can fail."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable
from enum import Enum
from typing import TypeVar

from loom.stack.ports import HOST

CHUNK = 64 * 1024
CALL_S = 10.0

T = TypeVar("T")


class Mode(Enum):
    """What a proxy does with what comes to it."""

    PASS = "pass"  # noqa: S105 - the name of a mode
    STALL = "stall"
    """Connections stay, and no byte moves; with PASS they go on where they stood."""
    RESET = "reset"
    """Connections are reset, and so is every new one once it is accepted."""
    DROP_TO_CLIENT = "drop-to-client"
    """What the server says vanishes: a broker takes what it is sent, and its confirms are lost."""
    DROP_TO_SERVER = "drop-to-server"
    """What the client says vanishes."""
    REFUSE = "refuse"
    """Connections are cut, and nothing listens."""


class Proxy:
    """One port that leads to another: Proxies makes them. Its mode holds for old and new
    connections alike."""

    def __init__(self, name: str, port: int, upstream: int) -> None:
        self.name = name
        self.port = port
        self.mode = Mode.PASS
        self._upstream = upstream
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._torn: set[asyncio.StreamWriter] = set()
        """Connections that have lost bytes: what came later would be gibberish."""

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._writers) // 2

    async def listen(self) -> None:
        """Begin to accept."""
        self._server = await asyncio.start_server(
            self._accept, HOST, self.port, reuse_address=True, backlog=512
        )

    async def switch(self, mode: Mode) -> None:
        """Go over to the mode."""
        self.mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode in (Mode.RESET, Mode.REFUSE):
            self._reset(self._writers)
        else:
            self._reset(self._torn)
        if mode is Mode.REFUSE:
            await self._close_server()
        elif self._server is None:
            await self.listen()

    async def lead_to(self, upstream: int) -> None:
        """Lead new connections to another port, and cut those to the old one."""
        if upstream != self._upstream:
            self._upstream = upstream
            self._reset(self._writers)

    async def close(self) -> None:
        """Stop listening, and cut every connection."""
        self._reset(self._writers)
        await self._close_server()

    async def _close_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    def _reset(self, writers: set[asyncio.StreamWriter]) -> None:
        for writer in list(writers):
            _reset(writer)
        self._torn.clear()

    async def _accept(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        if self.mode in (Mode.RESET, Mode.REFUSE):
            _reset(to_client)
            return
        self._writers.add(to_client)
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self._upstream)
            self._writers.add(to_server)
            await asyncio.gather(
                self._carry(from_client, to_server, Mode.DROP_TO_SERVER),
                self._carry(from_server, to_client, Mode.DROP_TO_CLIENT),
            )
        except OSError:
            # Nothing listens there, or one side is gone: so is the connection.
            pass
        finally:
            for writer in filter(None, (to_client, to_server)):
                _reset(writer)
                self._writers.discard(writer)
                self._torn.discard(writer)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dropping: Mode
    ) -> None:
        while data := await reader.read(CHUNK):
            while self.mode is Mode.STALL:
                await self._changed.wait()
            if self.mode is dropping:
                self._torn.add(writer)
                continue
            writer.write(data)
            await writer.drain()
        while self.mode in (Mode.STALL, dropping):
            await self._changed.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()


class Proxies:
    """Every proxy of a scratch stack, on one thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._proxies: dict[str, Proxy] = {}
        self._thread.start()

    def __getitem__(self, name: str) -> Proxy:
        return self._proxies[name]

    def add(self, name: str, port: int, upstream: int) -> Proxy:
        """Listen at the port for what is at the port upstream; OSError if it is taken."""

        async def begin() -> Proxy:
            proxy = Proxy(name, port, upstream)
            await proxy.listen()
            return proxy

        proxy = self._proxies[name] = self._do(begin())
        return proxy

    def names(self, prefix: str = "", suffix: str = "") -> list[str]:
        """The names that begin and end so, in order."""
        return sorted(n for n in self._proxies if n.startswith(prefix) and n.endswith(suffix))

    def switch(self, names: list[str], mode: Mode) -> None:
        """Switch the proxies over; returns when it is done."""
        for name in names:
            self._do(self._proxies[name].switch(mode))

    def lead(self, names: list[str], upstream: int) -> None:
        """Lead the proxies to another port."""
        for name in names:
            self._do(self._proxies[name].lead_to(upstream))

    def close(self) -> None:
        """Cut everything, and end the thread."""
        for proxy in self._proxies.values():
            self._do(proxy.close())
        self._proxies.clear()
        self._do(_let_go())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    def _do(self, call: Awaitable[T]) -> T:
        async def run() -> T:
            return await call

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CALL_S)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; a peer that is still there sees a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _let_go() -> None:
    """Let the connections that were cut end."""
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
