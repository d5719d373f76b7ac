"""Where the service listens, and whom it lets in."""

from __future__ import annotations

import socket

import pytest

from crosslens.errors import ServingError
from crosslens.serving.origin import Door
from crosslens.serving.running import Place, listening
from tests import commands


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "search.example", ""])
def test_an_address_that_others_reach_demands_a_token(host: str) -> None:
    with pytest.raises(ServingError, match="a token is demanded"):
        Place(Door(), host).check()
    Place(Door(token="x" * 16), host).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_demands_none_but_no_short_one_either(host: str) -> None:
    Place(Door(), host).check()
    with pytest.raises(ServingError, match="at least 16 characters"):
        Place(Door(token="short"), host).check()


def test_a_port_in_use_is_a_sentence() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ServingError, match=r"can't be listened on .*; choose another port"),
    ):
        listening("127.0.0.1", taken.getsockname()[1])


def test_the_command_says_what_is_wrong_before_it_connects() -> None:
    refused = commands.run("serve", "shop", "--host", "0.0.0.0", "--url", "http://127.0.0.1:9")
    assert refused.returncode == 2
    assert "a token is demanded" in refused.stderr
    assert "--token" in refused.stderr
    unreachable = commands.run("serve", "shop", "--port", "0", "--url", "http://127.0.0.1:9")
    assert unreachable.returncode == 2
    assert "Traceback" not in unreachable.stderr
    assert unreachable.stdout == "", "no address is said that isn't served"
