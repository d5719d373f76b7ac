"""A query that is asked again isn't encoded again, whoever asks, and whatever happened to those that asked before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens import AsyncHybridSearcher, HybridSearcher
from crosslens.async_client import connect_async
from crosslens.client import Connection
from crosslens.errors import ImageError, QueryError
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.model.prompts import Role
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.images import ImageSource
from crosslens.queries.search.remembered import QueryVectors
from tests.conftest import Server

HEART = sorted((DEMO_MODEL.parent / "pictures").glob("*.webp"))[0]


class Counting(Encoder):
    """Notes what it is asked for; waits for ``gate`` first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()

    def encode_texts(self, texts: Sequence[str], *, role: Role = "passage") -> Float32Array:
        self.asked += texts
        self.gate.wait(30)
        return super().encode_texts(texts, role=role)

    def encode_images(self, images: Iterable[ImageSource]) -> Float32Array:
        images = list(images)
        self.asked += images
        return super().encode_images(images)


@pytest.fixture
def counting() -> Counting:
    return Counting(DEMO_MODEL)


def test_what_was_made_is_not_made_again(counting: Counting) -> None:
    remembered = QueryVectors()
    first = remembered.of_texts(counting, ["a heart", "a shoe"])
    again = remembered.of_texts(counting, ["a shoe", "a tree", "a heart", "a shoe"])
    assert counting.asked == ["a heart", "a shoe", "a tree"]
    assert np.array_equal(again[[2, 0]], first)
    assert np.allclose(again[1], Encoder(DEMO_MODEL).encode_texts(["a tree"])[0], atol=1e-6)
    # What callers do with a vector stays theirs.
    again *= 0
    assert np.array_equal(remembered.of_texts(counting, ["a heart"]), first[:1])


def test_images_are_known_by_their_bytes_and_files_are_read_each_time(counting: Counting) -> None:
    remembered, data = QueryVectors(), HEART.read_bytes()
    for _ in range(2):
        remembered.of_images(counting, [data, HEART])
    assert counting.asked == [data, HEART, HEART]


def test_each_model_has_its_own(counting: Counting, models: Path) -> None:
    remembered, other = QueryVectors(), Counting(models / "small")
    assert remembered.of_texts(counting, ["a heart"]).shape == (1, 192)
    assert remembered.of_texts(other, ["a heart"]).shape == (1, 24)
    assert counting.asked == other.asked == ["a heart"]


def test_searches_at_the_same_time_share_one_encoding(counting: Counting) -> None:
    remembered = QueryVectors()
    counting.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(remembered.of_texts, counting, ["a heart", f"number {n}"]) for n in range(8)]
        while len(counting.asked) < 9:
            assert not any(each.done() for each in asked)
        counting.gate.set()
        made = [each.result()[0] for each in asked]
    assert counting.asked.count("a heart") == 1
    assert all(np.array_equal(each, made[0]) for each in made)


def test_one_that_fails_leaves_the_others_to_themselves(counting: Counting) -> None:
    remembered, data = QueryVectors(), HEART.read_bytes()
    with pytest.raises(ImageError):
        remembered.of_images(counting, [data, b"no image"])
    assert remembered.of_images(counting, [data]).shape == (1, 192)
    barrier = threading.Barrier(4)

    def ask(images: list[bytes]) -> Float32Array | ImageError:
        barrier.wait()
        try:
            return remembered.of_images(counting, images)
        except ImageError as error:
            return error

    other = HEART.with_name(sorted(each.name for each in HEART.parent.glob("*.webp"))[1]).read_bytes()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, [[other, b"no image"], [other], [other], [other]]))
    assert isinstance(found[0], ImageError)
    assert all(not isinstance(each, ImageError) and each.shape == (1, 192) for each in found[1:])


def test_it_holds_no_more_than_it_may_and_nothing_if_it_may_not(counting: Counting) -> None:
    remembered = QueryVectors(3 * (192 * 4 + 400))
    for text in "abcadaba":
        remembered.of_texts(counting, [text])
    # The one that wasn't asked for longest is forgotten first.
    assert counting.asked == list("abcdb")
    nothing = QueryVectors(0)
    for _ in range(2):
        nothing.of_texts(counting, ["off"])
    assert counting.asked[-2:] == ["off", "off"]
    QueryVectors(1).of_texts(counting, ["too large to keep"])
    with pytest.raises(QueryError, match="0 bytes or more, not -1"):
        QueryVectors(-1)


@pytest.mark.node
def test_both_searchers_remember_their_queries(server: Server, counting: Counting) -> None:
    index = server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": "a heart"}, {"title": "a shoe"}])
    add_vectors(server.client, index, Encoder(DEMO_MODEL), [Target("title_vector", "text", ("title",), "hnsw")])
    server.client.indices.refresh(index=index)
    searcher = HybridSearcher(server.client, index, counting)
    first, again = (searcher.search("a red heart", less_text="a shoe") for _ in range(2))
    assert counting.asked == ["a red heart", "a shoe"]
    assert [hit.score for hit in first.hits] == [hit.score for hit in again.hits]
    off = HybridSearcher(server.client, index, counting, query_cache_bytes=0)
    for _ in range(2):
        off.search("a red heart")
    assert counting.asked == ["a red heart", "a shoe", "a red heart", "a red heart"]

    async def ask() -> list[float]:
        client = await connect_async(Connection(url=server.node.url))
        try:
            other = AsyncHybridSearcher(client, index, counting)
            counting.gate.clear()
            given_up, kept = (asyncio.create_task(other.search("asked by two")) for _ in range(2))
            while "asked by two" not in counting.asked:
                await asyncio.sleep(0.01)
            # One that is cancelled takes nothing from the other.
            given_up.cancel()
            counting.gate.set()
            return [hit.score for hit in (await kept).hits]
        finally:
            await client.close()

    scores = asyncio.run(ask())
    assert counting.asked.count("asked by two") == 1
    assert scores == [hit.score for hit in off.search("asked by two").hits]
