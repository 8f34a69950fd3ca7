"""What the tests share: real servers of their own, started once when the first test asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loom.testing.infrastructure import Infrastructure, private_infrastructure


@pytest.fixture(scope="session")
def infrastructure() -> Iterator[Infrastructure]:
    """RabbitMQ, PostgreSQL and PgBouncer; take a vhost or a database of your own on them."""
    with private_infrastructure() as started:
        yield started
