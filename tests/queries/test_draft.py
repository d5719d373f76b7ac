"""Searching with a draft: its passages one by one, combined, and the sentence that each hit answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from crosslens import AsyncHybridSearcher, HybridSearcher
from crosslens.async_client import connect_async
from crosslens.client import Connection
from crosslens.errors import QueryError
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.passages import Passage
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.draft import Asked, _chosen
from crosslens.queries.search.options import DraftOptions
from tests import commands
from tests.conftest import Server

THINGS = ("bridge", "harbour", "market", "school", "river", "tower", "garden", "museum", "station", "theatre")
MAPPINGS: dict[str, object] = {"properties": {"title": {"type": "text"}, "photo": {"type": "keyword"}}}
DRAFT = "\n\n".join(
    f"The {thing} of the town was built long ago. Nobody knows who paid for the {thing}, nor what it cost. "
    f"People who live beside it say that the {thing} has {i} doors! Is any of them ever closed?"
    for i, thing in enumerate(THINGS)
)


def test_of_passages_that_are_alike_the_first_stays() -> None:
    vectors = np.array([[1, 0], [0.999, 0.0447], [0, 1], [0.0447, 0.999]], dtype=np.float32)
    assert _chosen(vectors, 10) == [0, 2]


def test_of_many_passages_those_stay_that_cover_the_draft() -> None:
    angles = np.radians([0, 20, 40, 60, 80, 100, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert _chosen(vectors, 3) == [0, 4, 6]
    assert _chosen(vectors, 1) == [0]


def test_the_sentences_of_a_passage_stand_where_they_stand_in_the_draft() -> None:
    text = "One. Two is longer.  Three?"
    asked = Asked(text, [Passage(5, len(text))], 2)
    assert [asked.words(each) for each in asked.sentences(asked.passages[0])] == ["Two is longer.", "Three?"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"text": ["two", "texts"]}, "one text"),
        ({"combine": "sum"}, "combine must be"),
        ({"most_passages": 0}, "at least one passage"),
        ({"image": "0.png"}, "without image"),
        ({"page": True, "sort": "price"}, "without sort, page"),
        ({"aggregations": {"a": {}}}, "without aggregations"),
    ],
)
def test_what_a_draft_is_not_searched_with_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(QueryError, match=said):
        DraftOptions(**{"text": "a draft", **wrong})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def town(server: Server, encoder: Encoder, pictures: Path) -> str:
    documents: list[dict[str, object]] = [
        {"title": f"The old {thing}", "photo": f"{i}.png"} for i, thing in enumerate(THINGS)
    ]
    index = server.new_index(MAPPINGS, documents)
    targets = [Target("title_vector", "text", ("title",)), Target("photo_vector", "image", ("photo",))]
    add_vectors(server.client, index, encoder, targets, Options(images=ImageAccess(root=pictures)))
    return index


@pytest.fixture
def searcher(server: Server, town: str, encoder: Encoder) -> HybridSearcher:
    return HybridSearcher(server.client, town, encoder)


@pytest.mark.node
@pytest.mark.parametrize("combine", ["best", "mean"])
def test_a_draft_finds_what_its_passages_find_one_by_one(
    searcher: HybridSearcher, encoder: Encoder, combine: str
) -> None:
    found = searcher.search_draft(DRAFT, combine=combine, size=10)  # type: ignore[arg-type]
    parts = [DRAFT[each.start : each.end] for each in encoder.passages(DRAFT)]
    vectors = encoder.encode_texts(parts, role="query")
    parts = [parts[i] for i in _chosen(vectors, 32)]
    assert found.draft is not None
    assert found.draft.searched == len(parts) > 3
    totals: dict[str, list[float]] = {}
    for part in parts:
        for hit in searcher.search(part, size=10, complete=False).hits:
            totals.setdefault(hit.id, []).append(hit.score)
    combined = {id: max(each) if combine == "best" else sum(each) / len(parts) for id, each in totals.items()}
    assert {hit.id: hit.score for hit in found.hits} == pytest.approx(combined, abs=1e-6)
    assert [hit.score for hit in found.hits] == sorted(combined.values(), reverse=True)
    assert found.found == len(combined)


@pytest.mark.node
def test_each_hit_answers_the_nearest_sentence_of_its_passage(
    searcher: HybridSearcher, server: Server, town: str, encoder: Encoder
) -> None:
    found = searcher.search_draft(DRAFT, legs=["photo_vector"], size=5)
    assert len(found.hits) == 5
    for hit in found.hits:
        start, end = hit.answers["start"], hit.answers["end"]
        assert hit.answers["text"] == DRAFT[start:end]
        assert hit.source["title"].startswith("The old")
        passages = [each for each in encoder.passages(DRAFT) if each.start <= start and end <= each.end]
        vector = np.array(server.source(town, hit.id)["photo_vector"])
        best = False
        for passage in passages:
            sentences = Asked(DRAFT, [passage], 1).sentences(passage)
            vectors = encoder.encode_texts([DRAFT[each.start : each.end] for each in sentences], role="query")
            nearest = sentences[int(np.argmax(vectors @ vector))]
            best = best or (nearest.start, nearest.end) == (start, end)
        assert best


@pytest.mark.node
def test_what_is_shown_and_filtered_is_as_in_any_search(searcher: HybridSearcher) -> None:
    found = searcher.search_draft(
        DRAFT,
        filter={"ids": {"values": ["0", "1"]}},
        source=["photo"],
        fields=["photo"],
        highlight={"fields": {"title": {}}},
        size=5,
    )
    assert {hit.id for hit in found.hits} == {"0", "1"}
    for hit in found.hits:
        assert hit.source == {"photo": f"{hit.id}.png"}
        assert hit.fields == {"photo": [f"{hit.id}.png"]}
    assert any("<em>" in text for hit in found.hits for text in hit.highlight.get("title", []))
    least = searcher.search_draft(DRAFT, min_score=0.999999)
    assert all(hit.score >= 0.999999 for hit in least.hits)
    assert len(searcher.search_draft(DRAFT, most_passages=2).hits) > 0


@pytest.mark.node
def test_a_blank_draft_is_refused_and_so_is_a_book(searcher: HybridSearcher) -> None:
    with pytest.raises(QueryError, match="no words"):
        searcher.search_draft(" \n ")
    with pytest.raises(QueryError, match="passages, more than the 1,000"):
        searcher.search_draft("Nobody knows who paid for it, or what it cost the town. " * 30_000)


@pytest.mark.node
def test_the_asynchronous_searcher_finds_the_same(
    searcher: HybridSearcher, server: Server, town: str, encoder: Encoder
) -> None:
    async def find() -> list[tuple[str, float]]:
        client = await connect_async(Connection(url=server.node.url))
        try:
            found = await AsyncHybridSearcher(client, town, encoder).search_draft(DRAFT)
        finally:
            await client.close()
        return [(hit.id, hit.score) for hit in found.hits]

    assert asyncio.run(find()) == [(hit.id, hit.score) for hit in searcher.search_draft(DRAFT).hits]


@pytest.mark.node
def test_the_command_line_reads_a_draft_from_a_file(server: Server, town: str, models: Path, tmp_path: Path) -> None:
    file = tmp_path / "draft.txt"
    file.write_text(DRAFT)
    where = ["--url", server.node.url, "--model", str(models / "small")]
    shown = commands.run("search", town, "--draft", str(file), *where)
    assert shown.returncode == 0, shown.stderr
    assert "answers: " in shown.stdout
    assert "of the draft's" in shown.stdout
    found = json.loads(commands.run("search", town, "--draft", str(file), "--json", *where).stdout)
    assert found["hits"][0]["answers"]["text"] in DRAFT
    file.write_bytes(b"\xff\xfe\x00")
    wrong = commands.run("search", town, "--draft", str(file), *where)
    assert wrong.returncode == 2
    assert "isn't text in UTF-8" in wrong.stderr
    absent = commands.run("search", town, "--draft", str(tmp_path / "absent.txt"), *where)
    assert absent.returncode == 2
    assert "can't be read" in absent.stderr
    both = commands.run("search", town, "a text", "--draft", str(file), *where)
    assert both.returncode == 2
    assert "in place of TEXT" in both.stderr
