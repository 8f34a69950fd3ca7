"""Names of branches that pass here pass git."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from loom.domain.gitnames import branch_fault


@settings(max_examples=60)
@given(st.text(st.sampled_from("ab./-@{~^:?*[\\ lock"), min_size=1, max_size=8))
def test_no_name_passes_that_git_itself_refuses(branch: str) -> None:
    if not branch_fault(branch):
        argv = ["git", "check-ref-format", "--branch", branch]
        assert subprocess.run(argv, capture_output=True, check=False).returncode == 0
