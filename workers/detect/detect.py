"""All that is detected in a checkout, of every family of tools."""

from __future__ import annotations

from loom.domain.recipe import COMMANDS
from workers.detect import go, jvm, make, node, python, python_lint, rust
from workers.detect.found import NOTHING, Found, Ground

FAMILIES = (python.detect, python_lint.detect, node.detect, go.detect, rust.detect, jvm.detect)


def detect(ground: Ground) -> Found:
    """What each family finds, in the order of kinds; make for what none of them found."""
    found = NOTHING
    for family in FAMILIES:
        found += family(ground)
    found += make.detect(ground, found)
    ordered = sorted(found.steps, key=lambda step: COMMANDS.index(step.kind))
    return Found(tuple(ordered), found.left_out)
