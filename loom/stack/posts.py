"""The posts of a stack: which agents are wanted on this machine.

Each project has one; a file in LOOM_HOME/posts names each further one, and each that somebody
stopped. So what is wanted outlives `loom down`, and the fleet carries it out.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from loom.domain.presence import agent_name, project_of_agent
from loom.errors import Invalid
from loom.messaging.topology import agent_user
from loom.stack.accounts import Accounts
from loom.stack.home import Home


@dataclass(frozen=True, slots=True)
class Post:
    """One agent that is wanted, or not any more. label: empty for the project's first."""

    project_id: str
    label: str = ""
    concurrency: int = 1
    stopped: bool = False

    @property
    def program(self) -> str:
        """The name of its process, log and settings."""
        user = agent_user(self.project_id)
        return agent_name(self.project_id, self.label) if self.label else user

    @property
    def name(self) -> str:
        """The agent's name in Celery and the ledger."""
        return agent_name(self.project_id, self.label or socket.gethostname())


def recorded(home: Home) -> dict[str, Post]:
    """The posts of which something is written, by the name of their program."""
    found = {}
    for file in sorted(home.posts.glob("*.json")):
        try:
            post = Post(**json.loads(file.read_text()))
            found[post.program] = post
        except (ValueError, TypeError, Invalid) as error:
            raise Invalid(f"{file} is no post of an agent: {error}; mend or remove it") from error
    return found


def record(home: Home, accounts: Accounts, post: Post) -> None:
    """Write a post down; the fleet sees to it within a second or two."""
    accounts.folder(home.posts, accounts.operator, 0o700)
    file = home.posts / f"{post.program}.json"
    accounts.write(file, json.dumps(asdict(post)) + "\n", accounts.operator)


def wanted(project_ids: Iterable[str], written: dict[str, Post]) -> list[Post]:
    """Every post of these projects, the stopped ones included."""
    known = set(project_ids)
    first = [Post(project_id) for project_id in sorted(known)]
    further = [post for post in written.values() if post.label and post.project_id in known]
    return [written.get(post.program, post) for post in first] + further


def vacant(project_id: str, written: dict[str, Post], concurrency: int) -> Post:
    """The next post to fill: the first that is stopped, else a fresh one."""
    for post in written.values():
        if post.project_id == project_id and post.stopped and not post.label:
            return Post(project_id, concurrency=concurrency)
    number = 2
    while True:
        post = Post(project_id, f"{socket.gethostname()}-{number}", concurrency)
        if post.program not in written or written[post.program].stopped:
            return post
        number += 1


def find(name: str, written: dict[str, Post]) -> Post:
    """The post of the agent with that name on this machine. Raises Invalid for no name."""
    project_id = project_of_agent(name)
    for post in (Post(project_id), *written.values()):
        if post.name == name:
            return written.get(post.program, post)
    return Post(project_id, name.partition("@")[2])
