"""Open-source packages as their authors published them, and how a person would check each.

The direct commands are written from what each package's own documentation and CI say. None of them
is given to Loom, which has to find out by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

VENV = "$VENV"
"""Stands for a virtual environment beside the checkout, made for the direct run."""
PIP = (f"{VENV}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
PYTHON_BUILD = ((f"{VENV}/bin/python", "-m", "build"),)
NPM_INSTALL = (("npm", "install", "--no-package-lock"),)


@dataclass(frozen=True)
class Direct:
    """What a person types, step by step; tests and lint with the tool whose words they end with.

    rebuild: what makes a changed source count in the tests.
    """

    test_tool: str
    test: tuple[str, ...]
    lint: tuple[tuple[str, tuple[str, ...]], ...] = ()
    build: tuple[tuple[str, ...], ...] = ()
    prepare: tuple[tuple[str, ...], ...] = ()
    rebuild: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Package:
    """A package at a version. archive: the sha256 of what the registry gives.

    network: the project's rule, `never` being the default. breaks: a file, a text that stands in
    it, and what to put in its place so that some tests fail.
    """

    name: str
    version: str
    registry: str
    archive: str
    language: str
    built_by: str
    network: str
    direct: Direct
    breaks: tuple[str, str, str]

    @property
    def id(self) -> str:
        """Its project's id."""
        slug = self.name.replace(".", "-").replace("_", "-")
        return slug if self.network == "prepare" else f"{slug}-{self.network}"


_MORE_ITERTOOLS = {
    "name": "more-itertools",
    "version": "11.2.1",
    "registry": "pypi",
    "archive": "cbf08fd0af284dc69718b9b76a8e6203df624d70209ea511e4219d350c856f63",
    "language": "Python",
    "breaks": (
        "more_itertools/recipes.py",
        "return list(islice(iterable, n))",
        "return list(islice(iterable, n + 1))",
    ),
}

PACKAGES = (
    Package(
        "markupsafe", "3.0.4", "pypi",
        "2e9ad7dd851bf45fab9f75cbff4cb493fee9979e8d8c7c9c3ee119022518edd6",
        "Python, C", "setuptools", "prepare",
        Direct(
            "pytest", (f"{VENV}/bin/pytest",),
            lint=(("ruff", (f"{VENV}/bin/ruff", "check")), ("mypy", (f"{VENV}/bin/mypy",))),
            build=PYTHON_BUILD,
            prepare=(
                ("python3", "-m", "venv", VENV),
                (*PIP, "build", "pytest", "ruff", "mypy", "-e", "."),
            ),
            rebuild=((*PIP, "-e", "."),),
        ),
        ("src/markupsafe/_speedups.c", "*outp++ = 'l'; \\\n", "*outp++ = 'g'; \\\n"),
    ),
    Package(
        "itsdangerous", "2.2.0", "pypi",
        "e0050c0b7da1eea53ffaf149c0cfbb5c6e2e2b69c4bef22c81fa6eb73e5f6173",
        "Python", "flit", "prepare",
        Direct(
            "pytest", (f"{VENV}/bin/pytest",),
            lint=(("ruff", (f"{VENV}/bin/ruff", "check")), ("mypy", (f"{VENV}/bin/mypy",))),
            build=PYTHON_BUILD,
            prepare=(
                ("python3", "-m", "venv", VENV),
                (*PIP, "-r", "requirements/tests.txt"),
                (*PIP, "build", "ruff", "mypy", "-e", "."),
            ),
        ),
        ("src/itsdangerous/encoding.py", '.lstrip(b"\\x00")', '.lstrip(b"\\x01")'),
    ),
    Package(
        **_MORE_ITERTOOLS, built_by="flit", network="prepare",
        direct=Direct(
            "unittest", (f"{VENV}/bin/python", "-m", "unittest"),
            lint=(
                ("ruff", (f"{VENV}/bin/ruff", "check", ".")),
                ("mypy", (f"{VENV}/bin/mypy", ".")),
            ),
            build=PYTHON_BUILD,
            prepare=(
                ("python3", "-m", "venv", VENV),
                (*PIP, "build", "ruff", "mypy", "-e", "."),
            ),
        ),
    ),
    Package(
        **_MORE_ITERTOOLS, built_by="nothing", network="never",
        direct=Direct("unittest", ("python3", "-m", "unittest")),
    ),
    Package(
        "fast-uri", "4.2.3", "npm",
        "781233dfc458464975bc5d67392aab75503dee65a5d06a7231f702a8cefe97c5",
        "JavaScript", "npm", "prepare",
        Direct(
            "tape", ("npm", "test"), lint=(("eslint", ("npm", "run", "lint")),),
            prepare=NPM_INSTALL,
        ),
        (
            "lib/utils.js",
            "if (input.indexOf('%') === -1) {\n    return input\n",
            "if (input.indexOf('%') === -1) {\n    return input.replace('b', 'B')\n",
        ),
    ),
    Package(
        "mpath", "0.8.4", "npm",
        "fb78976b0c05e2c720e4cbb5775fe0c80f41d1d00ca6f0897e92eaafe1e2cd07",
        "JavaScript", "npm", "prepare",
        Direct(
            "mocha", ("npm", "test"), lint=(("eslint", ("npm", "run", "lint")),),
            prepare=NPM_INSTALL,
        ),
        ("lib/stringToParts.js", "str[i] === '.'", "str[i] === '/'"),
    ),
    Package(
        "regexp-clone", "1.0.0", "npm",
        "1c6170cd3fd4578dbcf43d5022fd04fe98beec6123d7f339b8305f536db16269",
        "JavaScript", "npm, make", "prepare",
        Direct("mocha", ("npm", "test"), prepare=NPM_INSTALL),
        ("index.js", "(regexp.multiline) flags.push('m')", "(regexp.multiline) flags.push('i')"),
    ),
)  # fmt: skip
