"""Counting the round trips of a search."""

from __future__ import annotations

from typing import Any

import pytest

from crosslens.queries.search.searcher import HybridSearcher


def counted(searcher: HybridSearcher, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets the number of searches of each request sent from now on."""
    asked: list[int] = []
    several, one = searcher._client.msearch, searcher._client.search

    def counting(**how: Any) -> Any:
        asked.append(len(how["searches"]) // 2)
        return several(**how)

    def counting_one(**how: Any) -> Any:
        asked.append(1)
        return one(**how)

    monkeypatch.setattr(searcher._client, "msearch", counting)
    monkeypatch.setattr(searcher._client, "search", counting_one)
    return asked
