"""Timers of the ledger: leases that ran out, and what they leave owed."""
