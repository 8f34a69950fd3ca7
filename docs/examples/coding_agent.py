#!/usr/bin/env python3
"""Hands a bead to a coding agent that takes its prompt as an argument and edits files in place.

In the project's rules: {"command": ["python3", "tools/coding_agent.py", "AGENT", "--ITS-FLAGS"]}
"""

import json
import os
import subprocess
import sys
from pathlib import Path

bead = json.loads(Path(os.environ["LOOM_BEAD_FILE"]).read_text())
prompt = f"{bead['title']}\n\n{bead['description']}\n\nEdit the files here; do not commit."
if before := bead["previous_attempt"]:
    failing = "".join(f"\n- {test['name']}: {test['message']}" for test in before["failing_tests"])
    prompt += f"\n\nAn earlier try failed: {before['reason']}{failing}"
agent = subprocess.run([*sys.argv[1:], prompt], stdout=subprocess.PIPE, text=True, check=False)
print(agent.stdout, end="")
report = {"notes": agent.stdout[-4000:], "commit_message": bead["title"]}
Path(os.environ["LOOM_REPORT_FILE"]).write_text(json.dumps(report))
sys.exit(agent.returncode)
