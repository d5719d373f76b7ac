"""Text models in the cluster: queries and passages with their prompts, and no pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crosslens import ClusterEncoder, TextField, add_vectors, put_pipeline
from crosslens.ingest.model.encoder import Encoder
from crosslens.node.installing import install_models
from tests.server.conftest import Plugged

pytestmark = [pytest.mark.node, pytest.mark.export]
TEXTS = ["a red heart", "blue running shoes, size forty two", "naïve café 東京の写真"]


@pytest.fixture
def words(plugged: Plugged, models: Path) -> Encoder:
    install_models([models / "text"], plugged.folder)
    return Encoder(models / "text")


def test_queries_and_passages_have_the_prompts_that_python_gives_them(plugged: Plugged, words: Encoder) -> None:
    (node,) = plugged.http.ok("GET", "_crosslens/models")["nodes"].values()
    (listed,) = [each for each in node["models"] if each["directory"] == "text"]
    assert (listed["fingerprint"], "image_size" in listed) == (words.fingerprint, False)
    inside = ClusterEncoder(plugged.server.client, "text")
    assert not inside.encodes_images
    for role in ("passage", "query"):
        body = {"model": "text", "texts": TEXTS, "role": role}
        made = np.array(plugged.http.ok("POST", "_crosslens/encode", body)["vectors"])
        assert np.abs(made - words.encode_texts(TEXTS, role=role)).max() < 1e-4
        assert np.abs(inside.encode_texts(TEXTS, role=role) - made).max() < 1e-6
    unsaid = np.array(plugged.http.ok("POST", "_crosslens/encode", {"model": "text", "texts": TEXTS})["vectors"])
    assert np.abs(unsaid - words.encode_texts(TEXTS)).max() < 1e-4
    status, answer = plugged.http("POST", "_crosslens/encode", {"model": "text", "texts": TEXTS, "role": "poem"})
    assert (status, "must be passage or query" in str(answer)) == (400, True)


def test_a_text_model_refuses_images_and_goes_on_with_texts(plugged: Plugged, words: Encoder) -> None:
    status, answer = plugged.http("POST", "_crosslens/encode", {"model": "text", "images": ["aGVsbG8="]})
    assert (status, "is a text model, which encodes no images" in str(answer)) == (400, True)
    made = plugged.http.ok("POST", "_crosslens/encode", {"model": "text", "texts": TEXTS})["vectors"]
    assert np.abs(np.array(made) - words.encode_texts(TEXTS)).max() < 1e-4


def test_the_pipeline_writes_passages_and_a_search_asks_with_a_query(plugged: Plugged, words: Encoder) -> None:
    server = plugged.server
    index = server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": TEXTS[0]}])
    add_vectors(server.client, index, words, [TextField("title")])
    put_pipeline(server.client, index, default=True)
    server.client.index(index=index, id="1", document={"title": TEXTS[1]}, refresh=True)
    stored = server.source(index, "1")["title_vector"]
    assert np.abs(np.array(stored, dtype=np.float64) - words.encode_texts([TEXTS[1]])[0]).max() < 1e-4
    builder = {"crosslens": {"field": "title_vector", "text": "shoes"}}
    knn = {"field": "title_vector", "k": 2, "num_candidates": 10, "query_vector_builder": builder}
    found = plugged.http.ok("POST", f"{index}/_search", {"knn": knn})["hits"]["hits"]
    query = words.encode_texts(["shoes"], role="query")[0]
    for hit in found:
        expected = float(query @ words.encode_texts([TEXTS[int(hit["_id"])]])[0])
        assert abs(2 * hit["_score"] - 1 - expected) < 0.01
    image = {"crosslens": {"field": "title_vector", "image": "aGVsbG8="}}
    status, answer = plugged.http("POST", f"{index}/_search", {"knn": {**knn, "query_vector_builder": image}})
    assert (status, "is a text model" in str(answer)) == (400, True)
