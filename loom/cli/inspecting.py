"""`loom project inspect`: the recipe that a checkout would get, and why."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.known import PROJECT
from loom.domain.project import Project
from loom.domain.rules import Network
from loom.errors import Invalid
from workers import recipe
from workers.detect.found import Ground
from workers.detect.tree import Tree
from workers.recipe import Asked, Plan

NO_TEST, BAD_RECIPE = 1, 2


@click.command()
@click.argument(
    "path", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path()
)
@click.option(
    "--project", "project_id", type=PROJECT, help="By the rules of this project; asks the API."
)
@click.option(
    "--network",
    type=click.Choice([each.value for each in Network]),
    help="As if commands reached the network then.",
)
@output.as_json_option
@click.pass_context
def inspect(
    ctx: click.Context, *, path: Path, project_id: str | None, network: str | None, as_json: bool
) -> None:
    """Show what a bead would run in the checkout at PATH, and why; nothing is run.

    Tools are looked for on the PATH of this command, which may differ from an agent's. Exit codes:
    0, 1 if no test would run, 2 if the recipe is wrong.

    \b
    loom project inspect .
    loom project inspect ../shop --project shop --json
    """
    project = _project(project_id, network)
    ground = Ground(_tree(path), lambda program: bool(shutil.which(program)), project.rules.network)
    try:
        plan = recipe.plan(Asked(), project, ground)
    except Invalid as fault:
        if as_json:
            output.as_json({"error": fault.detail})
        else:
            click.echo(f"Error: {fault.detail}", err=True)
        ctx.exit(BAD_RECIPE)
    if as_json:
        output.as_json(_document(plan))
    else:
        _print(plan)
    if plan.untested:
        ctx.exit(NO_TEST)


def _project(project_id: str | None, network: str | None) -> Project:
    """The project whose rules hold, or one with the default rules."""
    project = Project("inspected", os.curdir)
    if project_id:
        with profile.current().client() as client:
            project = client.get_project(project_id)
    if network is None:
        return project
    return replace(project, rules=replace(project.rules, network=Network(network)))


def _tree(path: Path) -> Tree:
    try:
        return Tree.at(path)
    except OSError as error:
        raise Invalid(f"{path} cannot be looked into: {error.strerror}") from error


def _document(plan: Plan) -> dict[str, Any]:
    return {
        "source": plan.recipe.source,
        "steps": [
            {
                "kind": step.kind.value,
                "name": step.name,
                "argv": list(step.argv),
                "why": step.why,
                "advisory": step.advisory,
                "timeout_s": step.timeout_s,
                "soft_timeout_s": step.soft_timeout_s,
                "output": step.output,
                "reports": list(step.reports),
                "environment": dict(step.environment),
            }
            for step in plan.recipe.steps
        ],
        "artifacts": list(plan.recipe.artifacts),
        "left_out": [{"what": out.what, "why": out.why} for out in plan.left_out],
        "untested": plan.untested or None,
    }


def _print(plan: Plan) -> None:
    click.echo(f"recipe: {plan.recipe.source}")
    output.table(
        ("kind", "step", "command", "why"),
        [
            (
                step.kind.value + (" (advisory)" if step.advisory else ""),
                escape(step.name),
                escape(shlex.join(step.argv)),
                escape(step.why),
            )
            for step in plan.recipe.steps
        ],
    )
    if plan.recipe.artifacts:
        click.echo(f"keeps: {', '.join(plan.recipe.artifacts)}")
    for out in plan.left_out:
        click.echo(f"left out: {out.what}: {out.why}")
    if plan.untested:
        click.echo(f"no test would run: {plan.untested}")
