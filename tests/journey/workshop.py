"""A project that can be worked on in every way: its files, its own coding agent, its beads."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import tempfile
from pathlib import Path

from loom.stack.home import StackSettings

BUILT = "".join(f"{number:08}: built\n" for number in range(10_000))
"""What the build leaves as an artifact."""

FILES = {
    "greeting.py": "def greet(name):\n    return f'Hello {name}'\n",
    "test_greeting.py": (
        "import unittest\nfrom greeting import greet\n\n\n"
        "class GreetingTest(unittest.TestCase):\n"
        "    def test_greets(self):\n        self.assertEqual(greet('you'), 'Hello you')\n\n"
        "    def test_greets_nobody(self):\n        self.assertEqual(greet(''), 'Hello ')\n"
    ),
    ".gitignore": "out/\n__pycache__/\n",
    ".loom.toml": """\
version = 1
artifacts = ["out/*.txt"]

[[step]]
kind = "build"
run = ["python3", "tools/build.py"]

[[step]]
kind = "test"
run = ["python3", "-m", "unittest", "-v"]
output = "unittest"
""",
    "tools/build.py": (
        "import pathlib\n"
        "pathlib.Path('out').mkdir()\n"
        "lines = [f'{number:08}: built\\n' for number in range(10_000)]\n"
        "pathlib.Path('out/built.txt').write_text(''.join(lines))\n"
        "print('built', len(lines), 'lines')\n"
    ),
    "tools/agent.py": """\
#!/usr/bin/env python3
import json, os, pathlib, sys

bead = json.loads(pathlib.Path(sys.argv[1]).read_text())
told = {name: value for name, value in os.environ.items() if name.startswith("LOOM_")}
assert told["LOOM_BEAD_FILE"] == sys.argv[1], told
assert told["LOOM_BEAD_ID"] == bead["id"], told
assert told["LOOM_PROJECT_ID"] == bead["project"], told
assert told["LOOM_CHECKOUT"] == os.getcwd() == bead["checkout"], told
assert told["LOOM_IDEMPOTENCY_KEY"] == bead["idempotency_key"], told
before = bead["previous_attempt"]
if before is None:
    print("the vendor is away", flush=True)
    sys.exit(75)
print("the vendor is back", flush=True)
with open("test_greeting.py", "a") as tests:
    tests.write("\\n    def test_of_" + bead["context"]["topic"] + "(self):\\n        pass\\n")
pathlib.Path(told["LOOM_REPORT_FILE"]).write_text(json.dumps({
    "notes": f"attempt {before['epoch']}, {before['failure_class']}: {before['output'].strip()}",
    "commit_message": "Test another topic\\n\\nAs the vendor says.",
    "sub_beads": [{"title": "Does it still hold?", "context": {"way": "verify"}}],
}))
""",
}
RUNS = {"tools/agent.py"}
COMMAND = "./tools/agent.py {bead_file}"

PATCH = """\
--- a/test_greeting.py
+++ b/test_greeting.py
@@ -8,3 +8,6 @@

     def test_greets_nobody(self):
         self.assertEqual(greet(''), 'Hello ')
+
+    def test_greets_twice(self):
+        self.assertEqual(greet(greet('')), 'Hello Hello ')
"""
ACTIONS = json.dumps(
    [
        {"type": "write_file", "path": "notes/today.txt", "content": "Hello\n"},
        {"type": "run_command", "argv": ["mv", "notes/today.txt", "notes/moved.txt"]},
        {"type": "run_tests"},
        {"type": "note", "text": "moved it"},
        {"type": "git_commit", "message": "Keep a note"},
        {"type": "git_push"},
    ]
)


def lay_out(folder: Path) -> Path:
    """Make the bare repository; started by root it belongs to the agents' user."""
    bare = folder / "workshop.git"
    folder.mkdir(mode=0o755)
    with tempfile.TemporaryDirectory() as temporary:
        seed = Path(temporary, "seed")
        for name, text in FILES.items():
            file = seed / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if name in RUNS else 0o644)
        _git("init", "--quiet", "--initial-branch=main", at=seed)
        _git("add", ".", at=seed)
        _git("commit", "--quiet", "--message=Greet", at=seed)
        _git("clone", "--quiet", "--bare", str(seed), str(bare), at=seed)
    if os.geteuid() == 0:
        owner = pwd.getpwnam(StackSettings().agent_user)
        for place in (bare, *bare.rglob("*")):
            os.lchown(place, owner.pw_uid, owner.pw_gid)
    return bare


def _git(*words: str, at: Path) -> None:
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@loom.invalid")
    environment = {"PATH": os.environ["PATH"], "HOME": str(at), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *who, *words], cwd=at, env=environment, check=True, timeout=60)
