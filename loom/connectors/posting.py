"""One try of one delivery: signed, posted, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpcore
import httpx

from loom import __version__
from loom.clients.eventstream import MIME, event_to_json
from loom.connectors.outside import Guarded, Network, Refused, Resolve, inside, resolve
from loom.domain import signature
from loom.domain.webhook import KEPT_RESPONSE, Errand, Tried
from loom.errors import LoomError
from loom.settings.webhooks import WebhookSettings

READ_BYTES = 4 * KEPT_RESPONSE
"""So much of an answer's body is read at most."""
PAUSED = frozenset({429, 503})
"""Answers whose Retry-After is heard."""


class Post:
    """Posts deliveries; any thread may."""

    def __init__(self, settings: WebhookSettings, find: Resolve = resolve) -> None:
        self._timeout_s, self._find = settings.timeout_s, find
        self._allowed: Sequence[Network] = settings.networks
        self._tls = httpx.create_ssl_context(trust_env=False)
        if settings.ca_file:
            self._tls.load_verify_locations(settings.ca_file)

    def __call__(self, errand: Errand) -> Tried:
        """Try once; whatever goes wrong is in what it returns."""
        began = time.monotonic()
        status, response, error, retry_after_s = 0, "", "", 0.0
        try:
            status, response, retry_after_s = self._send(errand, began + self._timeout_s)
        except httpcore.TimeoutException:
            error = f"it did not answer within {self._timeout_s:g} s"
        except LoomError as refused:
            error = refused.detail
        except (
            httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError,
            ValueError,
        ) as failed:  # fmt: skip
            error = f"it could not be reached: {failed or type(failed).__name__}"
        took_ms = round((time.monotonic() - began) * 1000)
        return Tried(errand.delivery_id, status, error, response, took_ms, retry_after_s)

    def _send(self, errand: Errand, deadline: float) -> tuple[int, str, float]:
        parts = urlsplit(errand.url)
        if parts.scheme == "http":
            self._check_plain(parts.hostname or "", parts.port or 80)
        body = json.dumps(event_to_json(errand.event), ensure_ascii=False).encode()
        signed = signature.headers(errand.secret, errand.event.id, int(time.time()), body)
        headers = {
            "Host": parts.netloc,
            "Content-Type": MIME,
            "Content-Length": str(len(body)),
            "User-Agent": f"Loom/{__version__}",
            "Idempotency-Key": errand.event.id,
            "Accept-Encoding": "identity",
            "Connection": "close",
            **signed,
        }
        backend = Guarded(self._allowed, deadline, self._find)
        # Of its own for each try: a connection that is kept would outlive the look at its address.
        with (
            httpcore.ConnectionPool(self._tls, network_backend=backend) as pool,
            pool.stream("POST", errand.url, headers=list(headers.items()), content=body) as answer,
        ):
            text = b""
            for piece in answer.iter_stream():
                text += piece
                if len(text) >= READ_BYTES:
                    break
            given = _header(answer, b"retry-after") if answer.status in PAUSED else b""
            said = text[:READ_BYTES].decode("utf-8", "replace")[:KEPT_RESPONSE]
            return answer.status, said, _seconds(given)

    def _check_plain(self, host: str, port: int) -> None:
        """Raise Refused for a host outside of the allowed networks: anybody could read along."""
        try:
            addresses = [str(ip_address(host))]
        except ValueError:
            addresses = list(self._find(host, port))
        if not all(inside(address, self._allowed) for address in addresses):
            raise Refused(
                "http:// is for networks that LOOM_WEBHOOKS_ALLOW names: take https:// elsewhere"
            )


def _header(answer: httpcore.Response, name: bytes) -> bytes:
    return next((value for key, value in answer.headers if key.lower() == name), b"")


def _seconds(text: bytes) -> float:
    try:
        return max(0.0, float(int(text)))
    except ValueError:
        return 0.0
