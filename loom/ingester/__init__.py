"""Carries results and dead letters from the broker to the ledger."""
