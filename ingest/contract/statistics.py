"""Mean and covariance of a field's vectors: what any query's cosine is over the whole corpus, without searching it.

For a unit query q and unit vectors with mean m and covariance C, the cosine has mean q.m and variance q' C q, exactly.
They are kept in one small hidden index, a document for each index and field, beside the vectors they describe.
"""

from __future__ import annotations

import base64
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from elasticsearch import ApiError, ConflictError, Elasticsearch, NotFoundError
from numpy.typing import NDArray

from crosslens.errors import ConnectionFailedError, MappingError
from crosslens.ingest.contract.documents import value_at
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.settings import index_uuids
from crosslens.ingest.model.transform import Float32Array

# Named as earlier releases named it.
STATISTICS_INDEX = "crosslens-moments"
_MAPPINGS = {
    "dynamic": False,
    "properties": {"index": {"type": "keyword"}, "path": {"type": "keyword"}, "fingerprint": {"type": "keyword"}},
}
_TRIES = 20
_LOG = logging.getLogger("crosslens")


@dataclass(frozen=True)
class CorpusStatistics:
    """Of ``count`` unit vectors of d dims: ``mean`` float64 [d] and (population) ``covariance`` float64 [d, d].

    ``null`` are the largest standardised cosines that queries without an answer reached, if such were tried.
    """

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    null: tuple[float, ...] = ()

    @classmethod
    def none(cls, dims: int) -> CorpusStatistics:
        """The statistics of no vectors."""
        return cls(0, np.zeros(dims), np.zeros((dims, dims)))

    @classmethod
    def of(cls, vectors: Float32Array | Sequence[Sequence[float]]) -> CorpusStatistics:
        """The statistics of vectors [n, d], each made unit first."""
        rows = np.asarray(vectors, dtype=np.float64)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        mean = rows.mean(axis=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred / len(rows))

    def merged(self, other: CorpusStatistics) -> CorpusStatistics:
        """The statistics of both together (Chan, Golub, LeVeque 1979, Updating Formulae, equation 1.5)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        covariance = (
            self.covariance * self.count
            + other.covariance * other.count
            + np.outer(apart, apart) * (self.count * other.count / count)
        ) / count
        return CorpusStatistics(count, mean, covariance, self.null + other.null)

    def noise_floor(self, false_alarm: float) -> float:
        """The standardised cosine that the best of all documents exceeds with probability ``false_alarm`` by chance.

        Where queries without an answer were tried (`try_null_queries`), the quantile of what they reached; else that of
        the largest of ``count`` independent normal deviates, F(z)^count = 1 - false_alarm, which real vectors only
        come near. Raises `ValueError` unless ``false_alarm`` lies between 0 and 1.
        """
        if not 0 < false_alarm < 1:
            raise ValueError(f"the false-alarm rate must lie between 0 and 1, not {false_alarm}")
        if self.null:
            return float(np.quantile(self.null, 1 - false_alarm, method="higher"))
        # log1p and expm1 keep the digits that (1 - a)^(1/n), close to 1, would lose.
        beyond = -math.expm1(math.log1p(-false_alarm) / max(self.count, 1))
        return -NormalDist().inv_cdf(beyond)

    def of_cosine(self, query: Sequence[float]) -> tuple[float, float]:
        """Mean and standard deviation of the cosine between ``query`` (unit, [d]) and every vector."""
        q = np.asarray(query, dtype=np.float64)
        return float(q @ self.mean), math.sqrt(max(float(q @ self.covariance @ q), 0.0))

    def as_source(self) -> dict[str, Any]:
        """What is stored: float32, base64."""
        stored = {"count": self.count, "mean": _packed(self.mean), "covariance": _packed(self.covariance)}
        return {**stored, "null": list(self.null)}

    @classmethod
    def from_source(cls, source: Mapping[str, Any]) -> CorpusStatistics:
        """What `as_source` stored."""
        mean = _unpacked(source["mean"])
        covariance = _unpacked(source["covariance"]).reshape(len(mean), len(mean))
        return cls(int(source["count"]), mean, covariance, tuple(source.get("null", ())))


def _packed(values: NDArray[np.float64]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64)


def statistics_query(indices: Sequence[str], fields: Sequence[VectorField]) -> dict[str, Any]:
    """A search of the hidden index for the corpus statistics of ``fields`` in ``indices``."""
    return {
        "query": {
            "bool": {
                "filter": [
                    {"terms": {"index": list(indices)}},
                    {"terms": {"path": [each.path for each in fields]}},
                    {"terms": {"fingerprint": sorted({each.fingerprint for each in fields})}},
                ]
            }
        },
        "size": min(10_000, len(indices) * len(fields)),
    }


def read_statistics(
    hits: Sequence[Mapping[str, Any]],
    holders: Mapping[str, Mapping[str, VectorField]],
    uuids: Mapping[str, str] | None = None,
) -> tuple[dict[str, CorpusStatistics], dict[str, list[str]]]:
    """The corpus statistics that a search's hits hold, and what they lack, both by field.

    ``holders`` are the vector fields of each index, by name. The statistics are of all the indices together that hold
    the field; the indices that lack them are listed. ``uuids``, by index where they are known, tell an index from
    one that was deleted and had its name.
    """
    stored = {
        (source["index"], source["path"], source["fingerprint"]): source
        for source in (hit["_source"] for hit in hits)
        if source["index"] not in (uuids or {}) or source.get("uuid") == (uuids or {})[source["index"]]
    }
    found: dict[str, CorpusStatistics] = {}
    lacking: dict[str, list[str]] = {}
    for index, fields in holders.items():
        for name, each in fields.items():
            source = stored.get((index, each.path, each.fingerprint))
            here = None if source is None else _whole(source, each)
            if here is None:
                lacking.setdefault(name, []).append(index)
            elif here.count:
                found[name] = found[name].merged(here) if name in found else here
    return found, lacking


def _whole(source: Mapping[str, Any], each: VectorField) -> CorpusStatistics | None:
    """Return the statistics in an entry; None, and a warning, where it is damaged."""
    try:
        found = CorpusStatistics.from_source(source)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    else:
        if len(found.mean) != each.dims:
            problem = f"{len(found.mean)} dims, not {each.dims}"
        elif found.count < 0 or not (np.isfinite(found.mean).all() and np.isfinite(found.covariance).all()):
            problem = "a negative count, or numbers that aren't finite"
        else:
            return found
    _LOG.warning("the corpus statistics of %s/%s are damaged (%s)", source.get("index"), each.path, problem)
    return None


def vectors_of(source: Mapping[str, Any], each: VectorField) -> list[list[float]]:
    """The vectors that a document's source holds in a field."""
    node = value_at(source, each.path)
    if not node:
        return []
    return [entry["vector"] for entry in node if entry.get("vector")] if each.each else [node]


def add_statistics(
    client: Elasticsearch, fields: Sequence[VectorField], gathered: Mapping[tuple[str, str], CorpusStatistics]
) -> None:
    """Merges what a run gathered, by index and path, with what is stored.

    Where that can't be done (no right to, a full disk), it is logged: the vectors are written all the same, and
    `calibrate` measures them later.
    """
    by_path = {each.path: each for each in fields}
    try:
        for (index, path), statistics in gathered.items():
            store_statistics(client, index, by_path[path], statistics)
    except (ApiError, ConnectionFailedError) as error:
        _LOG.warning(
            "the vectors are written, but their corpus statistics are not in %s (%s); calibrate the index later",
            STATISTICS_INDEX,
            error,
        )


def store_statistics(
    client: Elasticsearch, index: str, each: VectorField, statistics: CorpusStatistics, *, anew: bool = False
) -> None:
    """Stores the corpus statistics of one index's field: merged with those that are there, or in their place."""
    create_statistics_index(client)
    id = f"{index}/{each.path}"
    # An index that was deleted and made anew has other vectors under its name.
    identity = _identity(client, index, each)
    for _ in range(_TRIES):
        guard: dict[str, Any] = {"op_type": "create"}
        total = statistics
        try:
            found = client.get(index=STATISTICS_INDEX, id=id)
            guard = {"if_seq_no": found["_seq_no"], "if_primary_term": found["_primary_term"]}
            if not anew and identity.items() <= found["_source"].items():
                kept = _whole(found["_source"], each)
                if kept is None:
                    # Readers refuse what is damaged; those of a part of the vectors they would take for all.
                    return
                total = kept.merged(statistics) if kept.count else statistics
        except NotFoundError:
            pass
        document = {**identity, **total.as_source()}
        try:
            client.index(index=STATISTICS_INDEX, id=id, document=document, refresh=True, **guard)
        except ConflictError:
            continue
        return
    raise MappingError(f"the corpus statistics of {each.field!r} in {index!r} keep changing", hint="try again")


def create_statistics_index(client: Elasticsearch) -> None:
    """Creates the hidden index where there is none yet."""
    if not client.indices.exists(index=STATISTICS_INDEX):
        _create(client, {"hidden": True, "number_of_shards": 1, "auto_expand_replicas": "0-1"})
        # Serverless clusters choose shards and replicas themselves, and refuse to be told.
        if not client.indices.exists(index=STATISTICS_INDEX):
            _create(client, {"hidden": True})


def _create(client: Elasticsearch, settings: dict[str, Any]) -> None:
    """Creates the hidden index, unless it is there by now or the server refuses the settings."""
    client.options(ignore_status=400).indices.create(index=STATISTICS_INDEX, mappings=_MAPPINGS, settings=settings)


def stored_statistics(client: Elasticsearch, index: str, each: VectorField) -> CorpusStatistics | None:
    """The corpus statistics of one index's field; None where none are stored of these vectors."""
    try:
        source = client.get(index=STATISTICS_INDEX, id=f"{index}/{each.path}")["_source"]
    except NotFoundError:
        return None
    return _whole(source, each) if _identity(client, index, each).items() <= source.items() else None


def _identity(client: Elasticsearch, index: str, each: VectorField) -> dict[str, Any]:
    uuid = index_uuids(client, index)[index]
    return {"index": index, "uuid": uuid, "path": each.path, "fingerprint": each.fingerprint}
