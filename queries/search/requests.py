"""What a search asks of whoever runs it: requests to the server, work for a processor, and a pause.

The search itself is a generator (`crosslens.queries.search.story`): it yields these and is sent their answers, so it
neither waits nor awaits. An error of what it asked for is thrown into it at the ``yield``. The drivers are
`crosslens.queries.search.searcher` and `crosslens.queries.search.async_searcher`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from crosslens.client import OF_NOTHING

T = TypeVar("T")
Query = dict[str, Any]
# An index (or several, as in a path) and the body of a search in it.
Search = tuple[str, dict[str, Any]]
KEEP_ALIVE = "5m"
_OF_SEARCHES: Mapping[str, Any] = {
    "name": "index.analysis.*,index.max_result_window,index.uuid",
    "flat_settings": True,
    "expand_wildcards": "open",
    "ignore_unavailable": True,
}


class ServerRequest(ABC):
    """A request to Elasticsearch; its answer is the body of the response."""

    @abstractmethod
    def sent_by(self, client: Any) -> Any:
        """Send it; return the response or, from an asynchronous client, an awaitable of it."""


@dataclass(frozen=True)
class MultiSearch(ServerRequest):
    """Several searches in one round trip; a point in time names its index itself.

    ``scoring``: whether the hits say what each named clause scores, and not only which of them they match.
    """

    searches: Sequence[Search]
    scoring: bool = False

    def sent_by(self, client: Any) -> Any:
        """``POST _msearch``."""
        lines = [line for index, body in self.searches for line in ({} if "pit" in body else {"index": index}, body)]
        return client.msearch(searches=lines, **({"include_named_queries_score": True} if self.scoring else {}))


@dataclass(frozen=True)
class GetMapping(ServerRequest):
    """The mappings of every open index behind a name."""

    index: str

    def sent_by(self, client: Any) -> Any:
        """``GET INDEX/_mapping``."""
        return client.indices.get_mapping(index=self.index, expand_wildcards="open")


@dataclass(frozen=True)
class GetSettings(ServerRequest):
    """The flat settings that concern searches, of every open index behind a name: analysis, result window, and uuid."""

    index: str

    def sent_by(self, client: Any) -> Any:
        """``GET INDEX/_settings/index.analysis.*,index.max_result_window,index.uuid``."""
        return client.indices.get_settings(index=self.index, **_OF_SEARCHES)


@dataclass(frozen=True)
class GetIndices(ServerRequest):
    """The names of all open indices, with their aliases."""

    def sent_by(self, client: Any) -> Any:
        """``GET _alias``."""
        return client.indices.get_alias(index="*", expand_wildcards="open")


@dataclass(frozen=True)
class GetInfo(ServerRequest):
    """The server's name and version."""

    def sent_by(self, client: Any) -> Any:
        """``GET /``."""
        return client.info()


@dataclass(frozen=True)
class SearchNothing(ServerRequest):
    """A search without documents, which only a server that isn't old understands."""

    def sent_by(self, client: Any) -> Any:
        """A search with ``exclude_vectors``."""
        return client.search(**OF_NOTHING)


@dataclass(frozen=True)
class TermVectors(ServerRequest):
    """How an index's analysis parts an artificial document into tokens."""

    index: str
    body: Mapping[str, Any]

    def sent_by(self, client: Any) -> Any:
        """``POST INDEX/_termvectors``."""
        return client.termvectors(index=self.index, body=self.body)


@dataclass(frozen=True)
class OpenPointInTime(ServerRequest):
    """A view of an index that later changes don't reach."""

    index: str

    def sent_by(self, client: Any) -> Any:
        """``POST INDEX/_pit``."""
        return client.open_point_in_time(index=self.index, keep_alive=KEEP_ALIVE)


@dataclass(frozen=True)
class Pause:
    """Some seconds in which nothing happens."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """A computation too long for an event loop; its answer is what ``do`` returns."""

    do: Callable[[], Any]


@dataclass(frozen=True)
class Together:
    """Work, and requests that are under way meanwhile.

    The answer is a pair: what the work returns, and a list of the requests' answers in their order, in which an
    `ApiError` takes the place of an answer that the server refused.
    """

    work: Work
    requests: Sequence[ServerRequest]


Request = ServerRequest | Pause | Work | Together
# Yields requests, is sent their answers, and returns a T.
Steps = Generator[Request, Any, T]
