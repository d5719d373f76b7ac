"""Passages by the ingest processor: the same as Python's, whoever wrote the document first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crosslens import HybridSearcher, TextField, add_vectors, put_pipeline, reindex
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from tests.ingest.test_passages import prose
from tests.server.conftest import Plugged

pytestmark = pytest.mark.node

BODY = TextField("body", passages=True, index_type="hnsw")
MAPPINGS: dict[str, Any] = {"properties": {"body": {"type": "text"}}}
BODIES: list[Any] = [
    f" {prose(120, 1)}\n{prose(40, 2)} ",
    ["😀 𝔘𝔫𝔦. " + prose(60, 3), "", "短い文。" * 30, 7],
    "a" * 5_000,
    "مرحبا بك. " * 40 + "e\u0301\u200d. " + "👩‍👩‍👧" * 50,
]
EVERYTHING = Options(Selection(missing=True, stale=True, failed=True))


def encoded(plugged: Plugged) -> int:
    """How many texts were encoded for documents so far."""
    return int(plugged.stats()["ingest"]["texts"])


def same(one: Any, other: Any) -> bool:
    """Whether documents keep the same: vectors to a rounding, all else exactly, null standing for an absent key."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {key for each in (one, other) for key, value in each.items() if value is not None}
        return all(same(one.get(key), other.get(key)) for key in keys)
    if isinstance(one, list) and isinstance(other, list) and one and isinstance(one[0], float):
        return bool(np.allclose(one, other, atol=1e-5))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_pipeline_and_run_write_the_same_and_leave_each_others_alone(plugged: Plugged, demo_encoder: Encoder) -> None:
    server, client = plugged.server, plugged.server.client
    index = server.new_index(MAPPINGS, [{"body": body} for body in BODIES])
    assert add_vectors(client, index, demo_encoder, [BODY]).written == {"body_vector": len(BODIES)}
    put_pipeline(client, index, default=True)
    before = encoded(plugged)
    for i, body in enumerate(BODIES):
        client.index(index=index, id=f"new {i}", document={"body": body}, refresh=True)
    by_run = [server.source(index, str(i)) for i in range(len(BODIES))]
    for i, document in enumerate(by_run):
        assert same(document, server.source(index, f"new {i}")), (i, document)
    assert encoded(plugged) - before >= 20
    report = reindex(client, index, demo_encoder, EVERYTHING)
    assert (report.written, report.skipped, report.failures) == ({}, {}, [])
    # Written again as the run left them, nothing is encoded; without their vectors, all is.
    before = encoded(plugged)
    for i, document in enumerate(by_run):
        client.index(index=index, id=str(i), document=document)
    assert encoded(plugged) == before
    kept = [{k: v for k, v in entry.items() if k != "vector"} for entry in by_run[0]["body_vector"]]  # type: ignore[attr-defined]
    client.index(index=index, id="0", document={**by_run[0], "body_vector": kept}, refresh=True)
    assert encoded(plugged) - before == len({entry["hash"] for entry in kept})
    assert same(by_run[0], server.source(index, "0"))


def test_a_changed_sentence_is_encoded_with_its_passages_and_found(plugged: Plugged, demo_encoder: Encoder) -> None:
    server, client = plugged.server, plugged.server.client
    body = prose(400, 4)
    index = server.new_index(MAPPINGS, [{"body": prose(50, 5)}])
    add_vectors(client, index, demo_encoder, [BODY])
    put_pipeline(client, index, default=True)
    client.index(index=index, id="long", document={"body": body}, refresh=True)
    document, before = server.source(index, "long"), encoded(plugged)
    at = body.index(". ", len(body) // 2) + 2
    document["body"] = f"{body[:at]}A purple submarine sings. {body[at:]}"
    client.index(index=index, id="long", document=document, refresh=True)
    entries: Any = server.source(index, "long")["body_vector"]
    assert 0 < encoded(plugged) - before < len(entries) / 3
    texts = [str(document["body"])[entry["start"] : entry["end"]] for entry in entries]
    assert np.allclose([entry["vector"] for entry in entries], demo_encoder.encode_texts(texts), atol=1e-4)
    (planted,) = [text for text in texts if "submarine sings" in text][:1]
    hit = HybridSearcher(client, index, demo_encoder, text_fields=[]).search(planted).hits[0]
    assert (hit.id, hit.matched["body_vector"]["text"]) == ("long", planted)


def test_a_text_of_100000_words_and_one_of_20_megabytes_live_in_little_heap(
    small: Plugged, demo_encoder: Encoder
) -> None:
    client = small.server.client
    index = small.server.new_index(MAPPINGS, [{"body": "A red hat."}])
    add_vectors(client, index, demo_encoder, [BODY])
    put_pipeline(client, index, default=True, record_errors=False)
    # Sentences as long as fit don't overlap: a document may have 5,000 passages, and this model reads 30 tokens.
    words = " ".join(("red hat blue shoe " * 6 + "lamp.").capitalize() for _ in range(4_000))
    assert len(words.split()) == 100_000
    client.options(request_timeout=300).index(index=index, id="words", document={"body": words}, refresh=True)
    entries: Any = small.server.source(index, "words")["body_vector"]
    assert 3_900 < len(entries) <= 5_000
    assert len({tuple(entry["vector"]) for entry in entries}) == len({entry["hash"] for entry in entries})
    status, answer = small.http("PUT", f"{index}/_doc/huge", {"body": "A red hat is here. " * 1_100_000})
    assert (status, answer["error"]["reason"]) == (400, "the text makes more than 5000 passages; split the document")
    assert small.stats()["breaker"]["used_bytes"] == 0
