"""`loom project credential`: a secret goes into one file, and is told by nobody."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loom.cli import cli
from loom.domain.credential import fingerprint, redact, token_file, token_in
from loom.errors import Invalid

TOKEN = "tok-5f3c9e2ab71d"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a stack whose agents run as this user."""
    folder = tmp_path / "loom"
    monkeypatch.setenv("LOOM_HOME", str(folder))
    me = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setenv("LOOM_AGENT_USER", me)
    monkeypatch.setenv("LOOM_SERVICE_USER", me)
    return folder


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file


def _loom(*words: str, said: str = "") -> Result:
    return CliRunner().invoke(cli, ["project", "credential", *words], input=said)


def _files(home: Path) -> dict[str, int]:
    """Name and mode of what is kept."""
    folder = home / "workspaces" / "shop" / "home" / "git"
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


def test_a_token_is_kept_for_its_agents_alone_and_shown_by_its_fingerprint(home: Path) -> None:
    done = _loom("set", "shop", "--token-file", "-", said=f"{TOKEN}\n")
    assert done.exit_code == 0, done.output
    assert _files(home) == {"token": 0o600}
    assert (home / "workspaces/shop/home/git").stat().st_mode & 0o777 == 0o700
    shown = _loom("show", "shop", "--json")
    [told] = json.loads(shown.output)["credentials"]
    assert (told["kind"], told["fingerprint"]) == ("token", fingerprint(TOKEN))
    assert TOKEN not in done.output + shown.output + _loom("show", "shop").output


def test_a_key_is_kept_with_its_hosts_and_shown_as_ssh_does(home: Path, key: Path) -> None:
    hosts = key.with_name("hosts")
    hosts.write_text("host ssh-ed25519 AAAA\n")
    done = _loom("set", "shop", "--ssh-key", str(key), "--known-hosts", str(hosts))
    assert done.exit_code == 0, done.output
    assert _files(home) == {"ssh-key": 0o600, "known-hosts": 0o600}
    [told] = json.loads(_loom("show", "shop", "--json").output)["credentials"]
    listed = subprocess.check_output(["ssh-keygen", "-lf", str(key)], text=True)
    assert told["fingerprint"] == listed.split()[1]
    assert told["hosts_given"]
    assert _loom("set", "shop", "--ssh-key", str(key)).exit_code == 0
    assert _files(home) == {"ssh-key": 0o600}


def test_a_credential_can_be_taken_away(home: Path) -> None:
    _loom("set", "shop", "--token-file", "-", said=TOKEN)
    assert _loom("remove", "shop").output == "removed: token\n"
    assert not _files(home)
    assert "no credential" in _loom("show", "shop").output
    assert _loom("remove", "shop").output == "there was none\n"


def test_a_key_with_a_passphrase_and_what_is_none_are_refused(home: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "word!", "-f", locked], check=True)
    noise = tmp_path / "noise"
    noise.write_text("secret noise\n")
    for file in (locked, noise):
        done = _loom("set", "shop", "--ssh-key", str(file))
        assert done.exit_code == 1
        assert "without a passphrase" in done.output
        assert "secret noise" not in done.output
    assert not home.exists()


def test_nothing_is_written_through_a_link_that_the_agents_user_made(
    home: Path, tmp_path: Path
) -> None:
    (home / "workspaces" / "shop" / "home").mkdir(parents=True)
    (home / "workspaces" / "shop" / "home" / "git").symlink_to(tmp_path)
    done = _loom("set", "shop", "--token-file", "-", said=TOKEN)
    assert "is a link" in done.output
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("set", "shop"),
        ("set", "shop", "--token-file", "-", "--known-hosts", "-"),
        ("set", "Shop!", "--token-file", "-"),
        ("set", "shop", "--token-file", "-", "--username", "two words"),
    ],
)
def test_what_cannot_be_meant_is_refused(home: Path, words: tuple[str, ...]) -> None:
    assert _loom(*words, said=TOKEN).exit_code in {1, 2}
    assert not home.exists()


def test_a_token_that_is_no_single_word_is_refused_without_telling_it() -> None:
    assert token_in(token_file(TOKEN)) == TOKEN
    for token in ("", f"{TOKEN}\npassword=x", f"{TOKEN} x", "x" * 9_000):
        with pytest.raises(Invalid) as refused:
            token_file(token)
        assert TOKEN not in str(refused.value)


def test_no_word_of_git_tells_a_secret() -> None:
    said = f"fatal: https://me:hunter2@host/x and {TOKEN} at ssh://git@host/y"
    assert redact(said, (TOKEN, "")) == (
        "fatal: https://[redacted]@host/x and [redacted] at ssh://[redacted]@host/y"
    )
