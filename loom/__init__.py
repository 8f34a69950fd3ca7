"""Loom orchestrates work on code: beads in, proven results out."""

__version__ = "0.1.0"
