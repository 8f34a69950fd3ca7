"""`python -m bench`: every figure, on a stack of its own, which is gone afterwards."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import structlog
from rich.console import Console
from rich.table import Table

from bench import calls, memory, messages, trip
from bench.processor import Processor
from loom.drill.folder import HOME
from loom.drill.folder import folder as own_folder
from loom.drill.small import Small
from loom.stack import holder

LEAST_MS = 0.1
"""Services that take less of the processor are not shown."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=20.0, show_default=True, help="Of the paced phases together.")
@click.option("--beads", default=400, show_default=True, help="In one bulk.")
@click.option("--rounds", default=3, show_default=True, help="How often each side comes.")
@click.option(
    "--json", "path", type=click.Path(dir_okay=False, path_type=Path), envvar="BENCH_JSON",
    help="Write figures and raw samples here; BENCH_JSON says the same.",
)  # fmt: skip
def main(seconds: float, beads: int, rounds: int, path: Path | None) -> None:
    """Measure Loom beside raw clients and plain Celery, on the same servers in the same run.

    It starts a stack of its own on ports that are free: messages through Loom's publisher and
    consumer beside pika and py-amqp, calls of the database service, the time from an accepted bead
    to its agent's first instruction, beads done a second beside Celery, and memory.

    \b
    make bench
    BENCH_JSON=figures.json make bench
    python -m bench --rounds 1 --beads 100
    """
    # Standard output is for the table.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    began = time.monotonic()
    with own_folder() as folder, _stack(folder) as site:
        document: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {
                "cores": os.cpu_count(),
                "system": platform.system(),
                "python": platform.python_version(),
                "load_before": round(os.getloadavg()[0], 2),
            },
            # First, so that single calls meet a stack that has settled.
            "messages": messages.measure(site, 2.0, rounds, _tell),
            "calls": calls.measure(site, 300, _tell),
            "real": trip.real(site, _tell),
        }
        with trip.both(site, folder) as sides:
            pids = {f"{side.name} {what}": pid for side in sides for what, pid in side.pids.items()}
            document["trip"] = trip.measure(
                sides,
                Processor(site, pids),
                per_second=10.0,
                seconds=seconds,
                beads=beads,
                rounds=rounds,
                tell=_tell,
            )
            document["memory"] = memory.measure(site, pids)
    document["seconds"] = round(time.monotonic() - began, 1)
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n")
    _show(document)


@contextmanager
def _stack(folder: Path) -> Iterator[Small]:
    site = Small(folder / HOME, holder.free_base())
    try:
        _tell("starting a stack")
        site.start()
        yield site
    finally:
        site.stop()


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _show(document: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "loom", "beside"):
        table.add_column(heading, overflow="fold")
    for row in rows(document):
        table.add_row(*row)
    Console(highlight=False).print(table)


def rows(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What is shown: what was measured, Loom's figure, and that of what it is compared with."""
    sides = document["messages"]["sides"]
    for what, key in (("confirmed", "published_per_s"), ("acknowledged", "consumed_per_s")):
        rates = {name: f"{side[key]['median']:,.0f}" for name, side in sides.items()}
        beside = f"pika {rates['pika']}, py-amqp {rates['py-amqp']}"
        yield f"messages {what} a second, 1 KiB, quorum queue", rates["loom"], beside
    starts, whole = document["trip"]["start_ms"], document["trip"]["whole_per_s"]
    yield (
        "accepted to the first instruction, 10 a second: p50 / p99",
        "{p50} / {p99} ms".format(**starts["loom"]),
        "Celery {p50} / {p99} ms".format(**starts["celery"]),
    )
    yield (
        f"done a second, {whole['loom']['beads']} that do nothing, in bulk: median (worst to best)",
        "{median} ({worst} to {best})".format(**whole["loom"]),
        "Celery {median} ({worst} to {best})".format(**whole["celery"]),
    )
    took = document["trip"]["processor_ms"]
    yield (
        "processor for one of them, over all services",
        f"{sum(took['loom'].values()):.1f} ms",
        f"Celery {sum(took['celery'].values()):.1f} ms",
    )
    for name, ours in sorted(took["loom"].items(), key=lambda each: -each[1]):
        if max(ours, took["celery"][name]) >= LEAST_MS:
            yield f"of it {name}", f"{ours:.1f} ms", f"{took['celery'][name]:.1f} ms"
    real = document["real"]["per_s"]
    yield "the same by a whole agent: checkout, command, evidence", f"{real}", ""
    times = document["calls"]["one_after_the_other_ms"]
    for name, words in (
        ("read_bead", "a bead read from the database service: p50 / p99"),
        ("create_bead", "a bead made there"),
    ):
        floor = "a call that does nothing {p50} / {p99} ms".format(**times["health"])
        yield words, "{p50} / {p99} ms".format(**times[name]), floor
    for name, used in document["memory"]["services"].items():
        yield f"memory of {name}", f"{used['pss_bytes'] / 2**20:.0f} MiB", ""
    for name, used in document["memory"]["peers"].items():
        yield f"memory of the bench's {name}", "", f"{used['pss_bytes'] / 2**20:.0f} MiB"


if __name__ == "__main__":
    main()
