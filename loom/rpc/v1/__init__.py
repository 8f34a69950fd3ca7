"""Generated from proto/loom/v1 by `python -m loom.rpc.generate`; do not edit."""
