"""The examples of docs/api.md do what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from control_api import PROJECT, TOKEN, Api
from werkzeug.test import TestResponse

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def curl(api: Api, command: str) -> TestResponse:
    """What curl would get."""
    words = shlex.split(command.replace("$TOKEN", TOKEN).replace("$LOOM", ""))
    headers: dict[str, str] = {}
    method, body, path = "GET", None, ""
    rest = iter(words[1:])
    for word in rest:
        if word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-X":
            method = next(rest)
        elif word == "-d":
            body = next(rest)
        elif word != "-i":
            path = word
    if body is not None and method == "GET":
        method = "POST"
    return api.client.open(path, method=method, headers=headers, data=body)


def test_every_example_succeeds() -> None:
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    for name in ("bd-one", "bd-two"):
        api.file(id=name)
    commands = re.findall(r"^\$ (curl .*)$", PAGE.read_text(), re.MULTILINE)

    answers = [(command, curl(api, command)) for command in commands]

    assert len(commands) > 12
    for command, answer in answers:
        assert answer.status_code in (200, 202), (command, answer.text)
