"""The commands that pages show: each is one of `loom`, with the arguments that it takes."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from loom import control, domain
from loom.cli import cli

CONTROL, DOMAIN = (Path(package.__path__[0]) for package in (control, domain))
EXAMPLES = {
    "bead": "bd-01m82zza8tjn9cwmf9kfv4n1g6",
    "later[0]": "bd-01m82zza8tjn9cwmf9kfv4n1g6",
    "hook": "wh-01m82zza8tjn9cwmf9kfv4n1g6",
    "agent": "agent-shop@host",
    "words": "--priority 0",
    "NAME": "agent-shop@host",
    "N": "3",
    "…": "'Why it is done'",
}
"""What stands in for an expression whose source holds the word; a project's id for any other."""
SHOWN = re.compile(r"ui\.command\((.*?)\)\s*\}\}", re.DOTALL)
TOLD = re.compile(r"`(loom [^`]+)`|<code>(loom .+?)</code>")


def example(source: str) -> str:
    return next((text for word, text in EXAMPLES.items() if word in source), "shop")


def of_templates() -> Iterator[tuple[str, str]]:
    """Every text that a template hands to `ui.command`, its expressions filled in."""
    for template in sorted((CONTROL / "templates").glob("*.html")):
        for found in SHOWN.finditer(template.read_text()):
            parts = re.split(r'("[^"]*")', found[1].replace("(", " ").replace(")", " "))
            text = "".join(
                part[1:-1] if part.startswith('"') else example(part)
                for part in parts
                if part.strip(" ~")
            )
            if text.startswith("loom "):
                yield template.name, text


def of_sentences() -> Iterator[tuple[str, str]]:
    """Every command that is told within a sentence, by a page or in what a page shows."""
    for template in sorted((CONTROL / "templates").glob("*.html")):
        for found in TOLD.finditer(template.read_text()):
            text = found[1] or found[2]
            yield template.name, re.sub(r"\{\{(.*?)\}\}", lambda m: example(m[1]), text)
    for module in sorted([*CONTROL.rglob("*.py"), *DOMAIN.rglob("*.py")]):
        for node in ast.walk(ast.parse(module.read_text())):
            for found in TOLD.finditer(_text(node)):
                yield module.name, found[1] or found[2]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            example(ast.unparse(each.value))
            if isinstance(each, ast.FormattedValue)
            else _text(each)
            for each in node.values
        )
    return ""


def parse(text: str) -> None:
    """Read it as `loom` would, and run nothing. Raises click.UsageError."""
    words = [EXAMPLES.get(word, word) if word.isupper() else word for word in shlex.split(text)][1:]
    command: click.Command = cli
    context = click.Context(command, info_name="loom")
    while isinstance(command, click.Group) and words:
        name = words.pop(0)
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"{context.command_path} has no command {name!r}")
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_context(command.name or "", words, parent=context.parent)


def test_there_are_commands_to_look_at() -> None:
    assert len(set(of_templates())) > 8
    assert len(set(of_sentences())) > 20


@pytest.mark.parametrize(("where", "text"), sorted(set(of_templates())))
def test_a_command_that_is_there_to_be_copied_runs_as_it_stands(where: str, text: str) -> None:
    parse(text)


@pytest.mark.parametrize(("where", "text"), sorted(set(of_sentences())))
def test_a_command_in_a_sentence_is_one_of_loom(where: str, text: str) -> None:
    # A sentence names the command; what it is done to stands around it.
    with contextlib.suppress(click.MissingParameter):
        parse(text)


def test_what_is_no_command_is_noticed() -> None:
    for text in ("loom project create shop", "loom bead file shop 'A title'", "loom agent begin"):
        with pytest.raises(click.UsageError):
            parse(text)
