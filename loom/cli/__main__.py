"""Runs the command without its script: `python -m loom.cli`."""

from loom.cli import main

if __name__ == "__main__":
    main()
