"""Clients of Loom's own services: typed calls in, domain values and Loom's errors out."""
