"""Recall of the approximate search against an exact one, on the index's own vectors."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import helpers

from crosslens.errors import QueryError
from crosslens.ingest.contract.targets import parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.interval import interval
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.status import survey
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.evaluate.recall import RecallRow, advice, measure_recall
from tests.bench.clustered import FIELD, ClusteredEncoder, fill
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, shop


@pytest.mark.node
def test_an_exact_index_has_a_recall_of_one_in_every_direction(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    documents = [{"title": f"{['blue', 'red', 'green'][i % 3]} shoe {i}", "photo": f"{i}.png"} for i in range(60)]
    index = server.new_index(MAPPINGS, documents)
    targets = [replace(TITLE, index_type="flat"), replace(PHOTO, index_type="flat")]
    add_vectors(server.client, index, encoder, targets, Options(images=ImageAccess(root=pictures)))
    rows = measure_recall(server.client, index, queries=15, k=5)
    assert {row.direction for row in rows} == {"text -> text", "image -> text", "text -> image", "image -> image"}
    assert all(row.recall == pytest.approx(1.0) for row in rows), rows
    assert all(row.oversample is None for row in rows)


@pytest.mark.node
def test_other_index_types_are_tried_on_a_copy_that_goes(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index(MAPPINGS, shop(60))
    add_vectors(server.client, index, encoder, [PHOTO], Options(images=ImageAccess(root=pictures)))
    rows = measure_recall(server.client, index, queries=10, k=5, index_types=["flat", "int8_flat"])
    by_type = {(row.index_type, row.oversample): row for row in rows}
    assert set(by_type) == {
        *((kind, o) for kind in ("int8_hnsw", "int8_flat") for o in (None, 2.0, 3.0)),
        ("flat", None),
    }
    assert by_type["flat", None].recall == pytest.approx(1.0)
    # 24 dims are coarse in bytes; compared again with whole floats they come right.
    assert by_type["int8_flat", 3.0].recall >= by_type["int8_flat", None].recall
    assert by_type["int8_flat", 3.0].recall > 0.9
    left = server.client.indices.get(index="crosslens-recall-*", expand_wildcards="all")
    assert left.body == {}


@pytest.mark.node
def test_several_vectors_a_document_count_by_the_nearest(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index({}, [{"photos": [f"{(3 * i + j) % 60}.png" for j in range(2)]} for i in range(40)])
    target = replace(parse_target("views=photos[]", "image"), index_type="flat")
    add_vectors(server.client, index, encoder, [target], Options(images=ImageAccess(root=pictures)))
    (row,) = measure_recall(server.client, index, queries=10, k=3)
    assert row.recall > 0.9
    with pytest.raises(QueryError, match="holds 40 vectors"):
        measure_recall(server.client, index, k=30)


def test_advice_names_the_cheapest_that_is_good_enough() -> None:
    def row(kind: str, recall: float, p50: float, size: int) -> RecallRow:
        return RecallRow(
            "text -> image", "photo_vector", kind, 3.0 if kind == "bbq_hnsw" else None, recall, 9, p50, size
        )

    rows = [row("hnsw", 0.99, 2.0, 400), row("int8_hnsw", 0.97, 1.5, 500), row("bbq_hnsw", 0.96, 3.0, 100)]
    (said,) = advice(rows)
    assert said.startswith("text -> image in photo_vector: bbq_hnsw, oversample 3 is enough (recall 0.960")
    (short,) = advice(rows, goal=0.999)
    assert "hnsw comes nearest, short of 1.00" in short
    assert np.isfinite(rows[0].recall)


@pytest.mark.node
def test_of_a_large_index_a_sample_is_read(server: Server) -> None:
    encoder, index = ClusteredEncoder(16, clusters=8), f"test-{uuid.uuid4().hex[:12]}"
    fill(server.client, index, encoder, 600, shards=2)
    (exact, *_) = measure_recall(server.client, index, queries=10, k=5, oversamples=[3.0])
    (row, *_) = measure_recall(server.client, index, queries=10, k=5, oversamples=[3.0], sample=200)
    assert (exact.seen, exact.missed) == (None, None)
    # The deepest search of so few vectors looks at each of them, so it misses none of those in the sample.
    assert row.missed == 0
    assert 0 < (row.seen or 0) < 10 * 5
    assert row.interval[0] <= exact.recall <= 1
    assert row.recall > 0.9
    with pytest.raises(QueryError, match="a sample isn't enough"):
        measure_recall(server.client, index, sample=200, index_types=["flat"])
    asked: list[tuple[int, int]] = []
    changes = (
        {"_op_type": "update", "_index": index, "_id": str(i), "doc": {"title": "new"}} for i in range(0, 400, 2)
    )
    helpers.bulk(server.client, changes, refresh=True)
    whole = survey(server.client, index).fields[FIELD]
    sampled = survey(
        server.client, index, sample=300, progress=lambda status: asked.append((status.scanned, status.documents))
    )
    estimated = sampled.fields[FIELD]
    assert asked[0] == (0, 600)
    assert 200 < sampled.scanned < 400
    assert estimated.stale_range is not None
    assert estimated.stale_range[0] <= estimated.stale <= estimated.stale_range[1]
    # Six deviations, which chance doesn't reach.
    assert abs(estimated.stale - whole.stale) <= 6 * (whole.stale / 300 * 600) ** 0.5 + 1
    assert abs(estimated.done + estimated.stale - 600) <= 1
    assert survey(server.client, index, sample=600).fields[FIELD].stale_range is None
    server.client.indices.delete(index=index)


def test_an_interval_of_a_share_stays_between_none_and_all() -> None:
    # Worked by hand: 8 of 10 is 0.4901625 to 0.9433178 (Wilson, z = 1.96).
    assert interval(0.8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-5)
    low, high = interval(0.0, 100)
    assert (low, high) == pytest.approx((0.0, 0.03699), abs=1e-5)
    assert interval(1.0, 100) == pytest.approx((1 - 0.03699, 1.0), abs=1e-5)
    assert interval(0.5, 0) == (0.0, 1.0)
