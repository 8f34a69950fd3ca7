"""Fakes and private infrastructure for tests."""
