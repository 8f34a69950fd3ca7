"""The report: docs/real-projects.json, and the tables of docs/real-projects.md made from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- made by `make test-real` -->\n", "<!-- end -->"
Row = dict[str, Any]


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Put the rows into both files."""
    (folder / "real-projects.json").write_text(json.dumps(rows, indent=2) + "\n")
    page = folder / "real-projects.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{tables(rows)}{END}{after}")


def tables(rows: Sequence[Row]) -> str:
    """The three tables in Markdown."""
    packages = _table(
        ("package", "language", "built by", "network", "recipe that was detected", "seconds"),
        (
            (
                f"{row['package']} {row['version']} ({row['registry']})",
                row["language"],
                row["built_by"],
                row["network"],
                ", ".join(f"`{step}`" for step in row["recipe"]),
                f"{row['seconds']:.0f}",
            )
            for row in rows
        ),
    )
    agreed = _table(
        ("package", "tests by Loom", "tests directly", "lint by Loom", "lint directly", "build"),
        (
            (
                f"{row['package']}{'' if row['network'] == 'prepare' else ', no network'}",
                _tests(row["loom"]["tests"]),
                _tests(row["direct"]["tests"]),
                _findings(row["loom"]["findings"]),
                _findings(row["direct"]["findings"]),
                _build(row["loom"]["build"], row["direct"]["build"]),
            )
            for row in rows
        ),
    )
    broken = _table(
        ("package", "what was broken", "tests by Loom", "tests directly", "distinct failing names"),
        (
            (
                f"{row['package']}{'' if row['network'] == 'prepare' else ', no network'}",
                f"`{row['broken']['file']}`",
                _tests(row["broken"]["loom"]),
                _tests(row["broken"]["direct"]),
                f"the same {row['broken']['names']}",
            )
            for row in rows
        ),
    )
    return (
        f"\n{packages}\nTests as total: passed, failed, skipped; lint as findings.\n\n{agreed}\n"
        f"The same after one line of each was broken:\n\n{broken}\n"
    )


def _tests(counts: Sequence[int]) -> str:
    total, *parts = counts
    return f"{total}: {', '.join(map(str, parts))}"


def _findings(found: dict[str, int]) -> str:
    return ", ".join(f"{tool} {count}" for tool, count in found.items()) or "none run"


def _build(loom: int | None, direct: int | None) -> str:
    return "none" if loom is None else f"exit {loom}, directly {direct}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
