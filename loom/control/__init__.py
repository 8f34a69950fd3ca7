"""The control plane: HTTP in, the ledger behind it."""
