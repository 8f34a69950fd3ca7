"""Connections as a browser holds them open: read as they come, or not at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

HELD_BYTES = 4_096
"""What the kernel takes in for a reader that takes nothing."""


class Stream:
    """One answer that goes on, read by its lines. A client of HTTP would cost many times as much,
    and all of it on the machine that is measured.
    """

    status = 0

    def __init__(self, url: str, path: str, headers: Mapping[str, str]) -> None:
        self._url, self._path, self._headers = url, path, headers
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        where = urlsplit(self._url)
        self._reader, self._writer = await asyncio.open_connection(where.hostname, where.port)
        self._writer.write(_request(self._url, self._path, self._headers))
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        self.status = int(head[0].split()[1])
        named = (line.partition(":") for line in head[1:] if line)
        self.headers = {name.lower(): value.strip() for name, _, value in named}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._writer.close()

    async def lines(self) -> AsyncIterator[bytes]:
        """Each line, until the connection ends; lines that frame the pieces are among them."""
        async for line in self._reader:
            yield line


def stalled(url: str, path: str, headers: Mapping[str, str]) -> socket.socket:
    """A reader that asks, and then takes nothing."""
    where = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD_BYTES)
    connection.connect((where.hostname, where.port))
    connection.sendall(_request(url, path, headers))
    return connection


def _request(url: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join([*lines, "Accept: text/event-stream"]) + "\r\n\r\n").encode()
