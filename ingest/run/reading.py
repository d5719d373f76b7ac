"""Reading an index's documents: pages of a point in time, single documents as they are now, and what changed since."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from crosslens.client import JSON_HEADERS, server_version
from crosslens.errors import ConnectionFailedError
from crosslens.ingest.contract import selection
from crosslens.ingest.contract.settings import page_limits
from crosslens.ingest.run.sending import Guard, Write

# A page must be encoded before its point in time runs out; 200 documents take ViT-B/32 some 15 s on two cores.
PAGE = 200
_KEEP_ALIVE = "30m"
VECTORS_LEFT_OUT_SINCE = (9, 2)
# Runs at the same time take slices in random order each, so that they seldom meet in one.
_SLICE = 250
# A point in time that ran out or was closed, and one that a node took along when it left the cluster.
_CONTEXT_LOST = ("search_context_missing_exception", "No search context", "search_context_missing_nodes_exception")
_MOST_SLICES = 64


@dataclass(frozen=True)
class Document:
    """A document as it was read, with what guards a write to it."""

    index: str
    id: str
    routing: str | None
    guard: Guard
    source: dict[str, Any]
    version: int = 0

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What distinguishes it from every other document."""
        return self.index, self.id, self.routing


@dataclass(frozen=True)
class Share:
    """The ``part``-th of ``parts`` equal shares of an index's documents, by a hash of their id (part from 1)."""

    part: int = 1
    parts: int = 1

    def holds(self, id: str) -> bool:
        """Whether the document of that id belongs to this share; the same on every machine and in every run."""
        return self.parts == 1 or zlib.crc32(id.encode("utf-8", "surrogatepass")) % self.parts == self.part - 1


class Reader:
    """Reads documents of ``index`` with the fields ``wanted`` of their source, or all (None) but those ``left_out``.

    All of a document includes its vectors; ``wanted`` ones only with ``vectors``, in `pages` alone. ``client`` is
    expected to be patient (`crosslens.retrying`).
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        wanted: Sequence[str] | None,
        share: Share | None = None,
        *,
        left_out: Sequence[str] = (),
        vectors: bool = False,
    ):
        self._client, self._index, self._share = client, index, share or Share()
        self._with_vectors = False
        newer = (wanted is None or vectors) and server_version(client) >= VECTORS_LEFT_OUT_SINCE
        if wanted is not None:
            self._filter: Any = {"includes": list(wanted), **({"exclude_vectors": False} if newer else {})}
        elif left_out:
            self._filter = {"excludes": list(left_out)}
        else:
            self._with_vectors = newer
            self._filter = {"exclude_vectors": False} if newer else True

    def pages(
        self, query: dict[str, Any], *, reopened: Callable[[], dict[str, Any]] | None = None
    ) -> Iterator[list[Document]]:
        """Every document that meets ``query``, as of now, in pages.

        Runs of several workers begin at different places. When the point in time is lost, ``reopened`` gives the query
        to begin anew with (None: the same query).
        """
        while True:
            try:
                yield from self._pages_once(query)
            except NotFoundError as error:
                if not any(words in str(error) for words in _CONTEXT_LOST):
                    raise
                self.refresh()
                query = reopened() if reopened else query
            else:
                return

    def sampled(self, query: dict[str, Any], count: int) -> Iterator[list[Document]]:
        """About ``count`` of the documents that meet ``query``, chosen at random, in pages; all, if they aren't more.

        A page alone, or what lies together, is no sample: documents lie as they were written.
        """
        return self.pages(selection.chosen_at_random(query, count / max(self.count(query), 1)))

    def _pages_once(self, query: dict[str, Any]) -> Iterator[list[Document]]:
        pit = self._client.open_point_in_time(index=self._index, keep_alive=_KEEP_ALIVE, expand_wildcards="open")["id"]
        try:
            sized = self._search(pit, query, size=0, track_total_hits=True)
            found = int(sized["hits"]["total"]["value"])
            limits = page_limits(self._client, self._index)
            size = min(PAGE, limits.window)
            slices = max(1, min(_MOST_SLICES, limits.slices, found // _SLICE))
            for part in random.sample(range(slices), slices):
                after: list[Any] | None = None
                while True:
                    more: dict[str, Any] = {"slice": {"id": part, "max": slices}} if slices > 1 else {}
                    page = self._search(
                        pit,
                        query,
                        sort=["_shard_doc"],
                        search_after=after,
                        size=size,
                        source=self._filter,
                        seq_no_primary_term=True,
                        version=True,
                        track_total_hits=False,
                        **more,
                    )
                    pit = page["pit_id"]
                    hits = page["hits"]["hits"]
                    yield [_document(hit) for hit in hits if self._share.holds(hit["_id"])]
                    if len(hits) < size:
                        break
                    after = hits[-1]["sort"]
        finally:
            # A point in time that can't be closed runs out by itself.
            with contextlib.suppress(ApiError, TransportError):
                self._client.close_point_in_time(id=pit)

    def _search(self, pit: str, query: dict[str, Any], **options: Any) -> Any:
        # Shards that fail for a moment must not pass for shards without documents.
        return self._client.search(
            pit={"id": pit, "keep_alive": _KEEP_ALIVE}, query=query, allow_partial_search_results=False, **options
        )

    def numbered(
        self, shard: int, after: int, until: int, query: dict[str, Any] | None, size: int
    ) -> tuple[list[Document], int | None]:
        """Documents of one index's ``shard`` whose sequence numbers lie above ``after``, up to ``until``, at most
        ``size``; and up to which number these are all (None: to the end).

        As of the last refresh. With ``query`` only those that meet it.
        """
        range_of = {"range": {"_seq_no": {"gt": after, "lte": until}}}
        found = self._client.search(
            index=self._index,
            preference=f"_shards:{shard}",
            query={"bool": {"filter": [range_of] if query is None else [range_of, query]}},
            sort=[{"_seq_no": "asc"}],
            size=size,
            source=self._filter,
            seq_no_primary_term=True,
            track_total_hits=False,
            allow_partial_search_results=False,
        )["hits"]["hits"]
        return [_document(hit) for hit in found], int(found[-1]["sort"][0]) if len(found) == size else None

    def again(self, writes: Sequence[Write | Document]) -> Iterator[list[Document]]:
        """The same documents as they are now, in pages; deleted ones are left out."""
        for start in range(0, len(writes), PAGE):
            docs = []
            for each in writes[start : start + PAGE]:
                entry: dict[str, Any] = {"_index": each.index, "_id": each.id}
                if not self._with_vectors:
                    entry["_source"] = self._filter
                docs.append(entry if each.routing is None else {**entry, "routing": each.routing})
            answer = self._mget(docs)
            yield [_document(found) for found in answer["docs"] if found.get("found")]

    def _mget(self, docs: list[dict[str, Any]]) -> Any:
        if not self._with_vectors:
            return self._client.mget(docs=docs)
        # The client knows no name for this parameter yet.
        return self._client.perform_request(
            "POST",
            "/_mget?_source_exclude_vectors=false",
            headers=JSON_HEADERS,
            body={"docs": docs},
        )

    def refresh(self) -> None:
        """Makes all writes so far visible to searches."""
        self._client.indices.refresh(index=self._index, expand_wildcards="open")

    def count(self, query: dict[str, Any]) -> int:
        """How many documents meet ``query``, of all shares."""
        answer = self._client.count(index=self._index, query=query, expand_wildcards="open")
        if answer["_shards"]["failed"]:
            raise ConnectionFailedError(
                f"{answer['_shards']['failed']} shards of {self._index} don't answer", hint="try again"
            )
        return int(answer["count"])

    def marks(self) -> Marks:
        """Where the indices' sequence numbers stand; not known without the right to ask (monitor)."""
        try:
            answer = self._client.indices.stats(
                index=self._index, level="shards", metric=["docs"], expand_wildcards="open"
            )
        except ApiError as error:
            if error.status_code != 403:
                raise
            names = self._client.indices.get_mapping(index=self._index, expand_wildcards="open")
            return Marks(dict.fromkeys(names, ()))
        shards = {}
        for name, entry in answer["indices"].items():
            copies = [[c["seq_no"]["max_seq_no"] for c in each if "seq_no" in c] for each in entry["shards"].values()]
            shards[name] = tuple(max(numbers, default=-1) for numbers in copies)
        return Marks(shards)


@dataclass(frozen=True)
class Marks:
    """Each index's shards' last sequence numbers at some moment; an empty tuple where they aren't known.

    A query can't distinguish shards, so the least and the greatest of them bound what it can ask for.
    """

    shards: Mapping[str, tuple[int, ...]]

    def changed_since(self) -> dict[str, Any]:
        """Every document written since, and some written before."""
        return selection.changed_since({name: min(numbers, default=-1) for name, numbers in self.shards.items()})

    def untouched_since(self) -> dict[str, Any]:
        """Every document not written since, and some that were."""
        known = {name: max(numbers) for name, numbers in self.shards.items() if numbers}
        return {"bool": {"must_not": [selection.changed_since(known)]}}

    def advanced_by(self, earlier: Marks) -> int | None:
        """How many operations the shards took since ``earlier``; None where that isn't known."""
        if self.shards.keys() != earlier.shards.keys() or not all(self.shards.values()):
            return None
        return sum(sum(numbers) - sum(earlier.shards[name]) for name, numbers in self.shards.items())


def _document(hit: Mapping[str, Any]) -> Document:
    return Document(
        hit["_index"],
        hit["_id"],
        hit.get("_routing"),
        Guard(hit["_seq_no"], hit["_primary_term"]),
        hit.get("_source") or {},
        hit.get("_version", 0),
    )
