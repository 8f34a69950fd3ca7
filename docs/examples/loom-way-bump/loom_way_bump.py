"""Work by `bump`: writes context.version into the file VERSION."""

from collections.abc import Mapping
from typing import Any

from loom.domain.project import Project
from loom.errors import Invalid
from workers.ways.way import Bench, Way


class Bump(Way):
    """Sets the version."""

    def check(self, context: Mapping[str, Any], project: Project) -> None:
        """Raise Invalid unless there is a version to write."""
        version = context.get("version")
        if not isinstance(version, str) or not version.replace(".", "").isdigit():
            raise Invalid("context.version has to be text like 1.2.3")

    def work(self, bench: Bench) -> None:
        """Write it."""
        version = bench.bead.context["version"]
        before = bench.files.read("VERSION", limit=100).decode().strip()
        bench.files.write("VERSION", f"{version}\n".encode())
        bench.record("bump", f"VERSION: {before} -> {version}")
        bench.describe_commit(f"Release {version}")
