"""Mean and covariance of vectors: exact, merged exactly, gathered while writing, and read back."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslens.errors import MappingError, NotCalibratedError, QueryError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.gathering import Gathering
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.statistics import STATISTICS_INDEX, CorpusStatistics
from crosslens.ingest.contract.targets import Target, parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.calibrate import calibrate, try_null_queries
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.searcher import HybridSearcher
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, shop


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.integers(2, 40), st.integers(1, 40), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_the_statistics_of_a_querys_cosine_are_those_of_all_its_cosines(n: int, m: int, dims: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = unit(rng.normal(size=(n, dims)) + 1), unit(rng.normal(size=(m, dims)))
    query = unit(rng.normal(size=(1, dims)))[0]
    cosines = np.concatenate([first, second]) @ query
    merged = CorpusStatistics.of(first).merged(CorpusStatistics.of(second))
    mean, deviation = merged.of_cosine(query.tolist())
    assert merged.count == n + m
    assert mean == pytest.approx(cosines.mean(), abs=1e-9)
    assert deviation == pytest.approx(cosines.std(), abs=1e-7)
    # Stored as float32.
    again = CorpusStatistics.from_source(merged.as_source())
    assert again.of_cosine(query.tolist()) == pytest.approx((mean, deviation), abs=1e-3)


def test_vectors_are_made_unit_first() -> None:
    assert CorpusStatistics.of([[3.0, 0.0], [0.0, 0.5]]).mean.tolist() == [0.5, 0.5]


@given(st.lists(st.integers(0, 1500), max_size=6), st.integers(2, 24), st.floats(0, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_what_is_gathered_a_few_at_a_time_is_as_of_all_at_once(
    sizes: list[int], dims: int, narrow: float, seed: int
) -> None:
    """However narrow the cone that vectors lie in: the covariance is then far smaller than the squared mean."""
    rng = np.random.default_rng(seed)
    towards = narrow * unit(rng.normal(size=(1, dims)))
    rows = ((rng.normal(size=(sum(sizes), dims)) + towards) * 3).astype(np.float32)
    gathering = Gathering(dims)
    for part in np.split(rows, np.cumsum(sizes)[:-1]) if sizes else []:
        gathering.add(part)
        if rng.random() < 0.2:
            gathering.statistics()
    gathered = gathering.statistics()
    assert gathered.count == sum(sizes)
    if sum(sizes):
        whole = CorpusStatistics.of(rows)
        assert np.abs(gathered.mean - whole.mean).max() < 1e-6
        assert np.abs(gathered.covariance - whole.covariance).max() < 1e-5 * max(np.trace(whole.covariance), 1e-4)


@given(st.integers(1, 10**7), st.floats(1e-6, 0.5))
def test_the_noise_floor_is_what_the_best_of_many_normal_deviates_exceeds_at_the_rate(n: int, rate: float) -> None:
    floor = CorpusStatistics(n, np.zeros(2), np.eye(2)).noise_floor(rate)
    assert 1 - NormalDist().cdf(floor) ** n == pytest.approx(rate, rel=1e-3, abs=1e-8)


def test_queries_without_an_answer_set_the_noise_floor_by_what_they_reached() -> None:
    statistics = CorpusStatistics(1_000, np.zeros(2), np.eye(2), null=tuple(float(z) for z in range(1, 101)))
    assert statistics.noise_floor(0.05) == 96.0
    assert statistics.noise_floor(0.5) == 51.0


@pytest.mark.node
def test_statistics_are_gathered_while_writing_and_standardise_uses_them(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(50))
    exact = [Target(each.field, each.modality, each.sources, "hnsw") for each in (TITLE, PHOTO)]
    add_vectors(server.client, index, encoder, exact, Options(images=ImageAccess(root=pictures)))
    for i in range(10):
        server.client.index(index=index, document={"title": f"red hat {i}", "photo": f"{i}.png"})
    add_vectors(server.client, index, encoder, exact, Options(images=ImageAccess(root=pictures)))
    searcher = HybridSearcher(server.client, index, encoder)
    result = searcher.search("red hat", normalizer="standardise", size=60)
    query = encoder.encode_texts(["red hat"])[0]
    texts = [f"blue running shoe number {i}" for i in range(50)] + [f"red hat {i}" for i in range(10)]
    files = [pictures / f"{i}.png" for i in [*range(50), *range(10)]]
    z = {}
    made = {"title_vector": encoder.encode_texts(texts), "photo_vector": encoder.encode_images(files)}
    for name, vectors in made.items():
        cosines = vectors @ query
        z[name] = (cosines.mean(), cosines.std())
    top = max((hit.parts[name].raw - z[name][0]) / z[name][1] for hit in result.hits for name in z)  # type: ignore[operator]
    for hit in result.hits:
        for name, (mean, deviation) in z.items():
            raw = hit.parts[name].raw
            assert raw is not None
            assert hit.parts[name].normalized == pytest.approx(max((raw - mean) / deviation, 0) / top, abs=1e-3)
    # Encoded again, they count again; measured anew, they don't.
    again = Options(Selection(every=True), ImageAccess(root=pictures))
    add_vectors(server.client, index, encoder, exact, again)
    noted = server.client.get(index=STATISTICS_INDEX, id=f"{index}/title_vector")["_source"]
    assert noted["count"] == 120
    assert calibrate(server.client, index) == {"title_vector": 60, "photo_vector": 60}
    measured = server.client.get(index=STATISTICS_INDEX, id=f"{index}/title_vector")["_source"]
    assert CorpusStatistics.from_source(measured).mean == pytest.approx(
        CorpusStatistics.from_source(noted).mean, abs=1e-5
    )


@pytest.mark.node
def test_an_index_made_anew_under_its_name_is_measured_anew(server: Server, encoder: Encoder) -> None:
    index = server.new_index(MAPPINGS, shop(5))
    add_vectors(server.client, index, encoder, [TITLE])
    server.client.indices.delete(index=index)
    server.client.indices.create(index=index, mappings=MAPPINGS)
    server.client.index(index=index, document={"title": "hat"}, refresh=True)
    add_vectors(server.client, index, encoder, [TITLE])
    assert server.client.get(index=STATISTICS_INDEX, id=f"{index}/title_vector")["_source"]["count"] == 1


@pytest.mark.node
def test_a_damaged_entry_is_none_until_it_is_measured_anew(server: Server, encoder: Encoder) -> None:
    index = server.new_index(MAPPINGS, shop(5))
    add_vectors(server.client, index, encoder, [TITLE])
    id = f"{index}/title_vector"
    whole = server.client.get(index=STATISTICS_INDEX, id=id)["_source"]
    for damage in ({"mean": None}, {"covariance": "AAAA"}, {"count": -1}, {"count": "many"}):
        server.client.index(index=STATISTICS_INDEX, id=id, document={**whole, **damage}, refresh=True)
        # A run that adds a document doesn't replace them with those of its own vectors alone.
        server.client.index(index=index, document={"title": f"hat {damage}"}, refresh=True)
        add_vectors(server.client, index, encoder, [TITLE])
        with pytest.raises(NotCalibratedError, match=index):
            HybridSearcher(server.client, index, encoder).search("hat", normalizer="standardise")
    assert calibrate(server.client, index) == {"title_vector": 9}
    assert HybridSearcher(server.client, index, encoder).search("hat", normalizer="standardise").hits


@pytest.mark.node
def test_several_vectors_a_document_are_measured_one_by_one(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index({}, [{"photos": ["1.png", "2.png"]}, {"photos": ["3.png"]}])
    target = parse_target("views=photos[]", "image")
    add_vectors(server.client, index, encoder, [target], Options(images=ImageAccess(root=pictures)))
    assert calibrate(server.client, index) == {"views": 3}
    assert HybridSearcher(server.client, index, encoder).search("hat", normalizer="standardise").hits


@pytest.mark.node
def test_vectors_that_were_not_measured_say_how(server: Server, encoder: Encoder) -> None:
    index = server.new_index(MAPPINGS, shop(5))
    add_vectors(server.client, index, encoder, [TITLE])
    server.client.delete(index=STATISTICS_INDEX, id=f"{index}/title_vector", refresh=True)
    searcher = HybridSearcher(server.client, index, encoder)
    with pytest.raises(NotCalibratedError, match=f"in '{index}' have not been measured; measure them first") as caught:
        searcher.search("hat", normalizer="standardise")
    assert caught.value.verb == "calibrate"
    calibrate(server.client, index)
    assert searcher.search("hat", normalizer="standardise").hits
    with pytest.raises(MappingError, match="no vector field foto"):
        calibrate(server.client, index, fields=["foto"])


@pytest.mark.node
def test_a_search_tells_whether_anything_stands_out_of_the_noise(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, [{"photo": f"{i}.png"} for i in range(40)])
    target = Target("photo_vector", "image", ("photo",), "hnsw")
    add_vectors(server.client, index, encoder, [target], Options(images=ImageAccess(root=pictures)))
    calibrate(server.client, index)
    null = [f"nothing like it {i}" for i in range(30)]
    asked = try_null_queries(server.client, index, null, Encoders([encoder]))
    assert asked == {"photo_vector": 30}
    searcher = HybridSearcher(server.client, index, encoder)
    # Told by evidence alone: a search without a rate reads no noise, and other fusions' totals tell nothing of it.
    told = searcher.search("hat")
    assert told.noise == {}
    assert told.answered == (told.best >= 0.5)
    assert searcher.search("hat", normalizer="min-max").answered is None
    # By the floor that these very queries set, just the rate asked for is exceeded.
    alarms = [searcher.search(text, false_alarm=0.2).answered for text in null]
    assert sum(bool(alarm) for alarm in alarms) <= 6
    found = searcher.search(image=pictures / "7.png", false_alarm=0.2)
    noise = found.noise["photo_vector"]
    assert found.answered == (noise["z"] > noise["floor"])
    with pytest.raises(QueryError, match="between 0 and 1"):
        searcher.search("hat", false_alarm=1.5)


@pytest.mark.node
def test_statistics_of_an_index_that_had_the_name_before_are_not_used(server: Server, encoder: Encoder) -> None:
    index = server.new_index(MAPPINGS, shop(5))
    add_vectors(server.client, index, encoder, [TITLE])
    mapping = server.client.indices.get_mapping(index=index)[index]["mappings"]
    server.client.indices.delete(index=index)
    server.client.indices.create(index=index, mappings=mapping)
    server.client.index(index=index, document={"title": "hat"}, refresh=True)
    with pytest.raises(NotCalibratedError, match=f"in '{index}' have not been measured"):
        HybridSearcher(server.client, index, encoder).search("hat", normalizer="standardise")
    with pytest.raises(MappingError, match="has not been measured"):
        try_null_queries(server.client, index, ["zebra"], Encoders([encoder]))


@pytest.mark.node
def test_an_index_without_statistics_does_not_pass_for_another(server: Server, encoder: Encoder) -> None:
    one, other, bare = (server.new_index(MAPPINGS, shop(count)) for count in (5, 6, 0))
    both = f"{one},{other},{bare}"
    add_vectors(server.client, both, encoder, [TITLE])
    server.client.delete(index=STATISTICS_INDEX, id=f"{other}/title_vector", refresh=True)
    with pytest.raises(NotCalibratedError, match=f"in '{other}', '{bare}' have not|in '{bare}', '{other}' have not"):
        HybridSearcher(server.client, both, encoder).search("hat", normalizer="standardise")
    assert calibrate(server.client, both) == {"title_vector": 11}
    assert HybridSearcher(server.client, both, encoder).search("hat", normalizer="standardise").hits
    server.client.index(index=bare, document={"title": "hat"}, refresh=True)
    add_vectors(server.client, bare, encoder, [TITLE])
    assert server.client.get(index=STATISTICS_INDEX, id=f"{bare}/title_vector")["_source"]["count"] == 1
