"""Rust: cargo's build and test, and clippy where it is installed."""

from __future__ import annotations

from loom.domain.evidence import StepKind
from workers.detect.found import NO_NETWORK, NOTHING, Found, Ground, left_out, lint, step


def detect(ground: Ground) -> Found:
    """How a crate or workspace is built, linted and tested; nothing without a Cargo.toml."""
    tree = ground.tree
    if not tree.has("Cargo.toml"):
        return NOTHING
    why = "there is Cargo.toml"
    given = {"CARGO_TARGET_DIR": "$LOOM_EXCHANGE/target", "CARGO_TERM_COLOR": "never"}
    if not ground.online:
        given["CARGO_NET_OFFLINE"] = "true"
    found = NOTHING
    locked = ("--locked",) if tree.has("Cargo.lock") else ()
    if ground.prepares:
        found += step(StepKind.PREPARE, "cargo-fetch", why, "cargo", "fetch", *locked)
    elif locked:
        found += left_out("cargo fetch", NO_NETWORK)
    found += step(
        StepKind.BUILD, "cargo-build", why, "cargo", "build", "--workspace", environment=given
    )
    configured = tree.has("clippy.toml", ".clippy.toml")
    found += lint(
        ground, "cargo-clippy", "clippy", f"there is {configured}" if configured else why,
        "cargo", "clippy", "--workspace", "--all-targets", "--message-format=json",
        output="clippy", environment=given,
    )  # fmt: skip
    return found + step(
        StepKind.TEST, "cargo-test", why, "cargo", "test", "--workspace", "--no-fail-fast",
        output="cargo", environment=given,
    )  # fmt: skip
