"""The control plane: the HTTP API that takes beads in and tells what became of them."""
