"""What a searcher knows of its index, and how it keeps up with it: fields, models, analysis, corpus statistics."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from elasticsearch import ApiError, AuthorizationException, BadRequestError, NotFoundError

from crosslens.client import OLDEST_SERVER, UNDERSTANDS, reported_version
from crosslens.errors import MixedModelsError, ModelError, NotCalibratedError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import Mappings, choose, no_such_index, usable_mappings
from crosslens.ingest.contract.record import VectorField, own_paths, read_record, vector_fields
from crosslens.ingest.contract.statistics import STATISTICS_INDEX, CorpusStatistics, read_statistics, statistics_query
from crosslens.queries.search.analysis import Analysis
from crosslens.queries.search.answers import ask, refused
from crosslens.queries.search.legs import KEYWORD
from crosslens.queries.search.presence import Presence, is_there
from crosslens.queries.search.readings import copies
from crosslens.queries.search.requests import (
    GetIndices,
    GetInfo,
    GetMapping,
    GetSettings,
    Pause,
    Query,
    SearchNothing,
    Steps,
    Work,
)
from crosslens.queries.search.senses import spoken_in
from crosslens.queries.search.textual import Captions, TextFields

_LOG = logging.getLogger("crosslens")
# Searchers see a changed mapping at most this much later; `crosslens.ingest.run.migrate` waits for it.
MAPPING_TTL_S = 30.0
# What an index returns at most where it doesn't say otherwise (index.max_result_window).
MOST_RESULTS = 10_000
_MAX_RESULTS = "index.max_result_window"
_CONSISTENT_TRIES = 10
_CONSISTENT_PAUSE_S = 0.1
# A text, and the fields that it is searched in.
Text = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Seen:
    """What the index's mapping said when it was last read, and what was learnt of the index since.

    ``fields`` are the vector fields to search by name, ``texts`` those of the keyword leg, ``captions`` the words that
    are spoken in moments of sounds and footage, as they are searched; ``spoken`` has the file of every such text field.
    ``own_paths`` are what crosslens put into the documents; ``version`` is the server's, ``at`` monotonic time in
    seconds. ``most`` is how many documents a search may return. ``settings`` are the weights and the normalizer that
    the index records, ``copies`` the fields whose words a text field holds. ``moments`` are the corpus statistics by
    vector field (None: not asked for yet); ``parted`` has the words of texts that only the server can part. ``holders``
    are the searched vector fields by index and name, ``uuids`` the indices' where they are known, ``presence`` that of
    the server plugin.
    """

    fields: dict[str, VectorField]
    own_paths: list[str]
    texts: TextFields
    indices: list[str]
    version: tuple[int, ...]
    at: float
    most: int = MOST_RESULTS
    settings: dict[str, Any] = field(default_factory=dict)
    moments: dict[str, CorpusStatistics] | None = None
    analysis: Analysis = field(default_factory=Analysis)
    copies: dict[str, set[str]] = field(default_factory=dict)
    parted: dict[Text, list[str]] = field(default_factory=dict)
    holders: dict[str, dict[str, VectorField]] = field(default_factory=dict)
    uuids: dict[str, str] = field(default_factory=dict)
    presence: Presence = field(default_factory=lambda: Presence(False))
    captions: tuple[Captions, ...] = ()
    spoken: dict[str, str] = field(default_factory=dict)

    def marking(self, text: str, legs: Sequence[str] | None) -> list[Query]:
        """Return the queries for the words of a text in all that is searched by ``legs`` (None: all)."""
        queries = [(each.path, each.matching(text)) for each in self.captions]
        if self.texts.names:
            queries.insert(0, (KEYWORD, self.texts.matching(text)))
        return [query for name, query in queries if legs is None or name in legs]


class IndexReader:
    """Reads the mapping of ``index`` when it is first needed, and again when it was read ``ttl_s`` seconds ago.

    ``fields`` and ``text_fields`` are as in `crosslens.queries.search.base.Searcher`. May be used from several threads.
    """

    def __init__(
        self,
        index: str,
        encoders: Encoders,
        fields: Sequence[str] | None,
        text_fields: Sequence[str] | None,
        ttl_s: float,
    ):
        self.index, self.encoders = index, encoders
        self._fields, self._text_fields, self._ttl_s = fields, text_fields, ttl_s
        self._seen: Seen | None = None

    def current(self) -> Steps[Seen]:
        """Return what is known of the index, read anew if it was read too long ago.

        Raises `MappingError` when there is no such index, it has no vectors, or lacks a field asked for, and
        `ModelError` at the first time when the model of a field isn't at hand. Later, after a change of model that this
        machine can't follow, searches go on with the model in use until then.
        """
        seen = self._seen
        if seen is None or time.monotonic() - seen.at > self._ttl_s:
            try:
                seen = yield from self._read(seen)
            except ModelError as error:
                if seen is None:
                    raise
                _LOG.warning("searches go on with the model in use until now: %s", error)
                seen = replace(seen, at=time.monotonic())
            self._seen = seen
        return seen

    def with_moments(self, seen: Seen) -> Steps[Seen]:
        """Return the same with the corpus statistics, which are asked for once for each reading of the mapping.

        Raises `NotCalibratedError` when a field has none, or an index that holds it lacks them.
        """
        if seen.moments is not None:
            return seen
        fields = list(seen.fields.values())
        (answer,) = yield from ask([(STATISTICS_INDEX, statistics_query(seen.indices, fields))])
        hits = [] if "error" in answer else answer["hits"]["hits"]
        moments, lacking = read_statistics(hits, seen.holders, seen.uuids)
        missing = sorted(lacking.keys() | (seen.fields.keys() - moments.keys()))
        if missing:
            where = dict.fromkeys(index for name in missing for index in lacking.get(name, seen.indices))
            raise NotCalibratedError(
                f"the vectors of {', '.join(missing)} in {', '.join(map(repr, where))} have not been measured",
                hint="measure them first",
                verb="calibrate",
            )
        self._seen = replace(seen, moments=moments)
        return self._seen

    def _read(self, former: Seen | None) -> Steps[Seen]:
        version = former.version if former else (yield from _version())
        for remaining in reversed(range(_CONSISTENT_TRIES)):
            mappings = yield from self._mappings()
            settings = yield from self._settings()
            presence = Presence((yield from is_there()))
            try:
                # It may load a model.
                make = partial(self._understood, mappings, settings, version, presence, first=former is None)
                seen: Seen = yield Work(make)
            except MixedModelsError:
                # A change of model reaches the indices of an alias one after the other.
                if not remaining:
                    raise
                yield Pause(_CONSISTENT_PAUSE_S)
            else:
                return seen
        raise AssertionError("the last try raises")

    def _mappings(self) -> Steps[Mappings]:
        try:
            found = yield GetMapping(self.index)
        except NotFoundError as error:
            raise no_such_index(self.index, (yield GetIndices())) from error
        return usable_mappings(self.index, found)

    def _settings(self) -> Steps[dict[str, dict[str, Any]]]:
        """By index, the flat settings that concern searches; none where this user may not read them."""
        try:
            found = yield GetSettings(self.index)
        except ApiError as error:
            if error.status_code != 403:
                raise refused(error) from error
            _LOG.debug("the index's settings can't be read, and are taken to be Elasticsearch's own: %s", error)
            return {}
        return {name: entry["settings"] for name, entry in found.items()}

    def _understood(
        self,
        mappings: Mappings,
        settings: Mapping[str, Mapping[str, Any]],
        version: tuple[int, ...],
        presence: Presence,
        *,
        first: bool,
    ) -> Seen:
        chosen = choose(self.index, mappings, self._fields)
        if first:
            self.encoders.check(choose(self.index, mappings, None).values(), self.index, searching=True)
        for each in chosen.values():
            self.encoders.for_field(each, searching=True)
        own = dict.fromkeys(path for mapping in mappings.values() for path in own_paths(mapping))
        held: dict[str, set[str]] = {}
        for mapping in mappings.values():
            for path, origins in copies(mapping).items():
                held.setdefault(path, set()).update(origins)
        return Seen(
            chosen,
            list(own),
            TextFields.of(mappings, chosen.values(), self._text_fields),
            list(mappings),
            version,
            time.monotonic(),
            min((int(each.get(_MAX_RESULTS, MOST_RESULTS)) for each in settings.values()), default=MOST_RESULTS),
            next((search for each in mappings.values() if (search := read_record(each).search)), {}),
            analysis=Analysis.of(mappings, settings),
            copies=held,
            holders={
                name: {key: each for key, each in vector_fields(mapping).items() if key in chosen}
                for name, mapping in mappings.items()
            },
            uuids={name: found["index.uuid"] for name, found in settings.items() if "index.uuid" in found},
            captions=Captions.of(mappings, self._text_fields),
            spoken=spoken_in(mappings),
            presence=presence,
        )


def _version() -> Steps[tuple[int, ...]]:
    """The server's version; for a user who may not ask, a version that the server has at least."""
    try:
        return reported_version((yield GetInfo()))
    except AuthorizationException:
        pass
    try:
        yield SearchNothing()
    except BadRequestError:
        return OLDEST_SERVER
    return UNDERSTANDS
