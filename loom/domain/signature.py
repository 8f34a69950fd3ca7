"""Signatures of deliveries: HMAC-SHA256 over the id, the moment and the body.

Source: github.com/standard-webhooks, specification 1.0.0, 'symmetric signature scheme'.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

from loom.domain.webhook import key_of

TOLERANCE_S = 300
"""How far a delivery's moment may be from the receiver's clock."""
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


def headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows who sent it. timestamp: seconds since 1970."""
    return {
        ID: message_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: f"v1,{_sign(secret, message_id, timestamp, body)}",
    }


def verify(secret: str, got: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether the delivery was signed with the secret, and lately. got: names in small letters."""
    try:
        timestamp = int(got[TIMESTAMP])
    except (KeyError, ValueError):
        return False
    expected = _sign(secret, got.get(ID, ""), timestamp, body).encode()
    signatures = (each.partition(",") for each in got.get(SIGNATURE, "").split())
    return abs(now - timestamp) <= TOLERANCE_S and any(
        version == "v1" and hmac.compare_digest(text.encode(), expected)
        for version, _, text in signatures
    )


def _sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()
