"""make: its targets build, lint, check and test, for what nothing else was found for."""

from __future__ import annotations

import re

from loom.domain.evidence import StepKind
from workers.detect.found import NOTHING, Found, Ground, lint, step

MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
"""In the order in which make looks for them."""
TARGETS = {
    StepKind.BUILD: ("build",),
    StepKind.LINT: ("lint",),
    StepKind.TEST: ("check", "test", "tests"),
}
_RULE = re.compile(r"^([A-Za-z0-9_./ -]+?)\s*::?(?!=)", re.MULTILINE)


def detect(ground: Ground, before: Found) -> Found:
    """The targets for those kinds of steps that there are none of before."""
    makefile = ground.tree.has(*MAKEFILES)
    if not makefile:
        return NOTHING
    targets = {
        target for rule in _RULE.findall(ground.tree.read(makefile)) for target in rule.split()
    }
    found = NOTHING
    for kind, names in TARGETS.items():
        name = next((name for name in names if name in targets), "")
        if not name or before.has(kind):
            continue
        why = f"{makefile} has the target {name}, and nothing else was found that can {kind}"
        if kind is StepKind.LINT:
            found += lint(ground, "make", "make-lint", why, "make", name)
        else:
            found += step(kind, f"make-{name}", why, "make", name)
    return found
