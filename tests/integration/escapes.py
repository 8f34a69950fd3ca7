"""Ways out of a sandbox, each tried by a function; run inside of one, on what stdin describes.

A function that returns words got out, and the words say how. One that raises, or returns nothing,
did not. Nothing but the standard library is here, as the sandbox has no more.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUTSIDE: dict[str, Any] = {}
"""What is outside: paths, ports and process ids, as tests/integration/sandbox_corpus.py made it."""
TRIES: dict[str, Callable[[], str | None]] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
MS_REMOUNT, MS_BIND = 32, 4096
NUMBERS = {
    "x86_64": {
        **{"add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298},
        **{"userfaultfd": 323, "open_by_handle_at": 304, "kexec_load": 246, "init_module": 175},
        **{"memfd_create": 319, "pivot_root": 155, "setns": 308, "io_uring_setup": 425},
        **{"fsopen": 430, "open_tree": 428, "syslog": 103},
    },
    "aarch64": {
        **{"add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241},
        **{"userfaultfd": 282, "open_by_handle_at": 265, "kexec_load": 104, "init_module": 105},
        **{"memfd_create": 279, "pivot_root": 41, "setns": 268, "io_uring_setup": 425},
        **{"fsopen": 430, "open_tree": 428, "syslog": 116},
    },
}[os.uname().machine]


def escape(attempt: Callable[[], str | None]) -> Callable[[], str | None]:
    TRIES[attempt.__name__] = attempt
    return attempt


def reads(path: str | Path) -> str | None:
    return f"read {path}" if OUTSIDE["canary"] in Path(path).read_text(errors="replace") else None


def writes(path: str) -> str | None:
    with Path(path).open("a"):
        return f"opened {path} for writing"


def call(name: str, *arguments: Any) -> str | None:
    """Call the kernel; any answer but that it does not do this is a way in."""
    if LIBC.syscall(NUMBERS[name], *arguments) >= 0:
        return f"{name} works"
    wrong = ctypes.get_errno()
    return None if wrong in {errno.ENOSYS, errno.EPERM, errno.EACCES} else f"{name}: errno {wrong}"


def speaks(family: int, address: Any) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(5)
        one.connect(address)
        return f"connected to {address!r}"


# What belongs to others


@escape
def read_the_state_folder() -> str | None:
    return reads(OUTSIDE["secret"])


@escape
def list_the_state_folder() -> str | None:
    return str(os.listdir(Path(OUTSIDE["secret"]).parent))  # noqa: PTH208 - of a path that may hide


@escape
def read_another_workspace() -> str | None:
    return reads(OUTSIDE["other_workspace"])


@escape
def list_the_workspaces() -> str | None:
    mine = set(OUTSIDE["mine"])
    folder = Path(OUTSIDE["checkout"])
    for up in folder.parents:
        for found in up.iterdir() if up != Path("/") else ():
            if str(found) == OUTSIDE["others"]:
                return f"{up} shows {found}"
    return None if mine else "nothing of its own is there"


@escape
def read_by_dots() -> str | None:
    dots = "/.." * 30
    return reads(f"{OUTSIDE['checkout']}{dots}{OUTSIDE['secret']}")


@escape
def read_by_a_symlink() -> str | None:
    link = Path(OUTSIDE["checkout"], "link")
    link.symlink_to(OUTSIDE["secret"])
    return reads(link)


@escape
def read_by_a_hard_link() -> str | None:
    link = Path(OUTSIDE["checkout"], "hard")
    os.link(OUTSIDE["secret"], link)
    return reads(link)


@escape
def read_by_the_root_of_the_first_process() -> str | None:
    return reads(f"/proc/1/root{OUTSIDE['secret']}")


@escape
def read_by_the_folder_of_the_first_process() -> str | None:
    return reads(f"/proc/1/cwd{OUTSIDE['secret']}")


@escape
def read_by_an_inherited_file() -> str | None:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) != OUTSIDE["answer"]:
            target = Path("/proc/self/fd", name)
            if target.exists() and not str(target.readlink()).startswith("/proc/"):
                return f"{name} is {target.readlink()}"
    return None


@escape
def read_shadow() -> str | None:
    return Path("/etc/shadow").read_text()[:20]


@escape
def find_homes() -> str | None:
    mine = OUTSIDE["mine"]
    for place in (Path("/root"), Path("/home"), Path("/var/lib"), Path("/srv"), Path("/opt")):
        for found in place.iterdir() if place.is_dir() else ():
            if not any(str(found) == one or one.startswith(f"{found}/") for one in mine):
                return f"{found} is there"
    return None


@escape
def read_the_environment_of_a_process() -> str | None:
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            try:
                found = reads(f"/proc/{name}/environ")
            except OSError:
                continue
            if found:
                return found
    return None


@escape
def read_the_command_line_of_the_agent() -> str | None:
    return str(Path("/proc", str(OUTSIDE["agent"]), "cmdline").read_bytes())


@escape
def see_a_process_outside() -> str | None:
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
    names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    return "it is there" if any(OUTSIDE["victim_name"].encode() in name for name in names) else None


@escape
def find_shared_memory() -> str | None:
    return reads(OUTSIDE["shared"])


# Processes


@escape
def kill_a_process_outside() -> str:
    os.kill(OUTSIDE["victim"], signal.SIGKILL)
    return "killed it"


@escape
def signal_the_agent() -> str:
    os.kill(OUTSIDE["agent"], 0)
    return "it can be signalled"


@escape
def trace_a_process_outside() -> str | None:
    done = LIBC.ptrace(0x4206, OUTSIDE["victim"], 0, 0)  # PTRACE_SEIZE
    return "traced it" if done == 0 else None


@escape
def write_memory_of_the_agent() -> str | None:
    return writes(f"/proc/{OUTSIDE['agent']}/mem")


@escape
def trace_the_first_process_past_the_filter() -> str | None:
    # It is bwrap's own, and of the same user: whoever takes it over has to find the same filter.
    filters = Path("/proc/1/status").read_text().split("Seccomp:")[1].split()[0]
    return None if filters == "2" else "the first process has no filter"


# Sockets


@escape
def connect_to_a_socket_file() -> str:
    return speaks(socket.AF_UNIX, OUTSIDE["socket"])


@escape
def connect_to_an_abstract_socket() -> str:
    return speaks(socket.AF_UNIX, "\0" + OUTSIDE["abstract"])


@escape
def connect_to_a_port_on_loopback() -> str:
    return speaks(socket.AF_INET, ("127.0.0.1", OUTSIDE["port"]))


@escape
def connect_to_the_world() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("192.0.2.1", 53))  # sends nothing: there is a route, or there is none
        return "there is a route"


@escape
def find_a_network_interface() -> str | None:
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    return (
        f"{others} are there"
        if others and not all("tun" in o or "sit" in o for o in others)
        else None
    )


@escape
def speak_to_the_hypervisor() -> str:
    socket.socket(40, socket.SOCK_STREAM)  # AF_VSOCK
    return "vsock works"


@escape
def use_the_kernels_crypto() -> str:
    socket.socket(38, socket.SOCK_SEQPACKET)  # AF_ALG
    return "AF_ALG works"


@escape
def send_raw_packets() -> str:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return "raw sockets work"


@escape
def find_sockets_of_services() -> str | None:
    found = [
        p for p in ("/run", "/var/run") for p in (Path(p).rglob("*") if Path(p).is_dir() else ())
    ]
    mine = OUTSIDE["mine"]
    left = [p for p in found if not any(str(p) == one or one.startswith(f"{p}/") for one in mine)]
    return f"{left[:3]}" if left else None


# Privileges


@escape
def have_a_capability() -> str | None:
    lines = Path("/proc/self/status").read_text().splitlines()
    caps = [line for line in lines if line.startswith("Cap") and int(line.split()[1], 16)]
    return str(caps) if caps else None


@escape
def gain_privileges_by_exec() -> str | None:
    text = Path("/proc/self/status").read_text()
    return None if "NoNewPrivs:\t1" in text else "no_new_privs is not set"


@escape
def find_a_place_for_setuid_programs() -> str | None:
    places = ["/usr", "/tmp", OUTSIDE["checkout"]]
    able = [place for place in places if not os.statvfs(place).f_flag & os.ST_NOSUID]
    return f"{able} honour setuid" if able else None


@escape
def become_root_by_su() -> str | None:
    done = subprocess.run(
        ["su", "root", "-c", "id -u"], capture_output=True, text=True, check=False
    )
    return "su gave root" if done.stdout.strip() == "0" else None


@escape
def become_root_by_sudo() -> str | None:
    done = subprocess.run(["sudo", "-n", "id", "-u"], capture_output=True, text=True, check=False)
    return "sudo gave root" if done.stdout.strip() == "0" else None


@escape
def mount_by_the_setuid_program() -> str | None:
    folder = Path("/tmp/mnt")
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "x", folder], capture_output=True, check=False)
    return "mounted" if done.returncode == 0 else None


@escape
def mount_something() -> str | None:
    return "mounted" if LIBC.mount(b"x", b"/tmp", b"tmpfs", 0, None) == 0 else None


@escape
def make_usr_writable() -> str | None:
    done = LIBC.mount(None, b"/usr", None, MS_REMOUNT | MS_BIND, None)
    return "remounted" if done == 0 else None


@escape
def unmount_what_hides() -> str | None:
    return "unmounted" if LIBC.umount2(b"/tmp", 2) == 0 else None


@escape
def change_the_root() -> str:
    os.chroot(OUTSIDE["checkout"])
    return "chroot works"


@escape
def make_a_user_namespace() -> str | None:
    return "made one" if LIBC.unshare(CLONE_NEWUSER) == 0 else None


@escape
def make_a_user_namespace_by_clone() -> str | None:
    done: list[int] = []

    def body(*_: Any) -> int:
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    stack = ctypes.create_string_buffer(65536)
    top = ctypes.c_void_p(ctypes.addressof(stack) + 65536 - 64)
    pid = LIBC.clone(kind(body), top, CLONE_NEWUSER | signal.SIGCHLD, None)
    done.append(pid)
    if pid > 0:
        os.waitpid(pid, 0)
        return "made one"
    return None


@escape
def nest_a_sandbox() -> str | None:
    argv = ["bwrap", "--ro-bind", "/", "/", "--unshare-user", "true"]
    done = subprocess.run(argv, capture_output=True, check=False)
    return "made one" if done.returncode == 0 else None


@escape
def make_a_device() -> str:
    os.mknod("/tmp/disk", stat.S_IFBLK | 0o666, os.makedev(254, 0))
    return "made one"


@escape
def open_a_device() -> str | None:
    harmless = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
    for entry in os.scandir("/dev"):
        mode = entry.stat(follow_symlinks=False).st_mode
        if entry.name not in harmless and (stat.S_ISBLK(mode) or stat.S_ISCHR(mode)):
            return f"{entry.path} is there"
    return None


@escape
def raise_its_limits() -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return "raised it"


@escape
def go_before_others() -> str:
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    return "raised its priority"


@escape
def outlive_the_want_of_memory() -> str:
    Path("/proc/self/oom_score_adj").write_text("0")
    return "lowered its score"


@escape
def set_the_host_name() -> str:
    socket.sethostname("mine")
    return "set it"


# The system's files and the kernel


@escape
def write_usr() -> str | None:
    return writes("/usr/loom-escape")


@escape
def write_etc() -> str | None:
    return writes("/etc/loom-escape")


@escape
def write_the_root() -> str | None:
    return writes("/loom-escape")


@escape
def write_dev() -> str | None:
    return writes("/dev/loom-escape")


@escape
def write_what_is_only_readable() -> str | None:
    return writes(OUTSIDE["readable"] + "/loom-escape")


@escape
def write_beside_the_workspace() -> None:
    """Where it can, it does; whether that is the real folder is seen from outside."""
    writes(str(Path(OUTSIDE["checkout"]).parent / "loom-escape"))


@escape
def move_its_own_workspace_away() -> str:
    Path(OUTSIDE["checkout"]).rename(Path(OUTSIDE["checkout"]).parent / "moved")
    return "moved it"


@escape
def change_its_stdin() -> str:
    with Path("/proc/self/fd/0").open("r+b") as given:
        os.pwrite(given.fileno(), b"x", 0)
    return "wrote to it"


@escape
def set_the_core_pattern() -> str | None:
    return writes("/proc/sys/kernel/core_pattern")


@escape
def press_a_magic_key() -> str | None:
    return writes("/proc/sysrq-trigger")


@escape
def use_the_control_groups() -> str | None:
    found = list(Path("/sys").iterdir()) if Path("/sys").is_dir() else []
    return f"{found[:3]}" if found else None


@escape
def type_into_a_terminal() -> str | None:
    for descriptor in (0, 1, 2):
        try:
            fcntl.ioctl(descriptor, 0x5412, b"x")  # TIOCSTI
        except OSError as error:
            if error.errno not in {errno.ENOTTY, errno.EPERM}:
                raise
        else:
            return "typed"
    return None


@escape
def type_into_a_terminal_of_its_own() -> str:
    master, terminal = os.openpty()
    os.setsid()
    fcntl.ioctl(terminal, 0x540E, 0)  # TIOCSCTTY
    fcntl.ioctl(terminal, 0x5412, b"x")  # TIOCSTI: refused before it is asked whose it is
    return f"typed into {master}"


@escape
def read_the_kernels_log() -> str | None:
    buffer = ctypes.create_string_buffer(4096)
    return call("syslog", 3, buffer, 4096)


@escape
def read_the_kernels_log_by_a_file() -> str | None:
    return str(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))


@escape
def read_the_list_of_keys() -> str:
    return Path("/proc/keys").read_text()[:20]


@escape
def read_the_session_keyring() -> str | None:
    return call("keyctl", 0, -3, 0)


@escape
def add_a_key() -> str | None:
    return call("add_key", b"user", b"loom", b"x", 1, -3)


@escape
def request_a_key() -> str | None:
    return call("request_key", b"user", b"loom", None, 0)


@escape
def load_a_bpf_program() -> str | None:
    return call("bpf", 0, None, 0)


@escape
def measure_the_machine() -> str | None:
    return call("perf_event_open", None, 0, -1, -1, 0)


@escape
def handle_page_faults() -> str | None:
    return call("userfaultfd", 0)


@escape
def make_a_ring() -> str | None:
    return call("io_uring_setup", 1, ctypes.create_string_buffer(120))


@escape
def open_a_file_by_its_handle() -> str | None:
    return call("open_by_handle_at", -100, ctypes.create_string_buffer(64), 0)


@escape
def load_another_kernel() -> str | None:
    return call("kexec_load", 0, 0, None, 0)


@escape
def load_a_module() -> str | None:
    return call("init_module", None, 0, b"")


@escape
def enter_a_namespace() -> str | None:
    return call("setns", 0, 0)


@escape
def mount_by_the_new_calls() -> str | None:
    return call("fsopen", b"tmpfs", 0)


@escape
def take_a_tree_of_mounts() -> str | None:
    return call("open_tree", -100, b"/", 1)


@escape
def hide_memory_in_a_memfd() -> str | None:
    return call("memfd_create", b"x", 0)


@escape
def hide_memory_in_a_file() -> str | None:
    block = b"x" * (1 << 20)
    with Path("/dev/shm/bomb").open("wb", buffering=0) as file:
        try:
            for _ in range(OUTSIDE["memory_mb"] + 1):
                file.write(block)
        finally:
            Path("/dev/shm/bomb").unlink()
    return "all the memory it may use, and more, fits into a file"


@escape
def use_the_second_set_of_calls() -> str | None:
    if os.uname().machine != "x86_64":
        return None
    return "x32 works" if LIBC.syscall(0x40000000 + 39) > 0 else None


def main() -> None:
    """Try the given ones, or all, each in a process of its own; print what came of each."""
    OUTSIDE.update(json.load(sys.stdin))
    names = OUTSIDE.get("only") or list(TRIES)
    out: dict[str, str] = {}
    for name in names:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            OUTSIDE["answer"] = write
            threading.Timer(20, os._exit, (1,)).start()
            words = ""
            try:
                words = TRIES[name]() or ""
            except Exception as error:  # noqa: BLE001 - whatever stopped it
                os.write(2, f"{name}: {type(error).__name__}: {error}\n".encode())
            os.write(write, words.encode()[:2000])
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            out[name] = answer.read()
        os.waitpid(pid, 0)
    sys.stdout.write("\n" + json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
