"""A whole search as one story, without input or output: what is asked for next, given what was answered so far.

Every method is a generator of requests (`crosslens.queries.search.requests`). So the client that waits and the one that
doesn't run the same search.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.model.passages import Passage
from crosslens.queries.fusion.normalizers import Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW, Scores
from crosslens.queries.search.answers import ask, checked, hits_of, raw_scores
from crosslens.queries.search.build import legs_of
from crosslens.queries.search.draft import Asked, Found, as_result, combined
from crosslens.queries.search.legs import Leg, named, native_retrievers
from crosslens.queries.search.liked import read_liked
from crosslens.queries.search.mapping import IndexReader, Seen
from crosslens.queries.search.options import DraftOptions, ScoreOptions, SearchOptions
from crosslens.queries.search.plan import RESCORES_SINCE, Plan
from crosslens.queries.search.plan import shown as presenting
from crosslens.queries.search.ranking import ranked
from crosslens.queries.search.remembered import QueryVectors
from crosslens.queries.search.requests import OpenPointInTime, Search, Steps, Work
from crosslens.queries.search.wanted import Wanted
from crosslens.queries.show.result import SearchResult


def _by_passage(found: Sequence[Found]) -> dict[int, list[DocumentKey]]:
    by_passage: dict[int, list[DocumentKey]] = {}
    for each in found:
        by_passage.setdefault(each.passage, []).append(each.key)
    return by_passage


class Story:
    """Searches of one index, each leg over its ``window`` best documents. May be used from several threads."""

    def __init__(self, reader: IndexReader, window: int, remembered: QueryVectors):
        self._reader, self._window, self._remembered = reader, window, remembered

    def current(self) -> Steps[Seen]:
        """Return what is known of the index; see `IndexReader.current`, also for what is raised."""
        return self._reader.current()

    def search(self, options: SearchOptions) -> Steps[SearchResult]:
        """Return the best documents. Raises as `HybridSearcher.search` does."""
        seen = yield from self.current()
        return (yield from self._search(seen, self._wanted(seen, options)))

    def draft(self, options: DraftOptions) -> Steps[SearchResult]:
        """Return the best documents for a draft. Raises as `HybridSearcher.search_draft` does."""
        seen = yield from self.current()
        fields = [each for name, each in seen.fields.items() if options.legs is None or name in options.legs]
        fields = fields or list(seen.fields.values())
        draft, encoders, most = str(options.sendable.text), self._reader.encoders, options.most_passages
        asked = yield Work(partial(Asked.of, draft, fields, encoders, self._remembered, most))
        # By evidence the ranking is known without completion.
        complete = options.complete and not self._wanted(seen, options).by_evidence
        each = SearchOptions(**{**options.of_passages, "size": self._window_of(seen), "complete": complete})
        results = []
        for passage in asked.passages:
            wanted = self._wanted(seen, replace(each, text=asked.words(passage)))
            results.append((yield from self._search(seen, wanted)))
        found = combined(results, options)
        best = found[: options.size]
        documents = yield from self._documents(seen, options, asked, best)
        parts = yield from self._answered(seen, options, asked, best)
        shown = [(hit, documents[hit.key], parts[hit.key]) for hit in best if hit.key in documents]
        return as_result(asked, results, found, shown, options)

    def _documents(
        self, seen: Seen, options: DraftOptions, asked: Asked, best: Sequence[Found]
    ) -> Steps[dict[DocumentKey, Mapping[str, Any]]]:
        """What is shown of documents, with the words of the passage that each answers marked."""
        searches: list[Search] = []
        for passage, keys in _by_passage(best).items():
            query: dict[str, Any] = {"filter": [named(keys)]}
            if options.highlight:
                query["should"] = seen.marking(asked.words(asked.passages[passage]), options.legs)
            body = {"query": {"bool": query}, "size": len(keys), "track_total_hits": False}
            searches.append((self._reader.index, {**body, **presenting(options, seen.own_paths)}))
        answers = checked((yield from ask(searches)), ["documents"] * len(searches)) if searches else []
        return dict(hits_of(answers))

    def _answered(
        self, seen: Seen, options: DraftOptions, asked: Asked, best: Sequence[Found]
    ) -> Steps[dict[DocumentKey, Passage]]:
        """By document the sentence that it comes nearest to, of the passage that it answers, or all of that passage
        where no vector found it."""
        parts = {each.key: asked.passages[each.passage] for each in best}
        nearest: dict[DocumentKey, float] = {}
        searches: list[Search] = []
        meant: list[tuple[Leg, Passage]] = []
        nearest_by = {each.key: each.field(seen.fields) for each in best}
        by_vector = [each for each in best if nearest_by[each.key] is not None]
        # Sentences of one passage are often nearer to each other than what the server rounds off.
        exactly = seen.version >= RESCORES_SINCE
        for passage, keys in _by_passage(by_vector).items():
            fields = {each.key: nearest_by[each.key] for each in by_vector if each.passage == passage}
            several = asked.sentences(asked.passages[passage])
            for sentence in several if len(several) > 1 else ():
                names = sorted({str(fields[key]) for key in keys})
                wanted = self._wanted(seen, SearchOptions(asked.words(sentence), legs=names))
                for leg in (yield from self._legs(seen, wanted)):
                    those = [key for key in keys if fields[key] == leg.name]
                    for body in leg.completions(those, rescore=exactly, most=seen.most):
                        searches.append((self._reader.index, body))
                        meant.append((leg, sentence))
        answers = checked((yield from ask(searches)), ["sentences"] * len(searches)) if searches else []
        for (leg, sentence), answer in zip(meant, answers, strict=True):
            for key, score in raw_scores([leg], [answer])[0][leg.name].items():
                if score > nearest.get(key, -2.0):
                    nearest[key], parts[key] = score, sentence
        return parts

    def scores(self, options: ScoreOptions) -> Steps[dict[str, Scores[DocumentKey]]]:
        """Return what any normalizer would fuse. Raises as `HybridSearcher.search` does."""
        seen = yield from self.current()
        normalizer: Normalizer = "standardise" if options.standardise else "theoretical-min-max"
        raw = replace(options, normalizer=normalizer, size=0, source=False)
        result = yield from self._search(seen, self._wanted(seen, raw, comparing=True))
        return result.scores

    def legs(self, options: SearchOptions) -> Steps[list[Leg]]:
        """Return the legs of a search. Raises as `HybridSearcher.search` does."""
        seen = yield from self.current()
        return (yield from self._legs(seen, self._wanted(seen, options)))

    def bodies(self, options: SearchOptions) -> Steps[dict[str, Any]]:
        """Return a search as plain requests. Raises as `HybridSearcher.search` does."""
        legs = yield from self.legs(options)
        bodies: dict[str, Any] = {"legs": {leg.name: leg.request for leg in legs}}
        return {**bodies, **native_retrievers(legs, options.weights or {}, size=options.size)}

    def _wanted(self, seen: Seen, options: SearchOptions, *, comparing: bool = False) -> Wanted:
        return Wanted.of(self._reader.index, self._window_of(seen), seen.settings, options, comparing=comparing)

    def _window_of(self, seen: Seen) -> int:
        """The window, which may be as large as the index's results. The default one is cut to that."""
        if self._window <= seen.most or self._window == DEFAULT_WINDOW:
            return min(self._window, seen.most)
        raise QueryError(
            f"a window of {self._window} documents can't be had: index {self._reader.index!r} returns {seen.most} "
            "at most (index.max_result_window)",
            hint="choose a smaller window, or raise that setting of the index",
            parameter="window",
        )

    def _legs(self, seen: Seen, wanted: Wanted) -> Steps[list[Leg]]:
        liked = yield from read_liked(seen, wanted.terms.like)
        return (yield from legs_of(seen, wanted, liked, self._reader.encoders, self._remembered, self._window_of(seen)))

    def _search(self, seen: Seen, wanted: Wanted) -> Steps[SearchResult]:
        started = time.perf_counter()
        if wanted.needs_moments:
            seen = yield from self._reader.with_moments(seen)
        legs = yield from self._legs(seen, wanted)
        encoded = time.perf_counter()
        opened = None
        if wanted.options.page is True:
            opened = (yield OpenPointInTime(self._reader.index))["id"]
        page = wanted.page(opened)
        result = yield from ranked(Plan.of(seen, wanted, self._reader.index, legs, page))
        return replace(
            result,
            encode_ms=(encoded - started) * 1e3,
            search_ms=(time.perf_counter() - encoded) * 1e3,
            next=page.next(len(result.hits), result.found) if page else None,
        )
