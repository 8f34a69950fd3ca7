"""How much somebody may ask for: requests a minute by token, and tries at getting in.

Counted in this process: with several control planes each has counts of its own.
"""

from __future__ import annotations

import time

from flask import Flask, g, request
from flask_limiter import Limiter, RequestLimit
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from loom.errors import Exhausted
from loom.rpc.callers import digest

STRANGERS = RateLimitItemPerMinute(120)
"""Requests without a token or session that is known, from one address."""
OF_BOTH = RateLimitItemPerMinute(5)
"""Logins of one name from one address that fail."""
OF_ADDRESS = RateLimitItemPerMinute(30)
OF_NAME = RateLimitItemPerMinute(60, 15)
"""From everywhere: more, or anybody could lock somebody out for good."""


def install(app: Flask, per_minute: int) -> None:
    """Limit the requests of each token and session; 0: no limit. Install it behind the door, which
    finds out who asks. Probes and what is open to anybody count for nobody.
    """

    def told(limit: RequestLimit) -> None:
        wait_s = max(1, round(limit.reset_at - time.time()))
        raise Exhausted(
            f"more than {per_minute} requests came in a minute by the same token or session: "
            f"try again in {wait_s} s",
            retry_after_s=str(wait_s),
        )

    limiter = Limiter(
        _who,
        application_limits=[f"{per_minute} per minute"] if per_minute else [],
        application_limits_exempt_when=lambda: "identity" not in g,
        storage_uri="memory://",
        strategy="fixed-window",
        on_breach=told,
        key_prefix="requests",
    )
    limiter.init_app(app)


def _who() -> str:
    return str(g.identity.id or g.identity.principal.name)


class Throttle:
    """Slows down whoever guesses: tries are counted before they are looked at, so that many at once
    win nothing.
    """

    def __init__(self) -> None:
        self._counts = MovingWindowRateLimiter(MemoryStorage())

    def stranger(self) -> None:
        """Count a request that nobody known makes. Raises Exhausted."""
        self._count(STRANGERS, "stranger", _address())

    def login(self, name: str) -> None:
        """Count a try at a login. Raises Exhausted."""
        key = digest(name)
        self._count(OF_ADDRESS, "address", _address())
        self._count(OF_BOTH, "both", key, _address())
        self._count(OF_NAME, "name", key)

    def succeeded(self, name: str) -> None:
        """Forget the tries of somebody who got in."""
        key = digest(name)
        self._counts.clear(OF_BOTH, "both", key, _address())

    def _count(self, limit: RateLimitItem, *key: str) -> None:
        if not self._counts.hit(limit, *key):
            left_s = self._counts.get_window_stats(limit, *key).reset_time - time.time()
            wait_s = max(1, round(left_s))
            raise Exhausted(f"too many tries failed: wait {wait_s} s", retry_after_s=str(wait_s))


def _address() -> str:
    return request.remote_addr or ""
