"""Carries the ledger's outbox to the broker."""
