"""A few hundred of the requests that `tests.server.fuzzing` makes for an hour."""

from __future__ import annotations

import pytest

from crosslens.client import parse_version
from tests.server.conftest import Plugged
from tests.server.fuzzing import INDEX, fuzz, set_up

pytestmark = pytest.mark.node


def test_no_request_of_a_strangers_is_answered_with_a_fault(plugged: Plugged) -> None:
    node = plugged.server.node
    set_up(node.url)
    try:
        # Each version sends others.
        first = 1_000 * parse_version(plugged.server.version)[0]
        found = fuzz(node, node.url, 17, iter(range(first, first + 400)))
    finally:
        plugged.server.client.indices.delete(index=INDEX)
    assert found.faults == []
    assert sum(found.counts.values()) == 400
    # Not everything is refused: damaged pictures are partly readable, and documents mostly are.
    for kind in ("picture", "text", "retriever", "encode", "bulk", "simulate"):
        assert found.counts[kind, 200] > 0, found.table()
