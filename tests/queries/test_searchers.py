"""What both searchers promise, the one that waits and the one for asyncio: each test runs with either."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from crosslens.async_client import connect_async
from crosslens.client import Connection
from crosslens.errors import (
    ImageError,
    MappingError,
    MixedModelsError,
    ModelError,
    NotCalibratedError,
    QueryError,
)
from crosslens.ingest.contract.statistics import STATISTICS_INDEX
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.prompts import Role
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.run.calibrate import calibrate
from crosslens.ingest.run.write import Options, add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.async_searcher import AsyncHybridSearcher
from crosslens.queries.search.options import ScoreOptions, SearchOptions
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult
from tests.conftest import Server

pytestmark = pytest.mark.node

COLOURS = ("blue", "red", "green", "black")
THINGS = ("bicycle", "hat", "boot", "sock", "glove")
WINDOW = 25
COUNT = 80
PROPERTIES = {
    "title": {"type": "text"},
    # The index's own analyser: only the server knows how it parts a text.
    "code": {"type": "text", "analyzer": "threes"},
    "colour": {"type": "keyword"},
    "photo": {"type": "keyword"},
}
ANALYSIS = {
    "analyzer": {"threes": {"type": "custom", "tokenizer": "threes"}},
    "tokenizer": {"threes": {"type": "standard", "max_token_length": 3}},
}


class Waiting:
    """Searchers that wait."""

    def __init__(self, server: Server):
        self._client = server.client

    def searcher(self, index: str, encoder: Any, **options: Any) -> Any:
        return HybridSearcher(self._client, index, encoder, **options)

    def at_once(self, searcher: Any, searches: Sequence[dict[str, Any]]) -> list[SearchResult]:
        with ThreadPoolExecutor(len(searches)) as pool:
            results: Iterator[SearchResult] = pool.map(lambda how: searcher.search(**how), searches)
            return list(results)

    def close(self) -> None:
        """The client is the server's."""


class Awaited:
    """Searchers for asyncio on an event loop of their own, whose methods are called as those of the others are."""

    def __init__(self, server: Server):
        self._runner = asyncio.Runner()
        self._client = self._runner.run(connect_async(Connection(url=server.node.url)))

    def searcher(self, index: str, encoder: Any, **options: Any) -> Any:
        return _Called(AsyncHybridSearcher(self._client, index, encoder, **options), self._runner.run)

    def at_once(self, searcher: Any, searches: Sequence[dict[str, Any]]) -> list[SearchResult]:
        async def gathered() -> list[SearchResult]:
            found: list[SearchResult] = await asyncio.gather(*(searcher.own.search(**how) for how in searches))
            return found

        return self._runner.run(gathered())

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


class _Called:
    def __init__(self, own: AsyncHybridSearcher, run: Callable[..., Any]):
        self.own, self._run = own, run

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.own, name)
        return value if name.startswith("_") else lambda *args, **how: self._run(value(*args, **how))


Kind = Waiting | Awaited


@pytest.fixture(scope="module", params=[Waiting, Awaited], ids=["waiting", "asyncio"])
def kind(request: pytest.FixtureRequest, server: Server) -> Iterator[Kind]:
    made: Kind = request.param(server)
    yield made
    made.close()


def documents(count: int = COUNT) -> list[dict[str, Any]]:
    made = []
    for i in range(count):
        colour, thing = COLOURS[i % 4], THINGS[i % 5]
        document = {"title": f"{colour} {thing} number {i}", "code": f"{thing}-{i}", "colour": colour}
        document["photo"] = f"{i % 60}.png"
        if i % 6 == 0:
            del document["title"]
        if i % 7 == 0:
            del document["photo"]
        made.append(document)
    return made


def new_index(server: Server, encoder: Encoder, pictures: Path, count: int = COUNT) -> str:
    settings = {"number_of_shards": 3, "number_of_replicas": 0, "analysis": ANALYSIS}
    name = server.new_index({}, [])
    server.client.indices.delete(index=name)
    server.client.indices.create(index=name, settings=settings, mappings={"properties": PROPERTIES})
    operations = [line for i, d in enumerate(documents(count)) for line in ({"index": {"_id": str(i)}}, d)]
    server.client.bulk(index=name, operations=operations, refresh=True)
    targets = [Target("title_vector", "text", ("title",)), Target("photo_vector", "image", ("photo",), "hnsw")]
    add_vectors(server.client, name, encoder, targets, Options(images=ImageAccess(root=pictures)))
    return name


@pytest.fixture(scope="module")
def index(server: Server, encoder: Encoder, pictures: Path) -> str:
    return new_index(server, encoder, pictures)


@pytest.fixture(scope="module")
def searcher(kind: Kind, index: str, encoder: Encoder) -> Any:
    return kind.searcher(index, encoder, text_fields=["title"], window=WINDOW)


@pytest.fixture(scope="module")
def waiting(server: Server, index: str, encoder: Encoder) -> HybridSearcher:
    return HybridSearcher(server.client, index, encoder, text_fields=["title"], window=WINDOW)


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


# --- the same results


def test_several_searches_at_once_find_what_each_finds_alone(
    kind: Kind, searcher: Any, waiting: HybridSearcher, pictures: Path
) -> None:
    searches: list[dict[str, Any]] = [
        {"text": "blue hat", "size": WINDOW},
        {"image": pictures / "7.png", "like": "61", "size": WINDOW},
    ]
    first, second = kind.at_once(searcher, searches)
    assert first.hits == waiting.search("blue hat", size=WINDOW).hits
    assert second.hits == waiting.search(image=pictures / "7.png", like="61", size=WINDOW).hits


@pytest.mark.parametrize(
    "how",
    [
        {"text": "赤い apple shoe"},
        {"text": "bicycel"},
        {"text": "x", "query": {"match": {"code": "hat-11"}}},
        {"text": "red boot", "normalizer": "theoretical-min-max"},
        {"text": "red boot", "normalizer": "standardise", "false_alarm": 0.05},
        {"text": "red boot", "complete": False, "collapse": "colour"},
        {"text": "hat", "aggregations": {"colours": {"terms": {"field": "colour"}}}, "aggregate_over": "window"},
    ],
    ids=["no spaces", "misspelt", "own analyser", "completed", "standardised", "one trip", "aggregated"],
)
def test_every_kind_of_search_is_the_same_search(searcher: Any, waiting: HybridSearcher, how: dict[str, Any]) -> None:
    found, expected = searcher.search(**how), waiting.search(**how)
    assert found.hits == expected.hits
    assert found.hits
    assert (found.found, found.noise, found.aggregations) == (expected.found, expected.noise, expected.aggregations)


def test_words_are_parted_by_the_server_where_only_it_knows_how(searcher: Any) -> None:
    best = searcher.search("x", query={"match": {"code": "hat-11"}}, legs=["keyword"]).hits[0]
    assert best.source["code"] == "hat-11"
    assert best.parts["keyword"].covered == pytest.approx(1.0)


def test_a_word_that_nobody_wrote_is_looked_for_in_another_spelling(searcher: Any) -> None:
    found = searcher.search("bicycel", legs=["keyword"])
    assert found.hits
    assert all(hit.parts["keyword"].respelt for hit in found.hits)
    assert searcher.search("bicycel", legs=["keyword"], spelling=False).hits == []


def test_a_search_goes_on_where_the_node_that_answers_lacks_the_plugin(
    server: Server, index: str, encoder: Encoder
) -> None:
    searcher = HybridSearcher(server.client, index, encoder, mapping_ttl_s=3600)
    presence = searcher._current().presence
    assert not presence.there
    expected = searcher.search("blue hat")
    # As a node that has it said, of a cluster with others.
    presence.there = True
    assert searcher.search("blue hat").hits == expected.hits
    assert not presence.there


def test_scores_legs_and_bodies_come_without_a_result(searcher: Any, waiting: HybridSearcher) -> None:
    assert searcher.scores("blue hat") == waiting.scores("blue hat")
    assert all(scores.moments for name, scores in searcher.scores("hat", standardise=True).items() if name != "keyword")
    assert [leg.name for leg in searcher.legs("blue hat")] == ["keyword", "photo_vector", "title_vector"]
    body = searcher.to_body("blue hat", weights={"keyword": 3.0}, size=7)
    assert body == waiting.to_body("blue hat", weights={"keyword": 3.0}, size=7)
    assert body["linear"]["size"] == 7
    assert body["linear"]["retriever"]["linear"]["retrievers"][0]["weight"] == 3.0


def test_pages_go_on_where_the_last_one_ended(searcher: Any) -> None:
    whole = ids(searcher.search("green sock", size=WINDOW))
    page = searcher.search("green sock", size=10, page=True)
    paged = ids(page)
    # One text is the same search as a list of one.
    page = searcher.search(["green sock"], size=15, page=page.next)
    paged += ids(page)
    assert paged == whole
    with pytest.raises(QueryError, match="belongs to another search"):
        searcher.search("green sock", size=10, page=page.next, spelling=False)
    with pytest.raises(QueryError, match="not a token"):
        searcher.search("green sock", page="nonsense")


# --- the same errors


def test_an_index_that_is_not_there_is_named_with_what_is(kind: Kind, encoder: Encoder, index: str) -> None:
    with pytest.raises(MappingError, match="no index, alias or data stream is named 'absent'; the cluster has "):
        kind.searcher("absent", encoder).search("hat")
    with pytest.raises(MappingError, match=f"did you mean .*{index}"):
        kind.searcher(f"{index}x", encoder).search("hat")


def test_an_index_that_does_not_fit_is_refused(
    kind: Kind, server: Server, encoder: Encoder, models: Path, index: str
) -> None:
    bare = server.new_index({"properties": {"title": {"type": "text"}}}, [])
    with pytest.raises(MappingError, match="has no vectors yet"):
        kind.searcher(bare, encoder).search("hat")
    with pytest.raises(MappingError, match="no vector field foto; it has photo_vector, title_vector"):
        kind.searcher(index, encoder, fields=["foto"]).search("hat")
    with pytest.raises(ModelError, match=r"of small-checkpoint \(.*\), not of other-checkpoint"):
        kind.searcher(index, Encoder(models / "other")).search("hat")
    with pytest.raises(QueryError, match="window must be from 1 to 10000, not 0"):
        kind.searcher(index, encoder, window=0)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({}, "nothing to search for"),
        ({"text": "a", "size": WINDOW + 1}, f"size must be from 0 to the window of {WINDOW}"),
        ({"text": "a", "weights": {"foto": 1}}, "name no leg .* foto; its legs are keyword, photo_vector"),
        ({"text": "a", "sources": {"foto": "x"}}, "sources name no leg of this search: foto"),
        ({"text": "a", "legs": ["foto"]}, "no leg is named foto"),
        ({"text": "a", "filter": {"nonsense": {}}}, r"refused the search.*nonsense"),
        ({"text": "a", "less_text": "a"}, "cancel each other out"),
        ({"like": "gone"}, "no document 'gone'"),
        ({"text": "a", "false_alarm": 1.5}, "between 0 and 1"),
        ({"text": "a", "aggregate_over": "all"}, 'must be "keyword" or "window"'),
        ({"text": "a", "aggregations": {"a": {}}, "legs": ["photo_vector"]}, 'aggregate over the "window"'),
    ],
)
def test_searches_that_make_no_sense_say_why(searcher: Any, how: dict[str, Any], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        searcher.search(**how)


def test_an_image_that_cannot_be_read_is_named(searcher: Any, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png"):
        searcher.search(image=tmp_path / "gone.png")


def test_an_unknown_argument_names_the_one_that_was_meant(searcher: Any) -> None:
    with pytest.raises(TypeError, match=r"search\(\) has no argument 'wieghts'; did you mean 'weights'\?"):
        searcher.search("hat", wieghts={"keyword": 1})
    with pytest.raises(TypeError, match=r"scores\(\) has no argument 'zzz'; it takes text, image, .*, standardise"):
        searcher.scores("hat", zzz=1)


def test_statistics_that_were_never_gathered_are_asked_for_again(
    kind: Kind, server: Server, encoder: Encoder, pictures: Path
) -> None:
    name = new_index(server, encoder, pictures, 12)
    server.client.delete(index=STATISTICS_INDEX, id=f"{name}/title_vector", refresh=True)
    searcher = kind.searcher(name, encoder)
    with pytest.raises(NotCalibratedError, match=f"the vectors of title_vector in '{name}' have not been measured"):
        searcher.search("hat", normalizer="standardise")
    calibrate(server.client, name)
    assert searcher.search("hat", normalizer="standardise").hits


# --- the mapping changes


def with_model(server: Server, index: str, old: str, new: str) -> None:
    """Lets the index record another model for its vectors."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: renamed(each) for name, each in value.items()}
        return new if value == old else value

    meta = server.client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
    server.client.indices.put_mapping(index=index, meta=renamed(meta))


def test_a_new_vector_field_is_seen_when_the_mapping_is_read_again(
    kind: Kind, server: Server, encoder: Encoder, pictures: Path
) -> None:
    name = new_index(server, encoder, pictures, 12)
    keeping, reading = kind.searcher(name, encoder), kind.searcher(name, encoder, mapping_ttl_s=0.0)
    before = ["keyword", "photo_vector", "title_vector"]
    assert keeping.search("hat").legs == reading.search("hat").legs == before
    add_vectors(server.client, name, encoder, [Target("code_vector", "text", ("code",))])
    assert keeping.search("hat").legs == before
    assert set(reading.search("hat").legs) == {*before, "code_vector"}


def test_indices_that_change_models_one_after_the_other_are_waited_for(
    kind: Kind, server: Server, encoder: Encoder, pictures: Path
) -> None:
    names = [new_index(server, encoder, pictures, 12) for _ in range(2)]
    searcher = kind.searcher(",".join(names), encoder, mapping_ttl_s=0.0)
    expected = searcher.search("hat").hits
    with_model(server, names[1], encoder.fingerprint, "another")
    with pytest.raises(MixedModelsError, match="holds another model's vectors"):
        searcher.search("hat")
    later = threading.Timer(0.3, with_model, (server, names[1], "another", encoder.fingerprint))
    later.start()
    found = searcher.search("hat")
    later.join()
    assert found.hits == expected


def test_searches_go_on_with_the_model_at_hand_after_a_change_to_one_that_is_not(
    kind: Kind, server: Server, encoder: Encoder, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = new_index(server, encoder, pictures, 12)
    searcher = kind.searcher(name, encoder, mapping_ttl_s=0.0)
    expected = searcher.search("hat").hits
    with_model(server, name, encoder.fingerprint, "another")
    assert searcher.search("hat").hits == expected
    assert "searches go on with the model in use until now" in caplog.text


# --- what happens at the same time


class Slow:
    """An encoder that waits for ``meanwhile`` before it encodes a text."""

    def __init__(self, encoder: Encoder):
        self._encoder, self.meanwhile = encoder, threading.Event()
        self.happened = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_texts(self, texts: Sequence[str], *, role: Role = "passage") -> Float32Array:
        self.happened = self.meanwhile.wait(20)
        return self._encoder.encode_texts(texts, role=role)


def test_the_server_parts_a_text_while_it_is_encoded(
    kind: Kind, index: str, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(encoder)
    searcher = kind.searcher(index, slow)
    really = searcher._client.termvectors

    def asked(**how: Any) -> Any:
        slow.meanwhile.set()
        return really(**how)

    monkeypatch.setattr(searcher._client, "termvectors", asked)
    assert searcher.search("hat", query={"match": {"code": "hat-11"}}).hits
    assert slow.happened


def test_an_event_loop_goes_on_while_a_text_is_encoded(server: Server, index: str, encoder: Encoder) -> None:
    slow = Slow(encoder)

    async def meanwhile() -> None:
        await asyncio.sleep(0.05)
        slow.meanwhile.set()

    async def both() -> SearchResult:
        client = await connect_async(Connection(url=server.node.url))
        try:
            result, _ = await asyncio.gather(AsyncHybridSearcher(client, index, slow).search("hat"), meanwhile())
            return result
        finally:
            await client.close()

    assert asyncio.run(both()).hits
    assert slow.happened


# --- options stand once


@pytest.mark.parametrize("made", [HybridSearcher, AsyncHybridSearcher])
def test_methods_take_what_their_options_have(made: Any) -> None:
    for method, options in (("search", SearchOptions), ("legs", SearchOptions), ("scores", ScoreOptions)):
        own = list(inspect.signature(getattr(made, method)).parameters.values())
        assert own[1:] == list(inspect.signature(options).parameters.values())
        assert inspect.iscoroutinefunction(getattr(made, method)) == (made is AsyncHybridSearcher)


@pytest.mark.parametrize("options", [SearchOptions, ScoreOptions])
def test_every_option_is_described(options: type[SearchOptions]) -> None:
    described = f"{SearchOptions.__doc__}{options.__doc__}"
    entries = {
        name.strip() for line in described.splitlines() if ":" in line for name in line.partition(":")[0].split(",")
    }
    assert {each.name for each in fields(options)} <= entries
