"""Which repositories and branches a project may name."""

from __future__ import annotations

import pytest

from loom.domain.gitnames import branch_fault, repository_fault


@pytest.mark.parametrize(
    "repository",
    [
        "/srv/git/shop.git", "/with blank/and-ünicode", "https://github.com/owner/name.git",
        "https://host:8443/a/b", "ssh://git@host/~me/x.git", "ssh://git@host:22/x",
        "ssh://git@[::1]:22/x", "git@github.com:owner/name.git", "host:path/to/it",
        "deploy.user@host.example:/srv/x.git",
    ],
)  # fmt: skip
def test_a_path_or_an_ssh_or_https_address_is_taken(repository: str) -> None:
    assert repository_fault(repository) == ""


@pytest.mark.parametrize(
    ("repository", "why"),
    [
        ("", "characters"),
        ("/" + "x" * 1_000, "characters"),
        ("-u/srv/x", "option"),
        ("--upload-pack=touch /tmp/x", "option"),
        ("ext::sh -c 'touch /tmp/x'", "remote helper"),
        ("fd::7", "remote helper"),
        ("https::https://host/x", "remote helper"),
        ("http://host/x", "transport"),
        ("git://host/x", "transport"),
        ("file:///srv/x", "transport"),
        ("ftp://host/x", "transport"),
        ("https://me:secret@host/x", "credential helper"),
        ("https://token@host/x", "credential helper"),
        ("ssh://me:secret@host/x", "credential helper"),
        ("ssh://-oProxyCommand=x/y", "host"),
        ("ssh://-user@host/y", "user"),
        ("https:///x", "host"),
        ("https://host", "path"),
        ("https://host/x?private_token=abc", "token"),
        ("https://host/x#frag", "token"),
        ("https://host:port/x", "URL"),
        ("ssh://host/-x", "path"),
        ("-oProxyCommand=x@host:y", "option"),
        ("host:-x", "absolute path"),
        ("relative/path", "absolute path"),
        ("./here", "absolute path"),
        ("../there", "absolute path"),
        ("~/mine", "absolute path"),
        ("/a\nb", "control"),
        (" /a", "blanks"),
        ("C:\\repos x", "absolute path"),
    ],
)
def test_anything_else_is_refused_with_the_reason(repository: str, why: str) -> None:
    assert why in repository_fault(repository)


@pytest.mark.parametrize("branch", ["main", "release/1.2", "a-b_c", "füür", "x.y", "a@b"])
def test_a_branch_name_of_git_is_taken(branch: str) -> None:
    assert branch_fault(branch) == ""


@pytest.mark.parametrize(
    "branch",
    ["", "-x", "/x", "x/", "x.", "a..b", "a//b", "a@{b", "@", "HEAD", "a b", "a~b", "a^b", "a:b",
     "a?b", "a*b", "a[b", "a\\b", "a\x7fb", ".a", "a/.b", "a.lock", "a.lock/b", "x" * 201],
)  # fmt: skip
def test_what_git_takes_for_no_branch_is_refused(branch: str) -> None:
    assert branch_fault(branch)
