"""Loom as supervised local processes under one state folder."""
