"""Connections to hosts that somebody else named: only to addresses that may be reached, in time.

The host is looked up once, every address is checked, and the connection goes to the one that was
checked: a name that leads elsewhere the second time it is asked for gains nothing.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import httpcore

from loom.errors import LoomError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]

_NAT64 = ip_network("64:ff9b::/96")


class Refused(LoomError):
    """The address may not be reached."""

    code = "forbidden"


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def check_address(text: str, allowed: Iterable[Network]) -> None:
    """Raise Refused unless the address is public, or in one of the networks."""
    address = _meant(ip_address(text.partition("%")[0]))
    if inside(text, allowed):
        return
    if not address.is_global or address.is_multicast or address.is_reserved:
        raise Refused(
            f"{text} is no public address: LOOM_WEBHOOKS_ALLOW names networks that may be reached "
            "all the same"
        )


def inside(text: str, allowed: Iterable[Network]) -> bool:
    """Whether the address is in one of the networks."""
    address = _meant(ip_address(text.partition("%")[0]))
    return any(address in network for network in allowed)


def _meant(address: Address) -> Address:
    """The address that packets to this one reach: IPv4 hides in IPv6 in several forms."""
    if isinstance(address, IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if hidden is None and address in _NAT64:
            hidden = IPv4Address(int(address) & 0xFFFFFFFF)
        return hidden or address
    return address


class Guarded(httpcore.NetworkBackend):
    """Connects within a deadline, and only where it may."""

    def __init__(
        self, allowed: Sequence[Network], deadline: float, find: Resolve = resolve
    ) -> None:
        """deadline: by the monotonic clock."""
        self._allowed, self._deadline, self._find = allowed, deadline, find
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None,
        local_address: str | None = None, socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        """A connection to an address that was checked. Raises Refused."""
        try:
            addresses = self._find(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be looked up: {error}") from error
        for address in addresses:
            check_address(address, self._allowed)
        left = left_s(self._deadline)
        stream = self._inner.connect_tcp(addresses[0], port, left, local_address, socket_options)
        return _Timed(stream, self._deadline)


class _Timed(httpcore.NetworkStream):
    """A connection of which nothing lasts longer than the deadline, however slowly it drips."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, left_s(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, left_s(self._deadline))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        stream = self._inner.start_tls(ssl_context, server_hostname, left_s(self._deadline))
        return _Timed(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def left_s(deadline: float) -> float:
    """Seconds until the deadline. Raises httpcore.ReadTimeout past it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return left
