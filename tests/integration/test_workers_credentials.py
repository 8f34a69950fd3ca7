"""Private repositories: reached with a credential that nobody but git and ssh ever sees."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_stand import git
from git_servers import TOKEN, USER, Https, Ssh, https, ssh
from repository_bench import PATH, Bench, fails

from loom.domain.credential import (
    FOLDER,
    KEY_FILE,
    KNOWN_HOSTS_FILE,
    SEEN_HOSTS_FILE,
    TOKEN_FILE,
    token_file,
)
from loom.domain.evidence import FailureClass
from loom.domain.rules import Rules

WORK = FailureClass.WORK


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def server(bench: Bench) -> Iterator[Https]:
    git("config", "http.receivepack", "true", cwd=bench.upstream)
    with https(bench.upstream.parent, bench.folder) as running:
        (bench.home / ".gitconfig").write_text(f"[http]\n\tsslCAInfo = {running.certificate}\n")
        bench.address = running.url("sums.git")
        yield running


def _keep(bench: Bench, name: str, text: str) -> Path:
    folder = bench.home / FOLDER
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def _spying_path(bench: Bench, *programs: str) -> tuple[str, Path]:
    """A PATH on which every program first notes its arguments and environment."""
    spies, noted = bench.folder / "spies", bench.folder / "noted"
    spies.mkdir()
    for program in programs:
        spy = spies / program
        spy.write_text(
            f'#!/bin/sh\n{{ echo "$0" "$@"; env; }} >>{noted}\nPATH={PATH} exec {program} "$@"\n'
        )
        spy.chmod(0o755)
    return f"{spies}:{PATH}", noted


def test_a_token_opens_an_https_repository_and_is_told_to_nobody(
    bench: Bench, server: Https, capsys: pytest.CaptureFixture[str]
) -> None:
    _keep(bench, TOKEN_FILE, token_file(TOKEN, USER))
    path, noted = _spying_path(bench, "git", "sh")
    with bench.attempt(path=path) as at:
        at.repository.check_out()
        at.write("sums.py", "changed\n")
        sha = at.deliver()
        told = noted.read_text() + str(at.steps) + capsys.readouterr().out
        assert "push --porcelain" in told
        assert TOKEN not in told
        kept = [file for file in at.place.folder.rglob("*") if file.is_file()]
        kept += [file for file in bench.mirrors.rglob("*") if file.is_file()]
        assert not [file for file in kept if TOKEN.encode() in file.read_bytes()]
    assert bench.refs()["refs/heads/agent/bd-1"] == sha
    assert [header for header in server.seen if header]


@pytest.mark.parametrize("token", ["", "another-token"])
def test_a_repository_that_refuses_the_credential_says_what_to_do(
    bench: Bench, server: Https, token: str
) -> None:
    if token:
        _keep(bench, TOKEN_FILE, token_file(token, USER))
    with bench.attempt() as at, fails(WORK, "refuses the agent's credential.*credential show"):
        at.repository.check_out()


def test_a_repository_that_is_not_on_the_server_says_so(bench: Bench, server: Https) -> None:
    _keep(bench, TOKEN_FILE, token_file(TOKEN, USER))
    bench.address = server.url("away.git")
    with bench.attempt() as at, fails(WORK, "there is no such repository"):
        at.repository.check_out()


def test_another_host_is_never_shown_the_token(bench: Bench, server: Https, tmp_path: Path) -> None:
    """A submodule may name any host it likes."""
    _keep(bench, TOKEN_FILE, token_file(TOKEN, USER))
    with https(bench.upstream.parent, tmp_path / "home") as other:
        pems = server.certificate.read_text() + other.certificate.read_text()
        server.certificate.write_text(pems)
        _add_submodule(bench, other.url("sums.git"))
        rules = Rules(submodules=True)
        with bench.attempt(rules=rules) as at, fails(WORK, "refuses the agent's credential"):
            at.repository.check_out()
        assert other.seen
        assert not [header for header in other.seen if header]


def _add_submodule(bench: Bench, url: str) -> str:
    """Have the upstream name its own first commit as a submodule."""
    seed = bench.upstream.parent / "seed"
    sha = git("rev-parse", "HEAD", cwd=seed)
    (seed / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = deps/sub\n\turl = {url}\n')
    git("update-index", "--add", "--cacheinfo", f"160000,{sha},deps/sub", cwd=seed)
    (seed / "deps" / "sub").mkdir(parents=True)
    git("add", ".gitmodules", cwd=seed)
    git("commit", "--quiet", "--message=Submodule", cwd=seed)
    git("push", "--quiet", str(bench.upstream), "HEAD:refs/heads/main", cwd=seed)
    return sha


def test_submodules_are_fetched_where_the_rules_say_so(bench: Bench, server: Https) -> None:
    _keep(bench, TOKEN_FILE, token_file(TOKEN, USER))
    _add_submodule(bench, "../sums.git")
    with bench.attempt() as at:
        at.repository.check_out()
        assert not list((at.checkout / "deps" / "sub").iterdir())
    with bench.attempt(rules=Rules(submodules=True)) as at:
        at.repository.check_out()
        sub = at.checkout / "deps" / "sub"
        assert (sub / "sums.py").exists()
        assert sub in at.repository.read_only
        # Whatever becomes of it, the commit names the same one.
        (sub / "sums.py").write_text("changed\n")
        assert not at.repository.changes()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("{upstream}", "reached by file"),
        ("file://{upstream}", "transport file://"),
        ("ext::sh -c 'touch /tmp/pwned'", "remote helper"),
        ("-u./payload", "broken or malicious.*disallowed submodule url"),
        ("git://127.0.0.1/x", "transport git://"),
    ],
)
def test_a_submodule_from_this_machine_or_by_odd_protocols_is_refused(
    bench: Bench, url: str, why: str
) -> None:
    _add_submodule(bench, url.format(upstream=bench.upstream))
    with bench.attempt(rules=Rules(submodules=True)) as at, fails(WORK, why):
        at.repository.check_out()


# ----- ssh


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key, with its public one beside it."""
    file = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a key", "-f", str(file)], check=True
    )
    return file


@pytest.fixture
def ssh_server(bench: Bench, key: Path) -> Iterator[Ssh]:
    with ssh(key.with_suffix(".pub")) as running:
        bench.address = running.url(bench.upstream)
        yield running


def test_a_key_opens_an_ssh_repository_and_is_told_to_nobody(
    bench: Bench, ssh_server: Ssh, key: Path
) -> None:
    kept = _keep(bench, KEY_FILE, key.read_text())
    path, noted = _spying_path(bench, "git", "ssh")
    with bench.attempt(path=path) as at:
        at.repository.check_out()
        at.write("sums.py", "changed\n")
        sha = at.deliver()
    assert bench.refs()["refs/heads/agent/bd-1"] == sha
    assert f"-i {kept}" in noted.read_text()
    assert "PRIVATE KEY" not in noted.read_text()
    assert {command.split()[0] for command in ssh_server.asked} == {
        "git-upload-pack",
        "git-receive-pack",
    }


def test_a_host_is_taken_at_its_first_word_and_held_to_it(
    bench: Bench, ssh_server: Ssh, key: Path
) -> None:
    _keep(bench, KEY_FILE, key.read_text())
    with bench.attempt() as at:
        at.repository.check_out()
    seen = bench.home / FOLDER / SEEN_HOSTS_FILE
    assert f"[127.0.0.1]:{ssh_server.port}" in seen.read_text()
    other = key.with_suffix(".pub").read_text()
    seen.write_text(f"[127.0.0.1]:{ssh_server.port} {other}")
    with bench.attempt() as at, fails(WORK, "its host shows another key"):
        at.repository.check_out()


def test_given_hosts_are_the_only_ones(bench: Bench, ssh_server: Ssh, key: Path) -> None:
    _keep(bench, KEY_FILE, key.read_text())
    known = _keep(bench, KNOWN_HOSTS_FILE, "")
    with bench.attempt() as at, fails(WORK, "its host shows another key"):
        at.repository.check_out()
    known.write_text(ssh_server.known_hosts)
    with bench.attempt() as at:
        at.repository.check_out()


def test_a_key_that_the_host_does_not_know_is_refused(
    bench: Bench, ssh_server: Ssh, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    _keep(bench, KEY_FILE, other.read_text())
    with bench.attempt() as at, fails(WORK, "refuses the agent's credential"):
        at.repository.check_out()
