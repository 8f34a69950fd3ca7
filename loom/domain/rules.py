"""A project's rules: what its beads may do, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_COMMAND_S = 86_400
"""Seconds after which any command is killed, whatever a project, bead or recipe says."""


class Network(StrEnum):
    """When commands of a project reach the network."""

    NEVER = "never"
    PREPARE = "prepare"
    """Only `prepare` steps do, which install what the others need."""
    ALWAYS = "always"


class Strategy(StrEnum):
    """Where the work of a bead goes."""

    BRANCH = "branch"
    """To a branch of its own, `agent/<bead id>`."""
    DIRECT = "direct"
    """To the project's default branch, if that still is what the work began from."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the commands of one attempt may use.

    cpu_s: seconds of processor time of one process; 0: as long as its time limit. memory_mb: of
    all processes together. processes: at one moment. file_mb: of one file. output_mb: of one
    command's stdout and stderr. disk_mb: of the workspace.
    """

    cpu_s: int = 0
    memory_mb: int = 4_096
    processes: int = 512
    file_mb: int = 1_024
    output_mb: int = 64
    disk_mb: int = 8_192


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a project; the defaults are the strictest that let ordinary work go on.

    allow_no_tests: test steps that find no test prove enough. submodules: they are fetched, from
    the protocols of the project. protocols: by which git may fetch and push. scan_secrets: a
    commit that seems to hold a secret is refused. command: the argv of the project's own coding
    agent or script, for beads worked on by `command`. recipe: as in a `.loom.toml`; a repository's
    own file goes before it.
    """

    network: Network = Network.NEVER
    strategy: Strategy = Strategy.BRANCH
    allow_no_tests: bool = False
    submodules: bool = False
    protocols: tuple[str, ...] = ("file", "https", "ssh")
    scan_secrets: bool = True
    command: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
