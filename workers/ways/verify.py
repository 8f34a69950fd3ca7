"""Work by `verify`: none. What is there is built, linted and tested, and nothing is committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.domain.project import Project
from loom.errors import Invalid
from workers.ways.way import Bench, Way


class Verify(Way):
    """Leaves everything to the recipe's own steps."""

    commits = False

    def check(self, context: Mapping[str, Any], project: Project) -> None:
        """Raise Invalid where there is work that verify would leave undone."""
        for name in ("patch", "actions"):
            if context.get(name):
                raise Invalid(
                    f"context.way is 'verify', which changes nothing, but there is a "
                    f"context.{name}: leave context.way out to have it done, and name steps "
                    "without commit and push to have it tried only"
                )

    def work(self, bench: Bench) -> None:
        """Nothing."""
