"""Generates loom/rpc/v1 from proto/: `python -m loom.rpc.generate`; a test holds them equal."""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def generate(target: Path) -> None:
    """Write the modules of every .proto under target/loom/rpc/v1. Raises RuntimeError."""
    from grpc_tools import protoc  # noqa: PLC0415 - a tool of development, not of the services

    sources = sorted((ROOT / "proto" / "loom" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as seen:
        # protoc puts a module where its .proto is and imports it from there: so it is shown them
        # in loom/rpc/v1, while their own imports say loom/v1, as every other reader has them.
        shown = Path(seen, "loom", "rpc", "v1")
        shown.mkdir(parents=True)
        for source in sources:
            text = source.read_text().replace('import "loom/v1/', 'import "loom/rpc/v1/')
            (shown / source.name).write_text(text)
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={seen}",
                f"--proto_path={files('grpc_tools') / '_proto'}",
                f"--python_out={target}",
                f"--grpc_python_out={target}",
                f"--mypy_out={target}",
                f"--mypy_grpc_out={target}",
                *(f"loom/rpc/v1/{source.name}" for source in sources),
            ]
        )
    if status:
        raise RuntimeError(f"protoc ended with status {status}: its words are above")


if __name__ == "__main__":
    generate(ROOT)
    sys.stdout.write("loom/rpc/v1 is generated\n")
