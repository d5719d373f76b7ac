"""Ranking tasks that the repository's data allow: an index each, and queries whose answers are known.

Every task is made from the demo's pictures, which the model never saw, and from Unicode's names and keywords of them.
What is spoilt (words left out, titles or pictures exchanged, words misspelt) is drawn with a fixed seed, so that two
runs measure the same.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from crosslens.demo.run import IMAGE_VECTOR, TEXT_VECTOR, load_items
from crosslens.ingest.contract.targets import Target
from crosslens.queries.evaluate.judgements import Judged

# How a shop has its documents in the index, before anything is encoded.
MAPPING = {
    "properties": {
        **{name: {"type": "text"} for name in ("name", "keywords", "caption")},
        **{name: {"type": "keyword"} for name in ("sku", "category", "image")},
    }
}
TESTS = Path(__file__).parent.parent / "data"
Document = dict[str, Any]
_WORDS = ("name", "keywords")
_TARGETS = (Target(TEXT_VECTOR, "text", _WORDS), Target(IMAGE_VECTOR, "image", ("image",)))
_KEYWORD_QUERIES = _SAMPLE = 600
# As the demo's catalogue: of the items that somebody described, one in seven has a name alone.
_NAME_ALONE = 0.15
_SHORTEST_MISSPELT = 4


@dataclass(frozen=True)
class Corpus:
    """An index: its documents, by id, and what is encoded of them. ``late`` ones were added since, without vectors.

    ``keyword_fields`` are those of the keyword leg; none: there is no such leg.
    """

    name: str
    documents: dict[str, Document]
    targets: tuple[Target, ...] = _TARGETS
    keyword_fields: tuple[str, ...] = _WORDS
    late: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Task:
    """Queries whose answers are known, and the index in which they are looked for."""

    name: str
    corpus: Corpus
    judged: tuple[Judged, ...]


@dataclass(frozen=True)
class Concept:
    """What a picture shows, by Unicode: its name and keywords."""

    id: str
    name: str
    keywords: tuple[str, ...]


@cache
def concepts() -> tuple[Concept, ...]:
    """All concepts of the demo's catalogue, also those whose words the catalogue leaves out."""
    lines = map(json.loads, (TESTS / "names.jsonl").read_text("utf-8").splitlines())
    return tuple(Concept(each["id"], each["name"], tuple(each["keywords"])) for each in lines)


def tasks() -> Iterator[Task]:
    """Every task; those of one index follow each other. The benchmark's own have all queries, the others a sample."""
    shop = catalogue()
    yield Task("names, 33 % wordless", shop, names())
    yield Task("drawings, 33 % wordless", shop, drawings())
    yield Task("names with drawings", shop, _some(names_and_drawings()))
    for count, name in ((1, "one keyword"), (2, "two keywords"), (3, "three keywords")):
        yield Task(name, shop, keywords(count))
    yield Task("names, each word misspelt", shop, _some(names(misspelt)))
    yield Task("names, one word misspelt", shop, _some(names(one_misspelt)))
    for percent in (0, 70):
        corpus = wordless(percent)
        yield Task(f"names, {percent} % wordless", corpus, names())
        yield Task(f"drawings, {percent} % wordless", corpus, _some(drawings()))
    yield Task("names, half the titles misspelt", misspelt_titles(50), _some(names()))
    yield Task("names, 40 % of titles wrong", wrong_titles(40), _some(names()))
    yield Task("names, all titles wrong", wrong_titles(100), _some(names()))
    yield Task("names, half the pictures wrong", wrong_pictures(shop, 50), _some(names()))
    yield Task("names, 0 % wordless, all pictures wrong", wrong_pictures(wordless(0), 100), _some(names()))
    yield Task("names of pictures and of texts, mixed", mixed(), _some(names()))
    yield Task("names of pictures among texts", mixed(), names_of(_pictures()))
    gaps = half_done()
    yield Task("names, no words, picture or vectors", gaps, _some(names()))
    yield Task("names of what has no vectors yet", gaps, names_of(gaps.late))


def catalogue() -> Corpus:
    """The demo's catalogue: a third of the items has no words but a stock number."""
    return Corpus("catalogue", {item["id"]: _without(item, "id") for item in load_items()})


def wordless(percent: int) -> Corpus:
    """The catalogue with another share of items that nobody described."""
    share = percent / 100
    rng = np.random.default_rng(21)
    documents = {}
    for id, item in catalogue().documents.items():
        fate = rng.random()
        described = _described(_concept(id), alone=fate < share + _NAME_ALONE)
        documents[id] = {**_without(item, *_WORDS), **(_stock(item) if fate < share else described)}
    return Corpus(f"wordless-{percent}", documents)


def wrong_titles(percent: int) -> Corpus:
    """The catalogue, with the words of some items exchanged among them: name and keywords of another."""
    shop = catalogue()
    documents = dict(shop.documents)
    for id, other in _exchanged([id for id in documents if not _is_stock(documents[id])], percent, seed=22):
        documents[id] = {**_without(documents[id], *_WORDS), **_words(shop.documents[other])}
    return Corpus(f"wrong-titles-{percent}", documents)


def wrong_pictures(corpus: Corpus, percent: int) -> Corpus:
    """A catalogue with some of its pictures exchanged."""
    documents = dict(corpus.documents)
    for id, other in _exchanged(list(documents), percent, seed=23):
        documents[id] = {**documents[id], "image": corpus.documents[other]["image"]}
    return replace(corpus, name=f"{corpus.name}-wrong-pictures", documents=documents)


def misspelt_titles(percent: int) -> Corpus:
    """The catalogue, with one edit in every longer word of some items' names and keywords."""
    rng = np.random.default_rng(24)
    documents = {}
    for id, item in catalogue().documents.items():
        spoilt = rng.random() < percent / 100 and not _is_stock(item)
        changed = {field: misspelt(text, rng) for field, text in _words(item).items()} if spoilt else {}
        documents[id] = {**item, **changed}
    return Corpus("misspelt-titles", documents)


def mixed() -> Corpus:
    """Half of the concepts are there as pictures, the other half as texts; there is no keyword leg."""
    images = {id: item["image"] for id, item in catalogue().documents.items()}
    pictures = _pictures()
    documents = {
        each.id: {"image": images[each.id]} if each.id in pictures else {"caption": each.name} for each in concepts()
    }
    targets = (Target("text_v", "text", ("caption",)), Target("image_v", "image", ("image",)))
    return Corpus("mixed", documents, targets, ())


def half_done() -> Corpus:
    """A shop as one finds it: items without words, without a picture, and new ones that have no vectors yet.

    No two of these befall one item, so that each can be found by something.
    """
    rng = np.random.default_rng(25)
    documents, late = {}, set()
    for id, item in catalogue().documents.items():
        fate = rng.random()
        whole = {**_without(item, *_WORDS), **_described(_concept(id), alone=rng.random() < _NAME_ALONE)}
        if fate < 0.2:
            whole = _without(whole, *_WORDS)
        elif fate < 0.4:
            whole = _without(whole, "image")
        elif fate < 0.5:
            late.add(id)
        documents[id] = whole
    return Corpus("half-done", documents, late=frozenset(late))


def names(change: Callable[[str, np.random.Generator], str] = lambda text, _: text) -> tuple[Judged, ...]:
    """Every concept's name, as it is or changed; the item that shows it answers."""
    rng = np.random.default_rng(31)
    return tuple(Judged(each.id, change(each.name, rng), None, {each.id: 1.0}) for each in concepts())


def names_of(ids: frozenset[str]) -> tuple[Judged, ...]:
    """The names of some concepts."""
    return tuple(judged for judged in names() if judged.id in ids)


def drawings() -> tuple[Judged, ...]:
    """Another vendor's drawing of every concept that it draws."""
    paths = {each.id: TESTS / "noto" / f"{each.id}.webp" for each in concepts()}
    return tuple(Judged(id, None, path, {id: 1.0}) for id, path in paths.items() if path.exists())


def names_and_drawings() -> tuple[Judged, ...]:
    """A name and another vendor's drawing of it as one query."""
    told = {each.id: each.name for each in concepts()}
    return tuple(replace(judged, text=told[judged.id]) for judged in drawings())


def keywords(count: int) -> tuple[Judged, ...]:
    """Some of an item's keywords; every concept that has them all answers, described in the catalogue or not."""
    rng = np.random.default_rng(40 + count)
    known = [each for each in concepts() if len(each.keywords) >= count]
    queries: dict[str, Judged] = {}
    while len(queries) < _KEYWORD_QUERIES:
        words = rng.choice(known[rng.integers(len(known))].keywords, count, replace=False)
        text = " ".join(map(str, words))
        answers = [each.id for each in concepts() if set(words) <= set(each.keywords)]
        queries.setdefault(text, Judged(str(len(queries)), text, None, dict.fromkeys(answers, 1.0)))
    return tuple(queries.values())


def misspelt(text: str, rng: np.random.Generator) -> str:
    """The text with one edit in each word of four letters or more."""
    return " ".join(_edited(word, rng) if len(word) >= _SHORTEST_MISSPELT else word for word in text.split())


def one_misspelt(text: str, rng: np.random.Generator) -> str:
    """The text with one edit in one of its words of four letters or more."""
    words = text.split()
    longer = [i for i, word in enumerate(words) if len(word) >= _SHORTEST_MISSPELT]
    if longer:
        chosen = longer[rng.integers(len(longer))]
        words[chosen] = _edited(words[chosen], rng)
    return " ".join(words)


def _some(judged: Sequence[Judged]) -> tuple[Judged, ...]:
    """A sample, the same of queries of the same ids."""
    chosen = np.random.default_rng(26).permutation(len(judged))[:_SAMPLE]
    return tuple(judged[i] for i in sorted(chosen))


def _edited(word: str, rng: np.random.Generator) -> str:
    """One letter left out, added, replaced, or exchanged with the next one, each as often."""
    at, kind = int(rng.integers(len(word))), rng.integers(4)
    letter = str(rng.choice(list(string.ascii_lowercase)))
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + letter + word[at:]
    if kind == 2:
        return word[:at] + letter + word[at + 1 :]
    at = min(at, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _exchanged(ids: Sequence[str], percent: int, *, seed: int) -> list[tuple[str, str]]:
    """Some of ``ids``, each with another of these, in a circle, so that none keeps its own."""
    rng = np.random.default_rng(seed)
    chosen = [ids[i] for i in rng.permutation(len(ids))[: round(percent / 100 * len(ids))]]
    return list(zip(chosen, [*chosen[1:], *chosen[:1]], strict=True))


@cache
def _pictures() -> frozenset[str]:
    ids = [str(id) for id in np.random.default_rng(4).permutation(sorted(each.id for each in concepts()))]
    return frozenset(ids[: len(ids) // 2])


def _concept(id: str) -> Concept:
    return _by_id()[id]


@cache
def _by_id() -> dict[str, Concept]:
    return {each.id: each for each in concepts()}


def _described(concept: Concept, *, alone: bool) -> Document:
    return {"name": concept.name, **({} if alone else {"keywords": ", ".join(concept.keywords)})}


def _stock(item: Document) -> Document:
    return {"name": f"Item {item['sku']}"}


def _is_stock(item: Document) -> bool:
    return bool(item["name"] == f"Item {item['sku']}")


def _words(document: Document) -> Document:
    return {field: value for field, value in document.items() if field in _WORDS}


def _without(document: Document, *fields: str) -> Document:
    return {field: value for field, value in document.items() if field not in fields}
