"""Measures Loom beside what it could be made of instead, on the same servers in the same run."""
