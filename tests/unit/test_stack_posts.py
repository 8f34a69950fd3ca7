"""Which agents are wanted on a machine, and what becomes of that in the supervisor's words."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from loom.errors import Invalid
from loom.stack import accounts, agent, posts, render
from loom.stack.home import Home, StackSettings
from loom.stack.ports import Ports
from loom.stack.posts import Post

HERE = socket.gethostname()


@pytest.fixture
def plan(tmp_path: Path) -> render.Plan:
    me = accounts.Account("me", os.geteuid(), os.getegid())
    who = accounts.Accounts(me, me, me, me, me, switching=False)
    made = render.Plan(Home(tmp_path), Ports(18_000), who, StackSettings())
    render.lay_out(made)
    return made


def record(plan: render.Plan, post: Post) -> None:
    posts.record(plan.home, plan.accounts, post)


def test_each_project_has_one_agent_unless_more_is_written_down(plan: render.Plan) -> None:
    record(plan, Post("shop", "blue", concurrency=2))
    record(plan, Post("mill", stopped=True))
    record(plan, Post("gone", "red"))
    wanted = posts.wanted(["shop", "mill"], posts.recorded(plan.home))
    assert wanted == [Post("mill", stopped=True), Post("shop"), Post("shop", "blue", 2)]


def test_the_agents_of_a_project_are_not_those_of_one_with_a_longer_id() -> None:
    assert Post("shop", "2").program == "agent-shop@2"
    assert Post("shop-2").program == "agent-shop-2"
    assert Post("shop").name == f"agent-shop@{HERE}"
    with pytest.raises(Invalid):
        _ = Post("shop", "../x").program


def test_the_next_agent_gets_the_first_free_number(plan: render.Plan) -> None:
    for number in (2, 3):
        post = posts.vacant("shop", posts.recorded(plan.home), 1)
        assert post == Post("shop", f"{HERE}-{number}")
        record(plan, post)
    record(plan, Post("shop", f"{HERE}-2", stopped=True))
    assert posts.vacant("shop", posts.recorded(plan.home), 4) == Post("shop", f"{HERE}-2", 4)
    record(plan, Post("shop", stopped=True))
    assert posts.vacant("shop", posts.recorded(plan.home), 1) == Post("shop")


def test_an_agent_is_found_by_its_name(plan: render.Plan) -> None:
    record(plan, Post("shop", "blue", 3))
    written = posts.recorded(plan.home)
    assert posts.find("agent-shop@blue", written) == Post("shop", "blue", 3)
    assert posts.find(f"agent-shop@{HERE}", written) == Post("shop")
    assert posts.find("agent-shop@red", written) == Post("shop", "red")
    with pytest.raises(Invalid):
        posts.find("shop", written)


def test_a_post_that_cannot_be_read_is_told_of_by_its_file(plan: render.Plan) -> None:
    (plan.home.posts / "agent-shop.json").write_text('{"colour": 1}')
    with pytest.raises(Invalid, match=r"agent-shop\.json"):
        posts.recorded(plan.home)


def test_a_further_agent_has_its_own_folders_and_the_rights_of_its_project(
    plan: render.Plan,
) -> None:
    first, further = Post("shop"), Post("shop", "blue", concurrency=2)
    for post in (first, further):
        agent.equip(plan, "shop", post)
        assert agent.enlist(plan, post)
        assert not agent.enlist(plan, post)
    settings = [plan.home.settings_file(post.program).read_text() for post in (first, further)]
    lines = [dict(line.split("=", 1) for line in text.splitlines()) for text in settings]
    same = ("LOOM_BROKER_USERNAME", "LOOM_LEDGER_TOKEN", "LOOM_AGENT_PROJECT")
    assert [lines[0][key] for key in same] == [lines[1][key] for key in same]
    assert lines[0]["LOOM_AGENT_WORKSPACE"] != lines[1]["LOOM_AGENT_WORKSPACE"]
    assert lines[1]["LOOM_AGENT_NAME"] == "'agent-shop@blue'"
    assert lines[1]["LOOM_AGENT_CONCURRENCY"] == "'2'"
    assert (plan.home.workspaces / "shop@blue" / "home").is_dir()
    text = (plan.home.agent_programs / "agent-shop@blue.conf").read_text()
    assert "[program:agent-shop@blue]" in text
    assert "autorestart=unexpected" in text
    assert agent.discharge(plan, further)
    assert not agent.discharge(plan, further)
