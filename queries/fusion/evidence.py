"""Fusion by evidence: a ranking that is right without judgements, weights or statistics of the corpus.

Each leg estimates, for each document, how many documents would do as well by chance: E. A vector leg estimates it from
the tail of its own window (`by_tail`), a keyword leg from the share of the query that the document covers
(`by_coverage`). A leg is right with p = 1 / (1 + E).

Legs that read the same source, such as BM25 over a title and the title's vector, are two opinions of one thing: their E
are pooled by a weighted geometric mean. Different sources are different chances to be right: they combine by noisy-or
(Pearl 1988, Probabilistic Reasoning in Intelligent Systems, section 4.3.2):

    total(d) = 1 - prod over sources (1 - p_source(d)) ^ W_source

A leg without a weight shares 1 with the others of its source; W is the sum of a source's weights, and the W are scaled
so that they sum to the number of weighted sources. Totals lie from 0 to 1, and the parts of a document sum to its
total: each source's share of -ln(1 - total), divided among its legs by what each of them alone would give.

Edge cases. A leg that didn't find a document, or found nothing at all, counts in its source's pool with E = the
window's depth: without a match for the words, the texts' vectors alone are less sure. The score of a source that didn't
find a document (some thousandths) is subtracted from all of its scores, so that a document not found gets exactly 0,
and one found last hardly more. A leg that can't judge a document, because its vector isn't made yet, is left out of the
pool for that document.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from crosslens.queries.fusion.scores import Part, Scores

K = TypeVar("K", bound=Hashable)
# The tail's fixed point: the best few of a window are the hits, not the effect of chance.
TAIL_RANK = 5
# No leg is surer than 1 - _DOUBT / 2: even some of the best matches are wrong.
_DOUBT = 0.01
_LIGHTEST = 1e-9
# Added to E for a respelt word, since the respelling may be wrong.
_MISREAD = 0.02


def by_tail(scores: Mapping[K, float]) -> dict[K, float]:
    """Return ln E by an exponential tail through the j-th and the last score of a leg's window of n documents.

        b = (s_j - s_n) / ln(n / j),  j = min(5, max(2, n // 4))
        ln E(d) = ln j - (s(d) - s_j) / b                     up to s_j
        ln E(d) = ln j - m ln(1 + (s(d) - s_j) / (m b))       above it

    so that E(s_j) = j and E(s_n) = n. Above s_j it is extrapolated with an estimated scale b: there the tail is
    the predictive one of an exponential with a gamma-distributed rate, whose m has the relative variance of b,
    sum over j <= i < n of 1/i^2, divided by ln(n / j)^2, as 1/m (Lomax 1954, doi 10.1080/01621459.1954.10501239;
    Renyi 1953 for the variance of an exponential's order statistics). With 100 documents that hardly differs from
    the exponential; with 3 no document can look sure.

    The scale and the sign of the scores don't matter. One hit: E = 1. Two: 1 and 2. Equal scores at the j-th place and
    the last say nothing about a scale: there E is the number of documents scoring as high, so n equal ones have n each.

    Source: Manmatha, Rath, Feng (2001), Modeling Score Distributions for Combining the Outputs of Search Engines,
    doi 10.1145/383952.384005.
    """
    window = sorted(scores.values())
    n = len(window)
    if not n:
        return {}
    j = min(TAIL_RANK, max(2, n // 4)) if n > 2 else 1
    high, low = window[n - j], window[0]
    if n <= j or high - low <= 1e-12 * max(abs(high), abs(low)):
        return {key: math.log(n - bisect_left(window, score)) for key, score in scores.items()}
    reach, start = math.log(n / j), math.log(j)
    b = (high - low) / reach
    m = reach**2 / sum(1 / (i * i) for i in range(j, n))
    log1p = math.log1p
    return {
        key: start - (m * log1p((score - high) / (m * b)) if score > high else (score - high) / b)
        for key, score in scores.items()
    }


def by_coverage(scores: Mapping[K, float], attainable: float) -> dict[K, float]:
    """Return ln E of keyword matches, by the share c of the query that each covers.

        c(d) = s(d) / max(attainable, best s),   E(d) = (2 (1 - c) / c)^2

    so that E is 1 at two thirds, 4 at a half, and 0 where all is covered. ``attainable`` is the score of a document
    that has every word as well as the word's best document has it (see `crosslens.queries.search.probes`). One hit and
    equal scores need no special case. A score of 0 or less isn't a match: inf.
    """
    most = max(attainable, max(scores.values(), default=0.0))
    return {
        key: 2.0 * (math.log(2.0 * (most - score) / score) if score < most else -math.inf) if score > 0 else math.inf
        for key, score in scores.items()
    }


def covered(score: float, best: float, attainable: float) -> float:
    """Return the share of the query, from 0 to 1, that `by_coverage` reads in a keyword score."""
    most = max(attainable, best)
    return min(max(score / most, 0.0), 1.0) if most > 0 else 0.0


def combine(legs: Mapping[str, Scores[K]], weights: Mapping[str, float]) -> dict[K, tuple[float, dict[str, Part]]]:
    """Return each document's total and its part of every leg; see the module's description.

    ``weights`` are by leg, 0 or more and not all 0 (`crosslens.queries.fusion.fuse` checks them). Only the legs' own
    finds count, so completed scores don't change a total. A higher score in one leg never lowers a
    document's total, and a leg alone keeps its order.
    """
    combined = Combined(legs, weights)
    return {key: (total, combined.parts(key)) for key, total in combined.totals.items()}


class Combined(Generic[K]):
    """The result of `combine`, with parts made on request: most documents of a window are never shown."""

    def __init__(self, legs: Mapping[str, Scores[K]], weights: Mapping[str, float]):
        self._legs = legs
        shares = {**default_weights(legs), **weights}
        heaviest = max(shares.values(), default=0.0)
        # Relative to the heaviest, so that the weights' magnitude doesn't matter; negligible ones count as 0.
        shares = {name: weight / heaviest if weight > _LIGHTEST * heaviest else 0.0 for name, weight in shares.items()}
        groups = [[name for name in names if shares[name] > 0] for names in _sources(legs).values()]
        groups = [names for names in groups if names]
        self._chances = {name: _chances(scores) for name, scores in legs.items()}
        self._pools = [[self._opinion(name, shares[name]) for name in names] for names in groups]
        scale = len(groups) / sum(shares.values()) if groups else 0.0
        self._whole = [scale * sum(shares[name] for name in names) for names in groups]
        keys = dict.fromkeys(key for scores in legs.values() for key in scores.keys)
        self._evidence = dict.fromkeys(keys, 0.0)
        for pool, whole in zip(self._pools, self._whole, strict=True):
            for key in dict.fromkeys(key for opinion in pool for key in opinion.logs):
                self._evidence[key] += whole * _pooled(pool, key)
        self.totals = {key: -math.expm1(-evidence) for key, evidence in self._evidence.items()}

    def _opinion(self, name: str, weight: float) -> _Opinion[K]:
        scores = self._legs[name]
        unfound = _unfound(scores)
        logs = {key: _bounded(chance, unfound) for key, chance in self._chances[name].items()}
        return _Opinion(name, weight, logs, scores.lacks, unfound)

    def parts(self, key: K) -> dict[str, Part]:
        """Return the parts of a document, by leg."""
        gained: dict[str, float] = {}
        for pool, whole in zip(self._pools, self._whole, strict=True):
            if any(key in opinion.logs for opinion in pool):
                gained |= _shared_out(pool, key, whole * _pooled(pool, key))
        evidence = self._evidence[key]
        share = self.totals[key] / evidence if evidence > 0 else 0.0
        return {
            name: _part(scores, key, self._chances[name].get(key), gained.get(name, 0.0) * share)
            for name, scores in self._legs.items()
        }


def evidences(legs: Mapping[str, Scores[K]], weights: NDArray[np.float64]) -> tuple[list[K], NDArray[np.float64]]:
    """Return the ranking scores of `combine` for many weights at once.

    They are -ln(1 - total), by document (rows) and choice (columns).

    ``weights`` has shape (choices, legs), in the order of ``legs``; a choice of nothing but 0 gives 0 everywhere.
    """
    keys = list(dict.fromkeys(key for scores in legs.values() for key in scores.keys))
    evidence = np.zeros((len(keys), len(weights)))
    counted = np.zeros(len(weights))
    place = {name: i for i, name in enumerate(legs)}
    for names in _sources(legs).values():
        chosen = weights[:, [place[name] for name in names]]
        chosen = np.where(chosen > _LIGHTEST * weights.max(axis=1, keepdims=True), chosen, 0.0)
        logs, able, unfound = (np.zeros((len(keys), len(names))) for _ in range(3))
        for i, name in enumerate(names):
            scores = legs[name]
            chances = _chances(scores)
            unfound[:, i] = _unfound(scores)
            for row, key in enumerate(keys):
                chance = chances.get(key)
                logs[row, i] = unfound[row, i] if chance is None else _bounded(chance, unfound[row, i])
                able[row, i] = chance is not None or key not in scores.lacks
        share = able @ chosen.T
        pooled, least = (
            np.divide((able * values) @ chosen.T, share, out=np.zeros_like(share), where=share > 0)
            for values in (logs, unfound)
        )
        evidence += chosen.sum(axis=1) * (np.log1p(np.exp(-pooled)) - np.log1p(np.exp(-least)))
        counted += chosen.sum(axis=1) > 0
    whole = weights.sum(axis=1)
    return keys, evidence * np.divide(counted, whole, out=np.zeros_like(whole), where=whole > 0)


def _sources(legs: Mapping[str, Scores[K]]) -> dict[str, list[str]]:
    sources: dict[str, list[str]] = {}
    for name, scores in legs.items():
        # A leg without a known source reads something of its own.
        sources.setdefault(f"={scores.source}" if scores.source is not None else f"~{name}", []).append(name)
    return sources


def default_weights(legs: Mapping[str, Scores[K]]) -> dict[str, float]:
    """Return the default weights: legs of one source share 1."""
    return {name: 1 / len(names) for names in _sources(legs).values() for name in names}


def _unfound(scores: Scores[K]) -> float:
    """Return ln E of a document that a leg looked for and didn't find."""
    return math.log(max(scores.depth, 2))


def _chances(scores: Scores[K]) -> dict[K, float]:
    # A keyword score of 0, as completion may produce, isn't a match; a cosine of any value is.
    found = {key: score for key, score in scores.found.items() if score > 0 or scores.floor < 0}
    chances = by_tail(found) if scores.attainable is None else by_coverage(found, scores.attainable)
    if scores.respelt is not None:
        for key, chance in _respelt(scores.respelt).items():
            chances[key] = min(chance, chances.get(key, math.inf))
    return chances


def _respelt(scores: Scores[K]) -> dict[K, float]:
    """Return ln E of matches under another spelling, raised by `_MISREAD` as more documents match by chance."""
    return {key: math.log(math.exp(chance) + _MISREAD) for key, chance in _chances(scores).items() if chance < 700}


class _Opinion(NamedTuple, Generic[K]):
    """A leg of a source: its weight, ln E of its finds, the documents it can't judge, and ln E of all others."""

    name: str
    weight: float
    logs: Mapping[K, float]
    lacks: Collection[K]
    unfound: float


def _pooled(pool: Sequence[_Opinion[K]], key: K) -> float:
    """Return -ln(1 - p) of a source for a document that one of its legs found."""
    able = sum_of_logs = sum_of_unfound = 0.0
    for _, weight, logs, lacks, unfound in pool:
        log = logs.get(key)
        if log is None:
            if key in lacks:
                continue
            log = unfound
        able += weight
        sum_of_logs += weight * log
        sum_of_unfound += weight * unfound
    return _sureness(sum_of_logs / able, sum_of_unfound / able)


def _sureness(log: float, unfound: float) -> float:
    """Return -ln(1 - p), less its value for a document that wasn't found."""
    return math.log1p(math.exp(-log)) - math.log1p(math.exp(-unfound))


def _shared_out(pool: Sequence[_Opinion[K]], key: K, evidence: float) -> dict[str, float]:
    """Return each leg's share of a source's evidence, in proportion to its evidence alone."""
    alone = {
        each.name: each.weight * _sureness(each.logs.get(key, each.unfound), each.unfound)
        for each in pool
        if key in each.logs or key not in each.lacks
    }
    whole = sum(alone.values())
    return {name: evidence * part / whole if whole > 0 else 0.0 for name, part in alone.items()}


def _bounded(chance: float, unfound: float) -> float:
    """Return ln of the effective E: with a doubt, and never as bad as for a document that wasn't found.

        E' = E + 0.005 (1 + 1 / (1 - min(ln E, 0))),   1 / E''^2 = 1 / E'^2 + 1 / depth^2

    Both bounds are approached and never reached, so that documents beyond them still differ and keep their order.
    """
    if chance < 700:
        chance = math.log(math.exp(chance) + 0.5 * _DOUBT * (1 + 1 / (1 - min(chance, 0.0))))
    beyond = chance - unfound
    return min(chance, unfound) - 0.5 * math.log1p(math.exp(-2 * abs(beyond)))


def _part(scores: Scores[K], key: K, chance: float | None, weighted: float) -> Part:
    raw = scores.raw.get(key)
    if chance is None:
        return Part(raw, 0.0, weighted, lacking=key in scores.lacks)
    unfound = _unfound(scores)
    alone = -math.expm1(-_sureness(_bounded(chance, unfound), unfound))
    # The spelling that covers more decides.
    shares = {respelt: _covered(each, key) for respelt, each in ((False, scores), (True, scores.respelt)) if each}
    respelt = scores.respelt is not None and (shares[True] or 0.0) > (shares[False] or 0.0)
    return Part(raw, alone, weighted, math.exp(min(chance, 700.0)), shares[respelt], respelt=respelt)


def _covered(scores: Scores[K], key: K) -> float | None:
    found = scores.found
    if scores.attainable is None or key not in found:
        return None
    return covered(found[key], scores.best, scores.attainable)
