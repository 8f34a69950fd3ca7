"""Projects."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment, NextCursor, Object, Path
from loom.domain.project import ProjectState
from loom.domain.rules import Network, Strategy


class LimitsOut(Answer):
    """What a command may take."""

    cpu_s: Count
    memory_mb: Count
    processes: Count
    file_mb: Count
    output_mb: Count
    disk_mb: Count


class RulesOut(Answer):
    """A project's rules, every one."""

    network: Network
    strategy: Strategy
    allow_no_tests: bool
    submodules: bool
    protocols: list[str]
    scan_secrets: bool
    command: list[str]
    recipe: Object
    limits: LimitsOut


class ProjectLinks(Answer):
    """Where the rest of a project is."""

    self: Path
    beads: Path
    dead_letters: Path


class ProjectOut(Answer):
    """A git repository with its rules."""

    id: str
    name: str
    repository: str
    default_branch: str
    test_command: list[str]
    timeout_s: Count
    soft_timeout_s: Count
    queue_window: Count
    state: ProjectState
    weight: Count
    max_in_progress: Count
    max_attempts: Count
    rules: RulesOut
    version: Count
    created_at: Moment
    links: ProjectLinks


class ProjectPageOut(Answer):
    """Some projects."""

    projects: list[ProjectOut]
    next_cursor: NextCursor
