"""Go: build, vet and test of the module at the root, and golangci-lint where it is configured."""

from __future__ import annotations

import re

from loom.domain.evidence import StepKind
from workers.detect.found import NO_NETWORK, NOTHING, Found, Ground, left_out, lint, step

GOLANGCI = (".golangci.yml", ".golangci.yaml", ".golangci.toml", ".golangci.json")
_SECOND = re.compile(r"""^\s*["']?version["']?\s*[:=]\s*["']?2""", re.MULTILINE)


def detect(ground: Ground) -> Found:
    """How a Go module is built, linted and tested; nothing without a go.mod."""
    tree = ground.tree
    if not tree.has("go.mod"):
        return NOTHING
    why = "there is go.mod"
    given = {"GOFLAGS": "-mod=mod"} if ground.online else {}
    # Without the network, what is missing is said at once rather than after every proxy was tried.
    given |= {} if ground.online else {"GOPROXY": "off", "GOTOOLCHAIN": "local"}
    found = NOTHING
    if tree.has("go.sum"):
        if ground.prepares:
            found += step(
                StepKind.PREPARE, "go-download", "there is go.sum", "go", "mod", "download"
            )
        else:
            found += left_out("go mod download", NO_NETWORK)
    found += step(StepKind.BUILD, "go-build", why, "go", "build", "./...", environment=given)
    found += lint(ground, "go", "go-vet", why, "go", "vet", "./...", environment=given)
    if configured := tree.has(*GOLANGCI):
        second = _SECOND.search(tree.read(configured))
        written = "--output.json.path=stdout" if second else "--out-format=json"
        found += lint(
            ground, "golangci-lint", "golangci-lint", f"there is {configured}",
            "golangci-lint", "run", written, output="golangci-lint", environment=given,
        )  # fmt: skip
    return found + step(
        StepKind.TEST, "go-test", why, "go", "test", "-json", "./...",
        output="go", environment=given,
    )  # fmt: skip
