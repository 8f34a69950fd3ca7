"""Tries to get out of the sandbox, as whoever runs it; prints as JSON what came of each try.

Run as `python sandbox_corpus.py FOLDER MODE`, where FOLDER is the caller's own and MODE is one of
bubblewrap, none. With none it shows that the tries have teeth: most of them get out.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loom.domain.rules import Limits
from loom.errors import Invalid
from workers import command
from workers.command import Ended, Leash
from workers.launch import launching
from workers.sandbox import Sandbox

PATH = "/usr/local/bin:/usr/bin:/bin"
PATIENCE_S = 60.0
ESCAPES = Path(__file__).with_name("escapes.py")
HARMLESS = (
    "read_the_state_folder",
    "read_another_workspace",
    "read_by_a_symlink",
    "read_by_dots",
    "read_the_environment_of_a_process",
    "find_shared_memory",
    "signal_the_agent",
    "kill_a_process_outside",
    "connect_to_a_socket_file",
    "connect_to_an_abstract_socket",
    "connect_to_a_port_on_loopback",
    "write_beside_the_workspace",
)
"""What is tried without a sandbox, where it harms nothing but what is made for it here."""


@dataclass
class Fifo:
    """The reader's end of a fifo."""

    reader: int

    def said(self) -> bool:
        """Whether a writer says something in good time."""
        return bool(select.select([self.reader], [], [], PATIENCE_S)[0])

    def gone(self) -> bool:
        """Whether all writers are gone in good time."""
        try:
            while os.read(self.reader, 4096):
                pass
            return True
        except BlockingIOError:
            # Somebody has it open.
            return self.said() and self.gone()


@dataclass
class Stand:
    """A workspace, and all around it that a command must not reach."""

    folder: Path
    mode: str
    canary: str

    @property
    def checkout(self) -> Path:
        return self.folder / "work" / "mine" / "checkout"

    @property
    def home(self) -> Path:
        return self.folder / "work" / "mine" / "home"

    @property
    def readable(self) -> Path:
        return self.folder / "mirror"

    def run(
        self,
        *argv: str,
        network: bool = False,
        stdin: bytes = b"",
        timeout_s: float = PATIENCE_S,
        soft_timeout_s: float | None = None,
        environment: Mapping[str, str] | None = None,
        **limits: int,
    ) -> Ended:
        sandbox = Sandbox(self.mode, PATH, readable=[self.readable], hidden=[self.folder])
        wrapped = sandbox.wrap(
            argv,
            cwd=self.checkout,
            writable=[self.checkout, self.home],
            environment={"PATH": PATH, "HOME": str(self.home), **(environment or {})},
            network=network,
            limits=Limits(**limits),
        )
        return command.run_wrapped(
            wrapped, timeout_s=timeout_s, soft_timeout_s=soft_timeout_s, leash=Leash(), stdin=stdin
        )

    def python(self, text: str, **given: int) -> Ended:
        return self.run("/usr/bin/python3", "-c", text, **given)

    @contextmanager
    def fifo(self, name: str) -> Iterator[Fifo]:
        """A fifo in the checkout."""
        place = self.checkout / name
        os.mkfifo(place)
        reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
        try:
            yield Fifo(reader)
        finally:
            os.close(reader)
            place.unlink()


def main() -> None:
    """Set the stand up, try everything, and print what got out and what was tried."""
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    stand = Stand(folder, mode, secrets.token_hex(16))
    tried: dict[str, str] = {}
    with ExitStack() as stack:
        outside = _outside(stand, stack)
        if mode == "none":
            tried |= _inside(stand, outside | {"only": HARMLESS}, network=False)
        else:
            tried |= _inside(stand, outside, network=False)
            # Once is enough, and nobody is who agents are.
            with_network = _inside(stand, outside, network=True) if os.geteuid() else {}
            tried |= {
                f"{name} (with the network)": words
                for name, words in with_network.items()
                # With it the agent's own network is there, as the documentation says.
                if not name.startswith(("connect_to", "find_a_network", "send_raw"))
                or name == "connect_to_a_socket_file"
            }
            victim = outside["victim"]
            assert isinstance(victim, int)
            os.kill(victim, 0)
            tried |= {case.__name__.lstrip("_"): _tried(case, stand) for case in BY_ITSELF}
    print(json.dumps({"uid": os.getuid(), "tried": tried}))


def _outside(stand: Stand, stack: ExitStack) -> dict[str, object]:
    """All that a command must not reach."""
    state, others = stand.folder / "state", stand.folder / "work" / "other"
    for folder in (stand.checkout, stand.home, stand.readable, state, others):
        folder.mkdir(parents=True)
    for secret in (state / "agent.env", others / "file"):
        secret.write_text(stand.canary)
        secret.chmod(0o600)
    shared = Path("/dev/shm", f"loom-{stand.canary}")
    shared.write_text(stand.canary)
    stack.callback(shared.unlink)
    victim = subprocess.Popen(
        [f"victim-{stand.canary}", "120"],
        executable="/bin/sleep",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"LOOM_TOKEN": stand.canary},
    )
    stack.callback(victim.wait)
    stack.callback(victim.kill)
    # By a short name: an address has room for 108 bytes.
    name = Path("/tmp", f"loom-{stand.canary[:12]}")
    listeners = (
        (socket.AF_UNIX, str(name)),
        (socket.AF_UNIX, f"\0loom-{stand.canary}"),
        (socket.AF_INET, ("127.0.0.1", 0)),
    )
    opened = []
    for family, address in listeners:
        one = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        one.bind(address)
        one.listen()
        opened.append(one)
    stack.callback(name.unlink)
    return {
        "canary": stand.canary,
        "secret": str(state / "agent.env"),
        "other_workspace": str(others / "file"),
        "others": str(others),
        "checkout": str(stand.checkout),
        "readable": str(stand.readable),
        "mine": [str(stand.checkout), str(stand.home), str(stand.readable)],
        "shared": str(shared),
        "victim": victim.pid,
        "victim_name": f"victim-{stand.canary}",
        "agent": os.getpid(),
        "socket": str(name),
        "abstract": f"loom-{stand.canary}",
        "port": opened[2].getsockname()[1],
        "memory_mb": 64,
    }


def _inside(stand: Stand, outside: dict[str, object], *, network: bool) -> dict[str, str]:
    for left in stand.checkout.iterdir():
        left.unlink()
    ended = stand.run(
        *("/usr/bin/python3", "-c", ESCAPES.read_text()),
        stdin=json.dumps(outside).encode(),
        network=network,
        memory_mb=64 if stand.mode != "none" else 4096,
    )
    for line in reversed(ended.output.splitlines()):
        if line.startswith("{"):
            tried: dict[str, str] = json.loads(line)
            if (stand.checkout.parent / "loom-escape").exists():
                tried["write_beside_the_workspace"] = "it is there"
            return tried
    return {"the tries themselves": f"did not end: {ended}"}


def _tried(case: Callable[[Stand], str], stand: Stand) -> str:
    try:
        return case(stand)
    except Exception:  # noqa: BLE001 - told with the others
        return traceback.format_exc()


def held(ended: Ended, limit: str) -> str:
    """What is wrong if the command was not ended at this limit."""
    return "" if ended.limit == limit and ended.words else f"ended otherwise: {ended}"


def _a_fork_bomb(stand: Stand) -> str:
    if os.geteuid() == 0:
        # The kernel holds everybody but root, so that here the watch alone is tried.
        text = (
            "import os,time\nfor _ in range(300):\n if not os.fork(): time.sleep(60)\n"
            "time.sleep(60)"
        )
        return held(stand.python(text, processes=60), "processes")
    return held(
        stand.python("import os\nwhile 1:\n try: os.fork()\n except OSError: pass", processes=60),
        "processes",
    )


def _a_bomb_of_threads(stand: Stand) -> str:
    text = (
        "import threading,time\nfor _ in range(300):\n"
        " try: threading.Thread(target=time.sleep,args=(60,)).start()\n"
        " except RuntimeError: pass\ntime.sleep(60)"
    )
    return held(stand.python(text, processes=60), "processes")


def _a_fork_bomb_that_starves_others(stand: Stand) -> str:
    """While one command forks all it may, another of the same user has to be able to."""
    ended: list[Ended] = []
    with stand.fifo("bomb") as life:
        text = (
            f"import os,time\nf=os.open({str(stand.checkout / 'bomb')!r},os.O_WRONLY)\n"
            "for _ in range(45):\n if not os.fork(): time.sleep(60)\ntime.sleep(60)"
        )
        leash = threading.Thread(
            target=lambda: ended.append(stand.python(text, processes=50, timeout_s=1))
        )
        leash.start()
        other = stand.python(
            "import os\nfor _ in range(45):\n if not os.fork(): os._exit(0)", processes=50
        )
        leash.join()
        left = not life.gone()
    good = other.exit_code == 0 and ended[0].timed_out and not left
    return "" if good else f"{other} {ended}"


def _a_memory_bomb(stand: Stand) -> str:
    text = "import time\nx=[]\nwhile len(x)<400: x.append(b'x'*(1<<20))\ntime.sleep(60)"
    return held(stand.python(text, memory_mb=100), "memory")


def _a_memory_bomb_of_many(stand: Stand) -> str:
    text = (
        "import os,time\nfor _ in range(8):\n if not os.fork():\n"
        "  x=b'x'*(40<<20); time.sleep(60)\ntime.sleep(60)"
    )
    return held(stand.python(text, memory_mb=100), "memory")


def _a_disk_bomb(stand: Stand) -> str:
    text = "import time\nfor n in range(30): open(str(n),'wb').write(b'x'*(4<<20))\ntime.sleep(60)"
    ended = stand.python(text, disk_mb=40)
    _empty(stand)
    return held(ended, "disk")


def _a_disk_bomb_without_names(stand: Stand) -> str:
    text = (
        "import os,time\nk=[]\nfor n in range(30):\n f=open('x','wb'); f.write(b'x'*(4<<20))\n"
        " f.flush(); os.unlink('x'); k.append(f)\ntime.sleep(60)"
    )
    return held(stand.python(text, disk_mb=40), "disk")


def _a_disk_bomb_that_ends(stand: Stand) -> str:
    ended = stand.python("open('x','wb').write(b'x'*(60<<20))", disk_mb=40)
    _empty(stand)
    return held(ended, "disk")


def _a_file_bomb(stand: Stand) -> str:
    ended = stand.run("/bin/sh", "-c", "exec head -c 20M /dev/zero >file", file_mb=4)
    size = (stand.checkout / "file").stat().st_size
    _empty(stand)
    return held(ended, "file") or ("" if size <= 4 << 20 else f"it wrote {size} bytes")


def _a_flood(stand: Stand) -> str:
    ended = stand.run("/usr/bin/yes", output_mb=2)
    return held(ended, "output") or ("" if len(ended.output) < 100_000 else "all of it is kept")


def _a_burner_of_processors(stand: Stand) -> str:
    return held(stand.run("/bin/sh", "-c", "while :; do :; done", cpu_s=1), "cpu")


def _a_daemon(stand: Stand) -> str:
    text = (
        "import os,time\nfor _ in range(2):\n if os.fork(): os._exit(0)\n os.setsid()\n"
        f"f=os.open({str(stand.checkout / 'life')!r},os.O_WRONLY)\ntime.sleep(600)"
    )
    with stand.fifo("life") as life:
        # Whether it has opened the fifo or not: once the command has ended nobody has it open.
        ended = stand.python(text)
        left = not life.gone()
    return str(ended) if ended.exit_code != 0 or left else ""


def _a_daemon_that_changes_its_name(stand: Stand) -> str:
    text = (
        f"import os\nf=os.open({str(stand.checkout / 'life')!r},os.O_WRONLY)\n"
        "os.set_inheritable(f,True)\n"
        "r,w=os.pipe()\nif os.fork(): os.read(r,1); os._exit(0)\nos.setsid(); os.write(w,b'x')\n"
        "os.execve('/bin/sleep',['innocent','600'],{})"
    )
    with stand.fifo("life") as life:
        ended = stand.python(text)
        left = not life.gone()
    return str(ended) if ended.exit_code != 0 or left else ""


def _a_killer_of_its_parent(stand: Stand) -> str:
    text = "import os\nfor p in (os.getppid(),1):\n os.kill(p,9)\nprint('alive')"
    ended = stand.python(text)
    return "" if (ended.exit_code, ended.output) == (0, "alive\n") else str(ended)


def _a_killer_of_all(stand: Stand) -> str:
    ended = stand.run("/bin/sh", "-c", "sleep 600 & kill -9 -1; kill -9 0")
    return "" if ended.exit_code == 128 + signal.SIGKILL else str(ended)


def _one_that_does_not_end(stand: Stand) -> str:
    text = (
        "import os,signal,time\nsignal.signal(15,signal.SIG_IGN)\n"
        "os.setsid() if os.fork()==0 else 0\n"
        f"f=os.open({str(stand.checkout / 'life')!r},os.O_WRONLY)\ntime.sleep(600)"
    )
    with stand.fifo("life") as life:
        ended = stand.run("/usr/bin/python3", "-c", text, soft_timeout_s=0.5, timeout_s=1.0)
        left = not life.gone()
    return "" if ended.timed_out and ended.exit_code is None and not left else str(ended)


def _one_that_outlives_its_agent(stand: Stand) -> str:
    """An agent that is killed takes its command along, wherever that has gone."""
    script = f"exec 9>{stand.checkout}/life; setsid sleep 600 & echo up >&9; sleep 600"
    text = (
        "import sys; from pathlib import Path; from sandbox_corpus import Stand\n"
        f"Stand(Path({str(stand.folder)!r}), {stand.mode!r}, '').run('/bin/sh', '-c', {script!r})"
    )
    with stand.fifo("life") as life:
        agent = subprocess.Popen(
            [sys.executable, "-c", text],
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ESCAPES.parent), *sys.path])},
        )
        try:
            began = life.said()
        finally:
            agent.kill()
            _, complaints = agent.communicate()
        ended = life.gone()
    return "" if began and ended else f"it went on: {complaints[-1000:]!r}"


def _options_in_its_environment(stand: Stand) -> str:
    try:
        ended = stand.run("/bin/true", environment={"X": "y\0--bind\0/\0/mnt"})
    except Invalid:
        return ""
    return f"it was run: {ended}"


def _a_library_for_what_is_outside(stand: Stand) -> str:
    wrapped = Sandbox(stand.mode, PATH).wrap(
        ["/bin/true"],
        cwd=Path("/"),
        writable=[],
        environment={"LD_PRELOAD": str(stand.checkout / "evil.so")},
        network=False,
        limits=Limits(),
    )
    with launching(wrapped) as launch:
        return "bwrap itself loads it" if "LD_PRELOAD" in launch.environment else ""


def _empty(stand: Stand) -> None:
    for left in stand.checkout.iterdir():
        left.unlink()


BY_ITSELF: tuple[Callable[[Stand], str], ...] = (
    _a_fork_bomb,
    _a_bomb_of_threads,
    _a_fork_bomb_that_starves_others,
    _a_memory_bomb,
    _a_memory_bomb_of_many,
    _a_disk_bomb,
    _a_disk_bomb_without_names,
    _a_disk_bomb_that_ends,
    _a_file_bomb,
    _a_flood,
    _a_burner_of_processors,
    _a_daemon,
    _a_daemon_that_changes_its_name,
    _a_killer_of_its_parent,
    _a_killer_of_all,
    _one_that_does_not_end,
    _one_that_outlives_its_agent,
    _options_in_its_environment,
    _a_library_for_what_is_outside,
)


if __name__ == "__main__":
    main()
