"""Where a client finds the broker: one node, or the first usable of several."""

import pytest
from pydantic import ValidationError

from loom.settings import BrokerSettings


def settings(hosts: str = "") -> BrokerSettings:
    return BrokerSettings(
        _env_file=None, host="here", port=1, hosts=hosts, vhost="a/b", username="u", password="p@"
    )


def test_without_a_list_the_one_host_and_port_count():
    assert settings().addresses == (("here", 1),)
    assert settings().url == "amqp://u:p%40@here:1/a%2Fb"


def test_a_list_is_tried_in_its_order():
    several = settings("one:5671, two:5672")
    assert several.addresses == (("one", 5671), ("two", 5672))
    assert several.urls == ("amqp://u:p%40@one:5671/a%2Fb", "amqp://u:p%40@two:5672/a%2Fb")


@pytest.mark.parametrize("hosts", ["one", "one:", "one:x", "one:1;two:2"])
def test_a_list_that_is_none_is_refused(hosts):
    with pytest.raises(ValidationError, match="host:port,host:port"):
        settings(hosts)
