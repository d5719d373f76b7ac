"""Judged queries from users' behaviour: clicks, corrected for position bias, and thumbs up or down.

In the position-based model a click takes examination and attraction: P(click) = theta(rank) * gamma(query, document)
(Richardson, Dominowska, Ragno 2007, doi 10.1145/1242572.1242643; Craswell, Zoeter, Taylor, Ramsey 2008, doi
10.1145/1341531.1341545). theta, the examination, is estimated from documents that one query showed at several ranks
(`examine`), gamma by inverse propensity weighting with it (`grade`).

A document that was never shown can't be clicked and counts as irrelevant: a log only covers documents that the logged
search could find.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import QueryError
from crosslens.queries.evaluate.click_log import Log, Place, Query, gather, lines
from crosslens.queries.evaluate.judgements import Judged

LEAST_CLICKS = 3
BEST_GRADE = 100.0
# Recall and reciprocal rank count every grade alike, so stray clicks must not become grades.
LEAST_GRADE = 10.0
# The prior document's clicks, which a log must outweigh.
_PRIOR_CLICKS = 20.0
_PRIOR_SEVERITY = 1.0
_LEAST_EXAMINATION = 0.05
_ROUNDS = 1_000
_CLOSE = 1e-6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ClickReport:
    """A log's contents, and how much of them was used.

    ``lines`` that weren't empty; ``queries`` that are judged now; ``clicks`` and ``thumbs`` in the whole log.
    ``examination`` is how often each rank (from 1) is looked at, relative to the rank looked at most, for ranks at
    which a clicked document was shown; those in ``estimated`` owe more to the log than to the assumption that it falls
    as 1 / rank. ``dropped`` counts lines by the reason why they judge nothing.
    """

    lines: int
    queries: int
    clicks: int
    thumbs: int
    examination: dict[int, float]
    estimated: frozenset[int]
    dropped: dict[str, int]

    def __str__(self) -> str:
        """Return one or two sentences for people."""
        text = f"queries judged: {self.queries}, from lines: {self.lines}, clicks: {self.clicks}, thumbs: {self.thumbs}"
        if self.dropped:
            text += "; lines left out: " + ", ".join(f"{count} ({why})" for why, count in self.dropped.items())
        return f"{text}. {self._how()}" if len(self.examination) > 1 else f"{text}."

    def _how(self) -> str:
        last = max(self.examination)
        curve = f"Rank {last} is looked at {self.examination[last]:.2f} times as often as the rank looked at most"
        if not self.estimated:
            return f"{curve}: assumed as 1 / rank, as too few documents were clicked at several ranks."
        clicked = "as clicks on documents shown at several ranks show"
        if len(self.estimated) == len(self.examination):
            return f"{curve}, {clicked}."
        return f"{curve}: {clicked} for {_spans(self.estimated)}, assumed as 1 / rank for the others."


@dataclass(frozen=True)
class Impressions:
    """How often one query's document was shown at a rank and clicked there; arrays of equal length, a place each.

    ``pair`` numbers query and document together from 0, ``rank`` counts from 1.
    """

    pair: Ints
    rank: Ints
    shown: Floats
    clicked: Floats


def read_clicks(path: Path) -> tuple[list[Judged], ClickReport]:
    """Return judged queries, by id, from a log of JSON Lines in any order, with a report on the log.

    A line is a list that was shown, ``{"text": ..., "image": ..., "shown": ["DOC", ...], "clicked": ["DOC", ...]}``,
    the best first, or thumbs, ``{"text": ..., "image": ..., "up": ["DOC", ...], "down": ["DOC", ...]}``. A later page's
    ``"offset"`` is the number of results before it. ``"query"`` names the query; without it equal texts and images are
    one query. An image's path starts at the file's folder.

    Grades reach from 10 to 100, so that the whole numbers that `as_qrels` makes of them still distinguish them. 100 is
    the best document of a query by clicks; below 10 a document counts as irrelevant, as does one without a click. A
    query needs 3 clicks or a thumb up. A document with thumbs is graded by them alone: 100 times the share that is up,
    if that's more than half.

    The file is read twice; memory grows with the documents that were clicked, not with the lines. Raises `QueryError`
    naming an unreadable line, and if nothing is judged.
    """
    log = gather(path)
    impressions, pairs = _impressions(path, log)
    ranks = np.unique(impressions.rank)
    examination, estimated = examine(impressions, ranks)
    grades = grade(impressions, examination[np.searchsorted(ranks, impressions.rank)])
    by_query: dict[str, dict[str, float]] = {}
    for (id, document), value in zip(pairs, grades.tolist(), strict=True):
        by_query.setdefault(id, {})[document] = value
    dropped = Counter({"nothing was shown": log.empty})
    judged = []
    for id, query in sorted(log.queries.items()):
        enough = query.clicks.total() >= LEAST_CLICKS
        relevant = _relevant(by_query.get(id, {}) if enough else {}, query)
        if relevant:
            judged.append(Judged(id, query.text, path.parent / query.image if query.image else None, relevant))
        else:
            dropped["nothing was liked"] += query.thumb_lines + (query.lists if enough else 0)
        if not enough:
            dropped[f"fewer than {LEAST_CLICKS} clicks on the query"] += query.lists
    report = ClickReport(
        lines=log.lines,
        queries=len(judged),
        clicks=sum(query.clicks.total() for query in log.queries.values()),
        thumbs=sum(query.up.total() + query.down.total() for query in log.queries.values()),
        examination=dict(zip(ranks.tolist(), examination.tolist(), strict=True)),
        estimated=frozenset(ranks[estimated].tolist()),
        dropped={why: count for why, count in dropped.items() if count},
    )
    if not judged:
        raise QueryError(f"{path} judges no query; one needs {LEAST_CLICKS} clicks or a thumb up ({report})")
    return judged, report


def examine(impressions: Impressions, ranks: Ints) -> tuple[Floats, NDArray[np.bool_]]:
    """Return theta of each of ``ranks`` (ascending), above 0, the largest 1; and where the log outweighs the prior.

    Clicks are taken as Poisson with mean shown * theta * gamma and a gamma of each query and document of its own, so
    that only documents shown at several ranks are evidence: a document that a ranker put high for its quality isn't
    (Hausman, Hall, Griliches 1984, doi 10.2307/1911191; consistent for any distribution with that mean: Wooldridge
    1999, doi 10.1016/S0304-4076(98)00033-5). Such changes of rank are the interventions of Agarwal et al. 2019, arXiv
    1812.05161. theta and gamma are estimated alternately, as in the expectation-maximisation of Wang et al. 2018, doi
    10.1145/3159652.3159732, which with few lists a query is biased.

    A fictitious document shown once at every rank, with 20 clicks spread as 1 / rank, is the prior for a log with
    too little evidence (1 / rank: Joachims, Swaminathan, Schnabel 2017, doi 10.1145/3018661.3018699). A log whose lists
    never change leaves just the prior.
    """
    if not len(ranks):
        return np.empty(0), np.empty(0, dtype=bool)
    made_up = int(impressions.pair.max()) + 1
    prior = ranks.astype(np.float64) ** -_PRIOR_SEVERITY
    pair = np.concatenate([impressions.pair, np.full(len(ranks), made_up)])
    place = np.concatenate([np.searchsorted(ranks, impressions.rank), np.arange(len(ranks))])
    shown = np.concatenate([impressions.shown, np.ones(len(ranks))])
    clicked = np.concatenate([impressions.clicked, _PRIOR_CLICKS * prior / prior.sum()])
    of_pair, of_rank = np.bincount(pair, clicked), np.bincount(place, clicked)
    theta = prior / prior.max()
    for _ in range(_ROUNDS):
        gamma = of_pair / np.bincount(pair, shown * theta[place])
        found = of_rank / np.bincount(place, shown * gamma[pair])
        found /= found.max()
        close = bool(np.all(np.abs(found - theta) <= _CLOSE * theta))
        theta = found
        if close:
            break
    # Fisher's information on log theta, of the multinomial that the clicks of a pair are, given their number.
    looks = shown * theta[place]
    share = looks / np.bincount(pair, looks)[pair]
    information = of_pair[pair] * share * (1 - share)
    assumed = np.bincount(place, np.where(pair == made_up, information, 0.0))
    return theta, np.bincount(place, information) - assumed > assumed


def grade(impressions: Impressions, examination: Floats) -> Floats:
    """Return gamma of each pair: clicks over looks, where a showing is ``examination`` (of each place) of a look.

    Inverse propensity weighting, with propensities of 0.05 at least (clipped as by Joachims, Swaminathan, Schnabel
    2017) and averaged over the ranks of a document: the balanced estimator of Agarwal, Basu, Schnabel, Joachims 2017,
    doi 10.1145/3097983.3098155, which varies less than weighting each click by its own rank. 0 or more; above 1 by
    chance, for few showings.
    """
    looks = np.bincount(impressions.pair, impressions.shown * np.maximum(examination, _LEAST_EXAMINATION))
    return np.asarray(np.bincount(impressions.pair, impressions.clicked) / looks, dtype=np.float64)


def _relevant(clicks: Mapping[str, float], query: Query) -> dict[str, float]:
    thumbed = query.up.keys() | query.down.keys()
    grades = {document: value for document, value in clicks.items() if document not in thumbed}
    best = max(grades.values(), default=1.0)
    grades = {document: BEST_GRADE * value / best for document, value in grades.items()}
    for document in thumbed:
        up, down = query.up[document], query.down[document]
        # Equal thumbs up and down say nothing.
        grades[document] = BEST_GRADE * up / (up + down) if up > down else 0.0
    return {document: value for document, value in sorted(grades.items()) if value >= LEAST_GRADE}


def _impressions(path: Path, log: Log) -> tuple[Impressions, list[tuple[str, str]]]:
    """Return how often clicked documents were shown, by place in the order of their names; and the pairs, by number.

    Other documents say nothing about examination, and their grade is 0.
    """
    shown: Counter[Place] = Counter()
    # A log that is still being written is read only up to the end of the first pass.
    for _, line in itertools.islice(lines(path), log.lines):
        clicks = log.queries[line.query].clicks
        for rank, document in enumerate(line.shown or (), line.before + 1):
            if document in clicks:
                shown[line.query, document, rank] += 1
    places = sorted(shown)
    pairs = list(dict.fromkeys(place[:2] for place in places))
    number = {pair: i for i, pair in enumerate(pairs)}
    impressions = Impressions(
        pair=np.array([number[place[:2]] for place in places], dtype=np.int64),
        rank=np.array([place[2] for place in places], dtype=np.int64),
        shown=np.array([shown[place] for place in places], dtype=np.float64),
        clicked=np.array([log.clicked[place] for place in places], dtype=np.float64),
    )
    return impressions, pairs


def _spans(ranks: frozenset[int]) -> str:
    """Return the ranks in words, as in "ranks 1 to 4, 7"."""
    spans: list[list[int]] = []
    for rank in sorted(ranks):
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    return "ranks " + ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in spans)
