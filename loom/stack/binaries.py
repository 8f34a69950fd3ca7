"""The programs of others that a stack runs, and what to do where one is missing."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from loom.errors import Unavailable

PACKAGES = ("rabbitmq-server", "postgresql", "pgbouncer", "git", "bubblewrap")
"""Debian's packages that hold them."""

INSTALL = (
    "run `deploy/install.sh` once as root: it installs Debian's "
    + ", ".join(PACKAGES)
    + " and starts nothing. Without root or apt, run the same stack in containers: "
    "`docker compose up --build --wait` (docker/README.md)"
)
"""What to run where they are missing."""

_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where each program is."""

    rabbitmq: Path
    """The folder of rabbitmq-server and rabbitmqctl."""
    epmd: Path
    postgres: Path
    """The folder of postgres, initdb, psql and pg_isready."""
    pgbouncer: Path


def rabbitmq_folder() -> Path | None:
    """The folder of RabbitMQ's own scripts.

    Debian's /usr/sbin/rabbitmq-server is a wrapper that insists on its user and its /etc.
    """
    for folder in (Path("/usr/lib/rabbitmq/bin"), _folder_of("rabbitmq-server")):
        if folder and (folder / "rabbitmq-server").is_file():
            return folder
    return None


def postgres_folder() -> Path | None:
    """The folder of the newest PostgreSQL server here: Debian keeps each version apart."""
    versions = [
        folder
        for folder in Path("/usr/lib/postgresql").glob("*/bin")
        if (folder / "postgres").is_file() and re.fullmatch(r"\d+", folder.parent.name)
    ]
    if versions:
        return max(versions, key=lambda folder: int(folder.parent.name))
    return _folder_of("postgres")


def program(name: str) -> Path | None:
    """The program of that name, also in the folders that only root has in its PATH."""
    found = shutil.which(name) or shutil.which(name, path=_SBIN)
    return Path(found) if found else None


def find() -> Binaries:
    """Every program; raises Unavailable naming all that are missing and what to run."""
    rabbitmq, postgres = rabbitmq_folder(), postgres_folder()
    epmd, pgbouncer = program("epmd"), program("pgbouncer")
    if rabbitmq and postgres and epmd and pgbouncer:
        return Binaries(rabbitmq, epmd, postgres, pgbouncer)
    missing = {
        "RabbitMQ (rabbitmq-server)": rabbitmq,
        "Erlang (epmd)": epmd,
        "PostgreSQL (postgres)": postgres,
        "PgBouncer (pgbouncer)": pgbouncer,
    }
    names = ", ".join(name for name, found in missing.items() if not found)
    raise Unavailable(f"not installed on this machine: {names}. To get them, {INSTALL}")


def _folder_of(name: str) -> Path | None:
    found = program(name)
    return found.resolve().parent if found else None
