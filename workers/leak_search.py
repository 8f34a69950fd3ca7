"""Search the lines that a change adds for what looks like a secret.

`python -m workers.leak_search DIFF BASELINE REPORT` searches in a process of its own, so that a
line that keeps a pattern busy for ever ends with it. Its detectors and filters are those of
detect-secrets, save two: a string is no secret for its entropy alone (hashes in lock files,
identifiers), and one that stands beside a word like `password`, or in an address, only if it is
long and mixed enough to be a real one.

A line with detect-secrets' own comment (`pragma: allowlist secret`) is let pass, and so is what the
`.secrets.baseline` of the commit that the work began from lists.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.settings import get_filters, get_plugins, transient_settings
from detect_secrets.util.code_snippet import get_code_snippet
from detect_secrets.util.inject import call_function_with_arguments

from workers.added import added_lines
from workers.leaks import BASELINE, Leak

MAX_LEAKS = 50
LEAST_LENGTH, LEAST_ENTROPY = 10, 3.0
"""Of a value that is guessed at; the entropy in bits a character. It has letters and digits too."""

_GUESSED = {"Secret Keyword", "Basic Auth Credentials"}
"""Told by what stands beside them alone, as in every test of a login."""
_LEFT_OUT = {"HexHighEntropyString", "Base64HighEntropyString", "IPPublicDetector"}


def known(baseline: bytes) -> set[tuple[str, str]]:
    """File and hash of each secret that a baseline lists; nothing if it cannot be read."""
    try:
        results = json.loads(baseline)["results"]
        return {
            (str(file), str(entry["hashed_secret"]))
            for file, listed in results.items()
            for entry in listed
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


def search(diff: bytes, baseline: bytes = b"") -> list[Leak]:
    """What the added lines of the diff seem to give away, MAX_LEAKS at most."""

    known_ones: Mapping[str, Any] = get_mapping_from_secret_type_to_class()
    names = {each.__name__ for each in known_ones.values()}
    used = {"plugins_used": [{"name": name} for name in sorted(names - _LEFT_OUT)]}
    listed = known(baseline)
    leaks: set[Leak] = set()
    with transient_settings(used):
        plugins, filters = get_plugins(), get_filters()
        for file, number, line in added_lines(diff):
            if file == BASELINE:
                continue
            for plugin in plugins:
                for secret in _found(plugin, filters, file, number, line):
                    if (file, secret.secret_hash) not in listed:
                        leaks.add(Leak(file, number, secret.type))
            if len(leaks) >= MAX_LEAKS:
                break
    return sorted(leaks)[:MAX_LEAKS]


def _found(plugin: Any, filters: Any, file: str, number: int, line: str) -> Iterator[Any]:

    context = get_code_snippet([line], 1)
    given: Mapping[str, Any] = {
        "filename": file, "line": line, "line_number": number, "context": context,
        "plugin": plugin,
    }  # fmt: skip
    for secret in call_function_with_arguments(plugin.analyze_line, **given) or ():
        value = secret.secret_value or ""
        if secret.type in _GUESSED and not _may_be_real(value):
            continue
        if not any(_says(each, given, value) for each in filters):
            yield secret


def _says(filter_: Any, given: Mapping[str, Any], value: str) -> bool:

    if filter_.path in _OF_FILES_HERE:
        return False
    return bool(call_function_with_arguments(filter_, **given, secret=value))


# They would look for the file below the current folder.
_OF_FILES_HERE = {"detect_secrets.filters.common.is_invalid_file"}


def _may_be_real(value: str) -> bool:
    has_both = re.search("[0-9]", value) and re.search("[A-Za-z]", value)
    if len(value) < LEAST_LENGTH or not has_both:
        return False
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return entropy >= LEAST_ENTROPY


def main() -> int:
    """Search the diff in the first file, and write what was found into the third."""
    diff, baseline, report = (Path(each) for each in sys.argv[1:])
    listed = baseline.read_bytes() if baseline.exists() else b""
    leaks = search(diff.read_bytes(), listed)
    report.write_text(json.dumps([asdict(leak) for leak in leaks]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
