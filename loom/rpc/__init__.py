"""Plumbing of gRPC: the generated contract, servers, channels, errors and callers."""
