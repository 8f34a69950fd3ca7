"""The sandbox: what it shows, what it refuses, and how a command in it is run and ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from loom.domain.rules import Limits
from loom.errors import Invalid
from workers import command, launch, probe, syscalls, toolchain
from workers.command import CANNOT_RUN, Ended, Leash
from workers.sandbox import Mode, Sandbox, SandboxFailed, Wrapped

PATH = "/usr/local/bin:/usr/bin:/bin"
PATIENCE_S = 60.0


def wrap(
    argv: Sequence[str],
    folder: Path,
    *,
    mode: Mode = Mode.BUBBLEWRAP,
    writable: Sequence[Path] | None = None,
    environment: Mapping[str, str] | None = None,
    path: str = PATH,
    limits: Limits | None = None,
) -> Wrapped:
    return Sandbox(mode, path).wrap(
        argv,
        cwd=folder,
        writable=[folder] if writable is None else writable,
        environment={"PATH": path, "HOME": str(folder)} | dict(environment or {}),
        network=False,
        limits=limits or Limits(),
    )


def run(wrapped: Wrapped, **given: object) -> Ended:
    return command.run_wrapped(
        wrapped,
        **({"timeout_s": PATIENCE_S, "leash": Leash()} | given),  # type: ignore[arg-type]
    )


def test_a_sandbox_can_be_made_here() -> None:
    assert probe.fault() == ""
    assert probe.fault(Mode.NONE) == ""


def test_a_machine_without_bubblewrap_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ENVIRONMENT", {"PATH": str(tmp_path)})
    assert "apt-get install bubblewrap" in probe.fault()
    assert "LOOM_AGENT_SANDBOX=none" in probe.fault()
    with pytest.raises(SandboxFailed):
        run(wrap(["true"], tmp_path))


def test_an_old_bubblewrap_or_a_kernel_that_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho bubblewrap 0.4.1\n")
    program.chmod(0o755)
    monkeypatch.setattr(launch, "ENVIRONMENT", {"PATH": f"{tmp_path}:{PATH}"})
    assert "0.4.1, and has to be 0.8 or later" in probe.fault()
    refuses = "[ $1 = --version ] && echo bubblewrap 0.9.0 && exit; echo no namespaces; exit 1"
    program.write_text(f"#!/bin/sh\n{refuses}\n")
    assert "no namespaces. Allow unprivileged user namespaces" in probe.fault()


def test_a_command_has_its_workspace_and_what_it_is_given(tmp_path: Path) -> None:
    ended = run(
        wrap(["sh", "-c", "cat >f; pwd; id -un; env | sort"], tmp_path, environment={"A": "b c"}),
        stdin=b"given",
    )
    assert ended.exit_code == 0
    assert (tmp_path / "f").read_bytes() == b"given"
    lines = ended.output.splitlines()
    assert lines[:3] == [str(tmp_path), "loom", "A=b c"]


@pytest.mark.parametrize("mode", list(Mode))
def test_a_missing_program_is_an_ending(tmp_path: Path, mode: Mode) -> None:
    ended = run(wrap(["no-such-program"], tmp_path, mode=mode))
    assert ended.exit_code == CANNOT_RUN
    assert ended.output.startswith("cannot run 'no-such-program': ")
    assert "No such file" in ended.output


def test_a_sandbox_that_cannot_be_made_is_no_fault_of_the_command(tmp_path: Path) -> None:
    wrapped = Sandbox(Mode.BUBBLEWRAP, PATH, readable=[tmp_path / "missing"]).wrap(
        ["true"], cwd=tmp_path, writable=[tmp_path], environment={}, network=False, limits=Limits()
    )
    with pytest.raises(SandboxFailed, match="missing"):
        run(wrapped)


@pytest.mark.parametrize(
    ("argv", "environment"),
    [((), {}), (("",), {}), (("a\0b",), {}), (("a",), {"X": "\0"}), (("a",), {"A=B": "c"})],
)
def test_what_could_be_read_as_something_else_is_refused(
    tmp_path: Path, argv: tuple[str, ...], environment: dict[str, str]
) -> None:
    with pytest.raises(Invalid):
        wrap(argv, tmp_path, environment=environment)


@pytest.mark.parametrize("mode", list(Mode))
def test_output_goes_to_its_log_and_to_who_follows_it(tmp_path: Path, mode: Mode) -> None:
    pieces: list[bytes] = []
    log = tmp_path / "log"
    ended = run(
        wrap(["sh", "-c", "echo one; echo two >&2"], tmp_path, mode=mode),
        log=log,
        on_output=pieces.append,
    )
    assert b"".join(pieces) == log.read_bytes() == b"one\ntwo\n"
    assert (ended.output, ended.size, ended.log_error) == ("one\ntwo\n", 8, "")


@pytest.mark.parametrize("mode", list(Mode))
def test_a_flood_is_kept_up_to_its_limit(tmp_path: Path, mode: Mode) -> None:
    log = tmp_path / "log"
    ended = run(wrap(["yes"], tmp_path, mode=mode, limits=Limits(output_mb=1)), log=log)
    assert (ended.exit_code, ended.limit) == (None, "output")
    assert ended.words == "it wrote more than 1 MB to its output"
    assert log.stat().st_size == 1024 * 1024


@pytest.mark.parametrize("mode", list(Mode))
def test_a_command_may_report_when_it_is_asked_to_stop(tmp_path: Path, mode: Mode) -> None:
    script = "trap 'echo half; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    ended = run(wrap(["sh", "-c", script], tmp_path, mode=mode), soft_timeout_s=0.5)
    assert (ended.exit_code, ended.timed_out) == (3, True)
    assert "half\n" in ended.output


def test_pulling_the_leash_ends_what_is_in_the_sandbox(tmp_path: Path) -> None:
    leash = Leash()

    def pull(_piece: bytes) -> None:
        threading.Thread(target=leash.pull).start()

    wrapped = wrap(["sh", "-c", "setsid sleep 600 & echo up; wait"], tmp_path)
    ended = run(wrapped, leash=leash, on_output=pull)
    assert (ended.exit_code, ended.cancelled, ended.timed_out) == (None, True, False)
    assert run(wrapped, leash=leash).cancelled


def test_programs_of_a_path_bring_what_they_are_installed_with(tmp_path: Path) -> None:
    tool, python = tmp_path / "tool", tmp_path / "python"
    for prefix in (tool, python):
        (prefix / "bin").mkdir(parents=True)
        (prefix / "lib").mkdir()
    (python / "bin" / "python3").write_text("#!/bin/sh\necho it works\n")
    (python / "bin" / "python3").chmod(0o755)
    (tool / "bin" / "python").symlink_to(python / "bin" / "python3")
    alone = tmp_path / "scripts"
    alone.mkdir()
    path = f"{tool}/bin:{alone}:{PATH}:relative"
    assert toolchain.readable(path, ()) == (python, alone, tool)
    work = tmp_path / "work"
    work.mkdir()
    assert run(wrap(["python"], work, path=path)).output == "it works\n"


def test_a_path_never_shows_what_holds_something_hidden(tmp_path: Path) -> None:
    for name in ("bin", "lib", "state"):
        (tmp_path / name).mkdir()
    assert toolchain.readable(f"{tmp_path}/bin", ()) == (tmp_path,)
    assert toolchain.readable(f"{tmp_path}/bin", [tmp_path / "state"]) == (tmp_path / "bin",)


def test_there_is_a_filter_for_each_machine_that_agents_are_for() -> None:
    for machine in ("x86_64", "aarch64"):
        assert syscalls.known(machine)
        assert len(syscalls.filter_for(machine)) % 8 == 0
    assert not syscalls.known("vax")
