"""The database service: the ledger, and the only code with SQL."""
