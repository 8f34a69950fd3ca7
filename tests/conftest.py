"""What the tests share: real servers of their own, started once when the first test asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from loom.testing.infrastructure import Infrastructure, private_infrastructure

# A test that says nothing else tries this many examples: the suite stays
# short. `pytest --hypothesis-profile=thorough` tries more.
settings.register_profile("short", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("short")


@pytest.fixture(scope="session")
def infrastructure() -> Iterator[Infrastructure]:
    """RabbitMQ, PostgreSQL and PgBouncer; take a vhost or a database of your own on them."""
    with private_infrastructure() as started:
        yield started
