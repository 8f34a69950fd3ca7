"""What is wrong with a stack or the machine under it, and what to do about each."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from loom.errors import LoomError
from loom.messaging.topology import CORE, Topology, of_project, permission_of, permission_of_agent
from loom.stack import accounts, agent, binaries, credentials, drift, holder, rabbitmq, roster
from loom.stack.home import Home, StackSettings
from loom.stack.management import Management
from loom.stack.observe import Observer
from loom.stack.ports import Ports
from loom.stack.supervisor import Supervisor

OK, WARN, FAIL = "ok", "warn", "fail"

DISK_WARN_BYTES = 2 * 1024**3
DISK_FAIL_BYTES = 512 * 1024**2
"""RabbitMQ stops taking messages below this (disk_free_limit in rabbitmq.conf)."""
FILES_WARN, FILES_FAIL = 10_240, 1_024


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. cure: what to do, empty when all is well."""

    what: str
    verdict: str
    detail: str
    cure: str = ""

    def as_json(self) -> dict[str, str]:
        """The finding as `doctor --json` gives it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Need:
    """A program, how it tells its version, and the oldest one that will do."""

    name: str
    path: Path | None
    argument: str
    oldest: tuple[int, ...]
    package: str


def version_in(text: str) -> tuple[int, ...]:
    """The first dotted number in the text; empty if there is none."""
    match = re.search(r"\d+(?:\.\d+)+|\d+", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def judge_version(need: Need, answer: str) -> Finding:
    """Whether the version that the program told is new enough."""
    version = version_in(answer)
    told = ".".join(map(str, version)) or "unknown"
    if version >= need.oldest:
        return Finding(need.name, OK, f"{told} at {need.path}")
    wanted = ".".join(map(str, need.oldest))
    return Finding(
        need.name,
        FAIL,
        f"{told} at {need.path}, and Loom needs {wanted} or later",
        f"upgrade it: apt-get install {need.package}",
    )


def judge_disk(free: int, path: Path) -> Finding:
    """Whether the folder's disk has room."""
    detail = f"{free / 1024**3:.1f} GiB free at {path}"
    if free >= DISK_WARN_BYTES:
        return Finding("disk", OK, detail)
    verdict = WARN if free >= DISK_FAIL_BYTES else FAIL
    return Finding(
        "disk",
        verdict,
        f"{detail}; below 0.5 GiB RabbitMQ takes no more messages",
        f"free some space, or move LOOM_HOME: `du -sh {path}/*` shows what takes it",
    )


def judge_files(soft: int) -> Finding:
    """Whether a process may open enough files."""
    if soft == resource.RLIM_INFINITY or soft >= FILES_WARN:
        return Finding("open files", OK, f"a process may open {soft}")
    return Finding(
        "open files",
        WARN if soft >= FILES_FAIL else FAIL,
        f"a process may open {soft}, and RabbitMQ wants {FILES_WARN} or more",
        f"`ulimit -n {FILES_WARN}` before `loom up`, or raise nofile in /etc/security/limits.conf",
    )


def judge_secret(path: Path, mode: int) -> Finding | None:
    """What is wrong with the mode of a file with a secret; None if nothing is."""
    if mode & 0o077 == 0:
        return None
    return Finding(
        "secrets",
        FAIL,
        f"{path} has the mode {mode & 0o777:o}: others can read it",
        f"`chmod 600 {path}`, and if others use this machine `loom down`, remove the file and "
        "`loom up`, which makes a new one",
    )


class Doctor:
    """Looks at one stack and its machine. Nothing it does changes anything."""

    def __init__(self, home: Home, ports: Ports, settings: StackSettings) -> None:
        self._home = home
        self._ports = ports
        self._settings = settings
        self._running = bool(Supervisor(home, ports).pid)

    def findings(self) -> Iterator[Finding]:
        """Every finding, one after the other as it is made."""
        for examine in (
            self._python,
            self._programs,
            self._accounts,
            self._sandbox,
            self._machine,
            self._secrets,
            self._ports_taken,
            self._services,
            self._broker,
        ):
            try:
                yield from examine()
            except LoomError as error:
                name = examine.__name__.strip("_").replace("_", " ")
                yield Finding(name, FAIL, error.detail, "see `loom status` and `loom logs`")

    def _python(self) -> Iterator[Finding]:
        told = ".".join(map(str, sys.version_info[:3]))
        yield Finding("python", OK, f"{told} at {sys.executable}")

    def _programs(self) -> Iterator[Finding]:
        rabbitmq_bin, postgres_bin = binaries.rabbitmq_folder(), binaries.postgres_folder()
        for need in (
            Need(
                "postgres",
                postgres_bin and postgres_bin / "postgres",
                "--version",
                (13,),
                "postgresql",
            ),
            Need("pgbouncer", binaries.program("pgbouncer"), "--version", (1, 18), "pgbouncer"),
            Need("git", binaries.program("git"), "--version", (2, 30), "git"),
            Need("bwrap", binaries.program("bwrap"), "--version", (0, 8), "bubblewrap"),
        ):
            if need.path is None:
                yield _missing(need.name)
            else:
                yield judge_version(need, _output([str(need.path), need.argument]))
        if rabbitmq_bin is None:
            yield _missing("rabbitmq")
        else:
            # The folder is named after the version; asking the program would start an Erlang VM.
            server = (rabbitmq_bin / "rabbitmq-server").resolve()
            need = Need("rabbitmq", server, "", (3, 10), "rabbitmq-server")
            named = re.search(r"rabbitmq_server-([\d.]+)", str(server))
            yield judge_version(need, named[1] if named else self._told_version())

    def _told_version(self) -> str:
        return str(Management(self._home, self._ports).overview()["rabbitmq_version"])

    def _accounts(self) -> Iterator[Finding]:
        who = accounts.of_this_process(self._settings.service_user, self._settings.agent_user)
        if not who.switching:
            yield Finding("users", OK, f"every process runs as {who.operator.name}")
        elif who.agent.uid in {who.operator.uid, who.service.uid, who.postgres.uid}:
            yield Finding(
                "users",
                FAIL,
                f"agents run as {who.agent.name}, who owns other services' secrets",
                "set LOOM_AGENT_USER to a user of their own",
            )
        else:
            yield Finding(
                "users",
                OK,
                f"services run as {who.service.name}, agents as {who.agent.name}, servers as "
                f"{who.postgres.name} and {who.rabbitmq.name}",
            )

    def _sandbox(self) -> Iterator[Finding]:
        bwrap = binaries.program("bwrap")
        if bwrap is None:
            return
        who = accounts.of_this_process(self._settings.service_user, self._settings.agent_user)
        argv = [
            *(str(bwrap), "--ro-bind", "/", "/", "--unshare-all", "--unshare-user"),
            *("--disable-userns", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"),
            *("--", "/bin/true"),
        ]
        answer = subprocess.run(
            argv,
            user=who.agent.uid if who.switching else None,
            group=who.agent.gid if who.switching else None,
            extra_groups=[] if who.switching else None,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if answer.returncode == 0:
            yield Finding("sandbox", OK, f"the user {who.agent.name} can make one")
        else:
            yield Finding(
                "sandbox",
                FAIL,
                f"{who.agent.name} cannot make one, and so runs no command of a bead: "
                f"{answer.stderr.strip()[-200:]}",
                "allow unprivileged user namespaces: `sysctl user.max_user_namespaces=15000`, "
                "where it is known `sysctl kernel.unprivileged_userns_clone=1`, on Ubuntu "
                "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`; or, if you trust every "
                "repository, LOOM_AGENT_SANDBOX=none",
            )

    def _machine(self) -> Iterator[Finding]:
        existing = next(p for p in (self._home.path, *self._home.path.parents) if p.exists())
        yield judge_disk(shutil.disk_usage(existing).free, existing)
        yield judge_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def _secrets(self) -> Iterator[Finding]:
        files = [
            *self._home.secrets.glob("*"),
            *self._home.etc.glob("*.env"),
            *(self._home.etc / name for name in ("pgbouncer-users.txt", "flower.py")),
            self._home.supervisor_config,
        ]
        files = [file for file in files if file.is_file()]
        faults = [fault for file in files if (fault := judge_secret(file, file.stat().st_mode))]
        yield from faults or [Finding("secrets", OK, f"{len(files)} files, none open to others")]

    def _ports_taken(self) -> Iterator[Finding]:
        if self._running:
            yield Finding("ports", OK, f"the stack listens from {self._ports.base}")
            return
        try:
            holder.check_free(self._ports, "make up")
        except LoomError as error:
            yield Finding("ports", FAIL, error.detail, "end the holder, or set LOOM_PORT_BASE")
        else:
            yield Finding("ports", OK, f"free from {self._ports.base}")

    def _services(self) -> Iterator[Finding]:
        if not self._running:
            yield Finding("services", WARN, "the stack does not run", "`loom up`")
            return
        services = Observer(self._home, self._ports).look()
        unwell = [service for service in services if service.state != "running"]
        for service in unwell:
            why = f" ({service.waiting_for})" if service.waiting_for else ""
            yield Finding(
                f"service {service.name}",
                WARN if service.state == "starting" else FAIL,
                f"it is {service.state}{why}",
                f"`loom logs {service.name}` says more",
            )
        if not unwell:
            yield Finding("services", OK, f"all {len(services)} run")

    def _broker(self) -> Iterator[Finding]:
        if not self._running:
            return
        yield self._consumer_timeout()
        broker = Management(self._home, self._ports)
        for node in broker.nodes():
            alarms = [name for name in ("mem_alarm", "disk_free_alarm") if node.get(name)]
            yield (
                Finding(
                    "broker alarms",
                    FAIL,
                    f"{node['name']} takes no messages: {', '.join(alarms)}",
                    "free memory or disk; it goes on by itself",
                )
                if alarms
                else Finding("broker alarms", OK, "none")
            )
        projects = roster.project_ids(self._home, self._ports)
        yield from _drift(broker, projects)

    def _consumer_timeout(self) -> Finding:
        argv = [
            str(binaries.find().rabbitmq / "rabbitmqctl"),
            *("--node", rabbitmq.NODE, "eval", "application:get_env(rabbit, consumer_timeout)."),
        ]
        told = _output(argv, rabbitmq.environment(self._home, self._ports))
        match = re.search(r"\{ok,(\d+)\}", told)
        timeout_ms = int(match[1]) if match else 0
        if timeout_ms >= rabbitmq.CONSUMER_TIMEOUT_MS or "undefined" in told:
            return Finding("consumer_timeout", OK, f"{timeout_ms} ms")
        return Finding(
            "consumer_timeout",
            FAIL,
            f"{told.strip()[:200]}: the broker takes a long bead from the agent that works on it",
            f"set consumer_timeout = {rabbitmq.CONSUMER_TIMEOUT_MS} in rabbitmq.conf; `loom up` "
            "does that for its own broker",
        )


def _drift(broker: Management, projects: list[str]) -> Iterator[Finding]:
    parts = [CORE, *(of_project(project_id) for project_id in projects)]
    wanted = Topology(
        tuple(exchange for part in parts for exchange in part.exchanges),
        tuple(queue for part in parts for queue in part.queues),
    )
    faults = drift.of_exchanges(wanted, broker.exchanges())
    faults += drift.of_queues(wanted, broker.queues(), broker.bindings())
    for fault in faults:
        yield Finding(
            "topology",
            FAIL,
            fault,
            "what is missing the dispatcher declares at its start: `loom down && loom up`. What "
            "differs has to be emptied and deleted first, on the RabbitMQ pages",
        )
    if not faults:
        yield Finding(
            "topology",
            OK,
            f"{len(wanted.exchanges)} exchanges and {len(wanted.queues)} queues as they should be",
        )
    users = {user: permission_of(user) for user in credentials.BROKER_USERS}
    users |= {agent.name_of(project): permission_of_agent(project) for project in projects}
    strays = drift.of_permissions(users, broker.permissions(), broker.topic_permissions())
    for stray in strays:
        yield Finding("permissions", WARN, stray, "`loom down && loom up` sets Loom's users anew")
    if not strays:
        yield Finding("permissions", OK, f"{len(users)} users as they should be")


def _missing(name: str) -> Finding:
    return Finding(name, FAIL, "not installed on this machine", binaries.INSTALL)


def _output(argv: list[str], environment: dict[str, str] | None = None) -> str:
    answer = subprocess.run(
        argv,
        env=dict(os.environ) | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return answer.stdout + answer.stderr
