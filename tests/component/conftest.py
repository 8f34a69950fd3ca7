"""One part of Loom with all that is its own: an app behind its test client, a command and what it
starts, a server on loopback, git, a sandbox; fakes stand for the rest, and no service is needed.
"""
