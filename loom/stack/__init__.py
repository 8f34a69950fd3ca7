"""The processes of one Loom on this machine: rendered, started, watched and ended."""
